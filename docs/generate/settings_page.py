"""Every setting, from the fields of `Settings`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from docs.generate.markdown import code, page, table
from tocsin.client import DEFAULT_URL
from tocsin.schemas.moments import duration_us, span
from tocsin.settings import ROLES, Settings

INTRODUCTION = """\
A setting is an environment variable. They are read once, when `tocsin serve` starts; the flags `--host`, `--port`,
`--db`, `--bus` and `--roles` win over `TOCSIN_HOST`, `TOCSIN_PORT`, `TOCSIN_DATABASE`, `TOCSIN_BUS` and `TOCSIN_ROLES`.
`tocsin doctor` says which are set, and whether they are right."""

CLIENTS = f"""\
## For clients

The commands that talk to a server read two variables.

| variable | default | meaning |
|---|---|---|
| `TOCSIN_URL` | `{DEFAULT_URL}` | Where the server is. |
| `TOCSIN_TOKEN` | | The bearer token to send. |"""


def settings_page() -> str:
    """Return the page."""
    rows = (
        (
            code(f"TOCSIN_{name.upper()}"),
            _default(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    )
    return page("Settings", INTRODUCTION, "## For the server", table(("variable", "default", "meaning"), rows), CLIENTS)


def _default(value: Any) -> str:
    if value is None or value == frozenset():
        return ""
    if isinstance(value, frozenset):
        return code(",".join(role for role in ROLES if role in value))
    return code(span(duration_us(value)) if isinstance(value, timedelta) else value)

"""`/docs`: every call, as one page that needs nothing from the web: no scripts, no styles of others.

It is made from the server's own OpenAPI description, which `/openapi.json` gives to programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { border-bottom: 1px solid #ddd; margin-top: 2.5rem; text-transform: capitalize; }
summary { cursor: pointer; padding: .3rem 0; } summary code { font-weight: 600; }
details { border-bottom: 1px solid #eee; } table { border-collapse: collapse; margin: .5rem 0 1rem; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8bf; }
  details, h2 { border-color: #333; } }
"""
_FIRST = "ingest"


def page(description: Mapping[str, Any]) -> str:
    """Return an OpenAPI description as an HTML page."""
    info = description["info"]
    calls: dict[str, list[str]] = {_FIRST: []}
    for path, methods in description["paths"].items():
        for method, call in methods.items():
            tag = (call.get("tags") or ["server"])[0]
            calls.setdefault(tag, []).append(_call(f"{method.upper()} {path}", call))
    sections = (f"<h2>{escape(tag)}</h2>{''.join(some)}" for tag, some in calls.items() if some)
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(info.get('summary', ''))}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a>. When a token is set, every call under '
        "<code>/api</code> needs <code>Authorization: Bearer TOKEN</code>.</p>"
        f"{''.join(sections)}</body></html>"
    )


def _call(title: str, call: Mapping[str, Any]) -> str:
    told = escape(" ".join((call.get("description") or call.get("summary") or "").split()))
    bodies = ", ".join(f"<code>{escape(kind)}</code>" for kind in call.get("requestBody", {}).get("content", {}))
    rows = "".join(_rows(call))
    table = f"<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>{rows}</table>" if rows else ""
    body = f"<p>Body: {bodies}</p>" if bodies else ""
    answers = ", ".join(map(escape, call["responses"]))
    said = f"<p>{told}</p>{table}{body}<p>Answers: {answers}</p>"
    return f"<details><summary><code>{escape(title)}</code> {_brief(told)}</summary>{said}</details>"


def _brief(told: str) -> str:
    return re.split(r"[.;] ", told, maxsplit=1)[0].removesuffix(".")


def _rows(call: Mapping[str, Any]) -> Iterator[str]:
    for one in call.get("parameters", ()):
        schema = one.get("schema", {})
        told = one.get("description") or schema.get("description") or ""
        if (default := schema.get("default")) is not None:
            told = f"{told} Default {default}.".strip()
        if values := schema.get("enum"):
            told = f"{told} One of {', '.join(map(str, values))}.".strip()
        cells = (f"<code>{escape(one['name'])}</code>", escape(one["in"]), escape(told))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"

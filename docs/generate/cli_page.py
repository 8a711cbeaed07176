"""Every command of the command line, from its own declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from docs.generate.markdown import block, code, page, table
from tocsin.cli import app

INTRODUCTION = """\
Commands that talk to a server find it under `TOCSIN_URL` (by default `http://127.0.0.1:8710`) and send `TOCSIN_TOKEN`
if that is set; the others need no server. [Settings](settings.md) lists what `serve` reads from the environment;
flags win.

Exit status: 0 done, 1 failed, 2 used wrongly. `--json` prints one JSON object a line. Errors go to standard error,
one sentence first. `-h` and `--help` work everywhere."""


def cli_page() -> str:
    """Return the page."""
    return page("Command line", INTRODUCTION, *_commands("tocsin", typer.main.get_command(app)))


def _commands(path: str, command: Any) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            listed = f" `{path} {name}` alone is `{path} {name} list`." if "list" in inner.commands else ""
            yield f"## {path} {name}\n\n{inner.help}{listed}"
            yield from (_command(f"{path} {name} {verb}", one, level=3) for verb, one in inner.commands.items())
        else:
            yield _command(f"{path} {name}", inner, level=2)


def _command(path: str, command: Any, *, level: int) -> str:
    told = [one for one in command.params if one.name != "help" and not one.hidden]
    usage = [path, *(_used(one) for one in told if one.required or not one.opts[0].startswith("-"))]
    if any(one.opts[0].startswith("-") and not one.required for one in told):
        usage.append("[OPTIONS]")
    parts = [f"{'#' * level} {path}", command.help or "", block(" ".join(usage), "text"),
             table(("option", "meaning"), map(_option, told))]  # fmt: skip
    return "\n\n".join(filter(None, parts))


def _used(parameter: Any) -> str:
    name: str = parameter.name.upper()
    if parameter.opts[0].startswith("-"):
        return f"{parameter.opts[0]} {name}"
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> tuple[str, str]:
    if not parameter.opts[0].startswith("-"):
        return code(parameter.name.upper()), parameter.help or ""
    value = "" if parameter.is_flag else f" {parameter.name.upper()}"
    more = " May be repeated." if parameter.multiple and "may be repeated" not in parameter.help else ""
    default = "" if parameter.default in (None, False) or parameter.required else f" Default {parameter.default}."
    return ", ".join(code(f"{name}{value}") for name in parameter.opts), f"{parameter.help}{more}{default}"

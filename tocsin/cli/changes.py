"""`tocsin plan`, `tocsin apply`, `tocsin definitions`: what a running server has, would have, and gets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli import options
from tocsin.errors import Conflict

commands = typer.Typer()
sources = options.group("Sources: how events of others arrive.")
channels = options.group("Channels: where notifications go.")

Keep = Annotated[bool, typer.Option("--keep", help="Leave what was applied before and is not in PATH.")]

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red"), "conflict": ("!", "bold red")}
_WINDOWS = {"begin": "begins to watch", "kept": "windows are kept", "restarted": "windows begin anew",
            "closed": "windows are closed"}  # fmt: skip


@commands.command()
def plan(
    path: options.Definitions,
    keep: Keep = False,
    files: Annotated[bool, typer.Option("--files", help="As if PATH were what the server was started with.")] = False,
    json: options.Json = False,
) -> None:
    """Say what `apply` would change on a running server; exit status 1 if it would be refused."""
    from tocsin.cli.client import Client

    with Client() as client:
        steps = _planned(client, _document(path), keep=keep, origin="file" if files else "api")
    _print(steps, json=json)
    _refuse_conflicts(steps)


@commands.command()
def apply(path: options.Definitions, keep: Keep = False, json: options.Json = False) -> None:
    """Put definitions into force on a running server, in place of what was applied before.

    What the server was started with stays as it is: that is changed in its files.
    """
    from tocsin.cli import output
    from tocsin.cli.client import Client

    document = _document(path)
    with Client() as client:
        steps = _planned(client, document, keep=keep, origin="api")
        _refuse_conflicts(steps)
        client.put("/api/definitions", document, keep=keep or None)
    _print(steps, json=json)
    if steps and not json:
        output.line("applied", style="green")


def _document(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read definitions as the server takes them: their tests are run here, by `tocsin test`."""
    from tocsin.schemas.document import SECTIONS
    from tocsin.store.files import read_definitions

    document = read_definitions(path)
    return {
        section: [spec.model_dump(mode="json", exclude_unset=True) for spec in getattr(document, section)]
        for section in SECTIONS
        if section != "tests"
    }


def _planned(client: Any, document: dict[str, Any], *, keep: bool, origin: str) -> list[dict[str, Any]]:
    answer = client.post("/api/definitions/plan", document, keep=keep or None, origin=origin)
    steps: list[dict[str, Any]] = answer["items"]
    return steps


def _refuse_conflicts(steps: list[dict[str, Any]]) -> None:
    if reasons := [reason for step in steps if step["change"] == "conflict" for reason in step["because"]]:
        raise Conflict("\n".join(["what the server was started with can not be applied over:", *reasons]))


def _print(steps: list[dict[str, Any]], *, json: bool) -> None:
    from tocsin.cli import output

    if json:
        for step in steps:
            output.json_line(step)
        return
    for step in steps:
        sign, style = _SIGNS[step["change"]]
        windows = _WINDOWS.get(step["windows"])
        output.line(f"{sign} {step['kind']} {step['name']}{f': {windows}' if windows else ''}", style=style)
        for field in step["fields"]:
            anew = "  (begins anew)" if field in step["because"] else ""
            output.line(f"    {field}{anew}")
        if step["windows"] == "restarted":
            for reason in set(step["because"]).difference(step["fields"]):
                output.line(f"    {reason}  (begins anew)")
    counts = {change: sum(step["change"] == change for step in steps) for change in _SIGNS}
    output.line(", ".join(f"{count} {change}" for change, count in counts.items() if count) or "nothing changes")


@sources.command("list")
def list_sources(json: options.Json = False) -> None:
    """List all sources, with the address at which each receives."""
    _list("source", ("source", "type", "receives at", "origin"), json=json)


@channels.command("list")
def list_channels(json: options.Json = False) -> None:
    """List all channels."""
    _list("channel", ("channel", "type", "origin"), json=json)


def _list(kind: str, columns: tuple[str, ...], *, json: bool) -> None:
    from tocsin.cli import output
    from tocsin.cli.client import Client

    def row(item: dict[str, Any]) -> tuple[Any, ...]:
        spec = item["definition"]
        address = (_address(client.url, spec),) if kind == "source" else ()
        return item["name"], spec["type"], *address, item["origin"]

    with Client() as client:
        output.items(client.items("/api/definitions", None, kind=kind), columns, row, json=json)


def _address(url: str, source: dict[str, Any]) -> str:
    if source["type"] == "checkin":
        return f"{url}/ping/{source.get('key') or source['name']}"
    return f"{url}/hooks/{source['name']}"

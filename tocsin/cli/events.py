"""`tocsin emit`, `tocsin events`, `tocsin explain`: what happened, and what came of it."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from tocsin.cli import options

commands = typer.Typer()
group = options.group("Events in the log, newest first.")

Name = Annotated[str | None, typer.Option("--event", "-e", help="A name, or a pattern such as 'table.*'.")]
Resource = Annotated[str | None, typer.Option("--resource", "-r", help="The id of the primary resource.")]
_COLUMNS = ("received", "event", "resource", "labels", "id")


@commands.command()
def emit(  # noqa: PLR0913 - its flags are promised to users
    event: Annotated[str, typer.Argument(help="What happened, for example table.updated.", show_default=False)],
    *,
    resource: Annotated[str, typer.Option("--resource", "-r", help="The id of what it happened to.")],
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="k=v; a label of the resource.")] = None,
    related: Annotated[list[str] | None, typer.Option(help="role=ID; another resource that is concerned.")] = None,
    payload: Annotated[str | None, typer.Option(help="JSON, or - to read it from standard input.")] = None,
    id: Annotated[str | None, typer.Option(help="What identifies the event; sent again, it counts once.")] = None,
    source: Annotated[str | None, typer.Option(help="Who says so; an id is unique within its source.")] = None,
    occurred: Annotated[str | None, typer.Option(help="When it happened, if not now.")] = None,
    json: options.Json = False,
) -> None:
    """Send one event; print its id once it is safe."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    body: dict[str, Any] = {"event": event, "resource": {**_pairs(label, "--label"), "id": resource}}
    body["related"] = [{"role": role, "id": name} for role, name in _pair_list(related, "--related")]
    body["payload"] = {} if payload is None else _payload(payload)
    given = {"id": id, "source": source, "occurred": options.moment_text(occurred, option="--occurred")}
    with Client() as client:
        receipt = client.post("/api/events", body | {name: value for name, value in given.items() if value})
    if json:
        output.json_line(receipt)
    else:
        known = " (known already)" if receipt["duplicates"] else ""
        output.line(f"{receipt['ids'][0]}{known}")


@group.command("list")
def list_events(
    event: Name = None,
    resource: Resource = None,
    since: options.Since = None,
    until: options.Until = None,
    query: Annotated[str | None, typer.Option("--query", "-q", help="Text that stands in the event.")] = None,
    limit: options.Limit = 50,
    json: options.Json = False,
) -> None:
    """List events, newest first."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    wanted = {
        "event": event, "resource": resource, "q": query,
        "since": options.moment_text(since, option="--since"), "until": options.moment_text(until, option="--until"),
    }  # fmt: skip
    with Client() as client:
        output.items(client.items("/api/events", limit, **wanted), _COLUMNS, _row, json=json)


@group.command()
def refused(limit: options.Limit = 50, json: options.Json = False) -> None:
    """List what came over the bus and is no event, newest first; `--json` shows what came."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    def row(one: Any) -> tuple[Any, ...]:
        return output.local(one["received"]), one["entry"], one["reason"]

    with Client() as client:
        output.items(client.items("/api/refusals", limit), ("received", "entry", "reason"), row, json=json)


@group.command()
def show(
    id: Annotated[str, typer.Argument(help="The event's id.", show_default=False)], json: options.Json = False
) -> None:
    """Show one event."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.item(client.get(f"/api/events/{segment(id)}"), json=json)


@group.command()
def tail(event: Name = None, resource: Resource = None, json: options.Json = False) -> None:
    """Follow events as they come in, until interrupted; exit status 1 when the server ends that."""
    from tocsin.cli import output
    from tocsin.cli.client import Client
    from tocsin.cli.following import follow

    with Client() as client:
        follow(client, lambda item: output.one(item, _row, json=json), event=event, resource=resource)


@commands.command()
def explain(
    event_id: Annotated[str, typer.Argument(help="The event's id.", show_default=False)],
    automation: Annotated[str | None, typer.Argument(help="One automation; otherwise all.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Say why an event did, or did not, make automations fire."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        found = client.get(f"/api/events/{segment(event_id)}/explain", automation=automation)
    for one in found["items"]:
        if json:
            output.json_line(one)
        else:
            output.explanation(one)


def _row(event: dict[str, Any]) -> tuple[Any, ...]:
    from tocsin.cli import output

    labels = {name: value for name, value in event["resource"].items() if name != "id"}
    return output.local(event["received"]), event["event"], event["resource"]["id"], labels, event["id"]


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    return dict(_pair_list(texts, option))


def _pair_list(texts: list[str] | None, option: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts or []]
    for name, equals, value in pairs:
        if not (name and equals):
            raise options.usage(f"{option} {name}{equals}{value}: write name=value")
    return [(name, value) for name, _, value in pairs]


def _payload(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise options.usage(f"--payload is not JSON: {error}") from None

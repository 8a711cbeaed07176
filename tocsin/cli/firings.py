"""`tocsin firings` and `tocsin actions`: what was judged, and what was done about it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tocsin.cli import options
from tocsin.errors import Conflict, NotFound

firings = options.group("Firings, newest first.")
actions = options.group("What firings asked for, and every attempt at it.")

Automation = Annotated[str | None, typer.Option("--automation", "-a", help="Only this automation's.")]
Id = Annotated[str, typer.Argument(help="The id.", show_default=False)]
Ids = Annotated[list[str] | None, typer.Argument(help="Their ids.", show_default=False)]
Type = Annotated[str | None, typer.Option(help="For example call-webhook.")]


@firings.command("list")
def list_firings(
    automation: Automation = None,
    verdict: Annotated[str | None, typer.Option(help="fired, missed, late, unknown or resolved.")] = None,
    open: Annotated[bool, typer.Option("--open", help="Only what is missed and not resolved.")] = False,
    since: options.Since = None,
    limit: options.Limit = 50,
    json: options.Json = False,
) -> None:
    """List firings, newest first."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    wanted = {
        "automation": automation, "verdict": verdict, "state": "open" if open else None,
        "since": options.moment_text(since, option="--since"),
    }  # fmt: skip
    with Client() as client:
        output.items(client.items("/api/firings", limit, **wanted), FIRING_COLUMNS, firing_row, json=json)


FIRING_COLUMNS = ("at", "automation", "verdict", "labels", "id", "reason")


def firing_row(firing: dict[str, Any]) -> tuple[Any, ...]:
    """Return the cells of a firing."""
    from tocsin.cli import output

    verdict = firing["verdict"]
    verdict += " (shadow)" if firing.get("mode") == "shadow" else ""
    return output.local(firing["at"]), firing["automation"], verdict, firing["labels"], firing["id"], firing["reason"]


@firings.command("show")
def show_firing(id: Id, json: options.Json = False) -> None:
    """Show one firing."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.item(client.get(f"/api/firings/{segment(id)}"), json=json)


@firings.command("tail")
def tail_firings(
    automation: Automation = None,
    verdict: Annotated[str | None, typer.Option(help="fired, missed, late, unknown or resolved.")] = None,
    json: options.Json = False,
) -> None:
    """Follow firings as they are judged, until interrupted; exit status 1 when the server ends that."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment
    from tocsin.cli.following import follow

    def show(event: dict[str, Any]) -> None:
        told = event["event"].rpartition(".")[2] in ("fired", "resolved")
        if told and verdict in (None, event["resource"]["verdict"]):
            found = client.get(f"/api/firings/{segment(event['payload']['firing'])}")
            output.one(found, firing_row, json=json)

    resource = None if automation is None else f"automation/{automation}"
    with Client() as client:
        follow(client, show, event="tocsin.automation.*", resource=resource)


@actions.command("list")
def list_actions(
    automation: Automation = None,
    state: Annotated[str | None, typer.Option(help="waiting, running, succeeded, skipped, dead or discarded.")] = None,
    type: Type = None,
    firing: Annotated[str | None, typer.Option(help="Only what this firing asked for.")] = None,
    limit: options.Limit = 50,
    json: options.Json = False,
) -> None:
    """List actions, newest first."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    wanted = {"automation": automation, "state": state, "type": type, "firing": firing}
    columns = ("created", "automation", "type", "state", "failed attempts", "id")
    with Client() as client:
        output.items(client.items("/api/actions", limit, **wanted), columns, _action_row, json=json)


def _action_row(action: dict[str, Any]) -> tuple[Any, ...]:
    from tocsin.cli import output

    return (
        output.local(action["created"]), action["automation"], action["type"], action["state"],
        action["attempts"], action["id"],
    )  # fmt: skip


@actions.command("show")
def show_action(id: Id, json: options.Json = False) -> None:
    """Show one action with all of its attempts."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.item(client.get(f"/api/actions/{segment(id)}"), json=json)


@actions.command("retry")
def retry_actions(
    ids: Ids = None,
    automation: Automation = None,
    state: Annotated[str | None, typer.Option(help="Those in this state: dead, discarded or waiting.")] = None,
    type: Type = None,
    json: options.Json = False,
) -> None:
    """Attempt actions that failed for good once more: those named, or all that the options choose."""
    from tocsin.cli.client import Client

    with Client() as client:
        chosen = _chosen(client, ids, automation=automation, state=state, type=type)
        _each(client, chosen, "retry", said="is attempted again", json=json)


@actions.command("discard")
def discard_actions(
    ids: Ids = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; it stands in the action's record.")],
    automation: Automation = None,
    state: Annotated[str | None, typer.Option(help="Those in this state: dead or waiting.")] = None,
    type: Type = None,
    json: options.Json = False,
) -> None:
    """Give up on actions that wait or failed for good: those named, or all that the options choose."""
    from tocsin.cli.client import Client

    with Client() as client:
        chosen = _chosen(client, ids, automation=automation, state=state, type=type)
        _each(client, chosen, "discard", body={"reason": reason}, said="is discarded", json=json)


def _chosen(client: Any, ids: list[str] | None, **wanted: str | None) -> list[str]:
    """Return the ids that were given, or those of the actions that options choose; without a state the dead ones."""
    options_given = any(value is not None for value in wanted.values())
    if ids and options_given:
        raise options.usage("name actions, or choose them by options: not both")
    if ids:
        return list(dict.fromkeys(ids))
    if not options_given:
        raise options.usage("which actions? Name them, or choose them: --state dead --automation NAME")
    wanted["state"] = wanted["state"] or "dead"
    return [one["id"] for one in client.items("/api/actions", None, **wanted)]


def _each(client: Any, ids: list[str], verb: str, *, said: str, body: dict[str, Any] | None = None, json: bool) -> None:
    """Do something to each action; one that refuses keeps the others from nothing, and the exit status tells."""
    from tocsin.cli import output
    from tocsin.cli.client import segment

    refused = []
    for action in ids:
        try:
            done = client.post(f"/api/actions/{segment(action)}/{verb}", body)
        except (Conflict, NotFound) as error:
            refused.append(f"{action}: {error}")
        else:
            output.done(done, f"{action} {said}", json=json)
    if refused:
        raise Conflict("\n".join([f"{len(refused)} of {len(ids)} actions can not be changed so:", *refused]))
    if not (ids or json):
        output.line("there is no such action")

"""`tocsin firings` and `tocsin actions`: what was judged, and what was done about it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tocsin.cli import options

firings = options.group("Firings, newest first.")
actions = options.group("What firings asked for, and every attempt at it.")

Automation = Annotated[str | None, typer.Option("--automation", "-a", help="Only this automation's.")]
Id = Annotated[str, typer.Argument(help="The id.", show_default=False)]


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


@actions.command("list")
def list_actions(
    automation: Automation = None,
    state: Annotated[str | None, typer.Option(help="waiting, running, succeeded, skipped, dead or discarded.")] = None,
    type: Annotated[str | None, typer.Option(help="For example call-webhook.")] = None,
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
def retry_action(id: Id, json: options.Json = False) -> None:
    """Attempt an action that failed for good once more."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        done = client.post(f"/api/actions/{segment(id)}/retry")
    output.done(done, f"{id} is attempted again", json=json)

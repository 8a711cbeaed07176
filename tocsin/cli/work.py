"""`tocsin flows`, `tocsin runs` and `tocsin queues`: what can be run, what runs, and where it waits."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any

import typer

from tocsin.cli import options

flows = options.group("Flows, and their schedules.")
runs = options.group("Flow runs, newest first.")
queues = options.group("Queues: where runs wait for their turn.")

Id = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
Flow = Annotated[str, typer.Argument(help="The flow's name.", show_default=False)]
Queue = Annotated[str, typer.Argument(help="The queue's name.", show_default=False)]


@flows.command("list")
def list_flows(json: options.Json = False) -> None:
    """List all flows, and when those with a schedule run next."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    columns = ("flow", "queue", "schedule", "state", "next run")
    with Client() as client:
        output.items(client.items("/api/flows", None), columns, _flow_row, json=json)


def _flow_row(flow: dict[str, Any]) -> tuple[Any, ...]:
    from tocsin.cli import output

    spec = flow["definition"]
    schedule = spec.get("schedule") or {}
    when = next((str(schedule[name]) for name in ("cron", "every", "rrule") if schedule.get(name)), None)
    state = None if when is None else "paused" if flow["paused"] else "on"
    following = output.local(flow["next"]) if flow["next"] else None
    return flow["name"], spec.get("queue", "default"), when, state, following


@flows.command("show")
def show_flow(name: Flow, json: options.Json = False) -> None:
    """Show one flow."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.item(client.get(f"/api/flows/{segment(name)}"), json=json)


@flows.command("pause")
def pause_flow(name: Flow, json: options.Json = False) -> None:
    """Pause a flow's schedule; the flow can still be run."""
    _switch("flows", name, "pause", json=json)


@flows.command("resume")
def resume_flow(name: Flow, json: options.Json = False) -> None:
    """Resume a flow's schedule; its `catch_up` says what of the pause is run."""
    _switch("flows", name, "resume", json=json)


@runs.command("list")
def list_runs(
    flow: Annotated[str | None, typer.Option(help="Only this flow's.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only this queue's.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, running, completed, failed, ...")] = None,
    limit: options.Limit = 50,
    json: options.Json = False,
) -> None:
    """List flow runs, newest first."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    columns = ("created", "flow", "queue", "state", "attempt", "cause", "reason", "id")
    with Client() as client:
        found = client.items("/api/runs", limit, flow=flow, queue=queue, state=state)
        output.items(found, columns, _run_row, json=json)


def _run_row(run: dict[str, Any]) -> tuple[Any, ...]:
    from tocsin.cli import output

    names = ("flow", "queue", "state", "attempt", "automation", "reason", "id")
    return output.local(run["created"]), *(run.get(name) for name in names)


@runs.command("show")
def show_run(id: Id, json: options.Json = False) -> None:
    """Show one flow run."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.item(client.get(f"/api/runs/{segment(id)}"), json=json)


@runs.command("start")
def start_run(
    flow: Flow,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="k=v; the value is JSON, else text.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Start a flow; print the run's id."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    with Client() as client:
        run = client.post("/api/runs", {"flow": flow, "parameters": dict(map(_parameter, parameter or []))})
    output.done(run, run["id"], json=json)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise options.usage(f"--parameter {text}: write name=value")
    try:
        return name, json_text.loads(value)
    except ValueError:
        return name, value


@runs.command("logs")
def show_logs(
    id: Id, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False
) -> None:
    """Print what a run has written, all attempts of it."""
    from tocsin.cli.client import Client
    from tocsin.cli.following import print_log

    with Client() as client:
        print_log(client, id, follow=follow)


@runs.command("cancel")
def cancel_run(id: Id, json: options.Json = False) -> None:
    """Cancel a run that waits or runs."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.done(client.post(f"/api/runs/{segment(id)}/cancel"), f"{id} is cancelled", json=json)


@queues.command("list")
def list_queues(json: options.Json = False) -> None:
    """List all queues."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    columns = ("queue", "state", "concurrency", "running", "waiting", "paused by")
    with Client() as client:
        output.items(client.items("/api/queues", None), columns, _queue_row, json=json)


def _queue_row(queue: dict[str, Any]) -> tuple[Any, ...]:
    names = ("concurrency", "running", "waiting", "paused_by")
    return queue["name"], "paused" if queue.get("paused") else "open", *(queue.get(name) for name in names)


@queues.command("pause")
def pause_queue(name: Queue, json: options.Json = False) -> None:
    """Start nothing more from this queue; what runs goes on."""
    _switch("queues", name, "pause", json=json)


@queues.command("resume")
def resume_queue(name: Queue, json: options.Json = False) -> None:
    """Start runs from this queue again."""
    _switch("queues", name, "resume", json=json)


def _switch(what: str, name: str, verb: str, *, json: bool) -> None:
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        done = client.post(f"/api/{what}/{segment(name)}/{verb}")
    output.done(done, f"{name} is {verb}d", json=json)

"""`tocsin automations`: what is watched, and how it stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tocsin.cli import options

group = options.group("Automations: what is watched, and how it stands.")

Name = Annotated[str, typer.Argument(help="The automation's name.", show_default=False)]


@group.command("list")
def list_automations(json: options.Json = False) -> None:
    """List all automations."""
    from tocsin.cli import output
    from tocsin.cli.client import Client

    columns = ("automation", "state", "trigger", "severity", "origin", "last fired")
    with Client() as client:
        output.items(client.items("/api/automations", None), columns, _row, json=json)


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    from tocsin.cli import output
    from tocsin.clock import SystemClock

    spec = item.get("definition", item)
    trigger = spec.get("trigger", {})
    kind = "absence" if trigger.get("posture") == "Proactive" else trigger.get("type", "event")
    last = item.get("last_firing") or {}
    fired = output.relative(last.get("at"), SystemClock().now_us())
    return spec["name"], _state(item, spec), kind, spec.get("severity", "medium"), item.get("origin"), fired


def _state(item: dict[str, Any], spec: dict[str, Any]) -> str:
    if not spec.get("enabled", True):
        return "disabled"
    return "paused" if item.get("paused") else spec.get("mode", "live")


@group.command()
def show(name: Name, json: options.Json = False) -> None:
    """Show one automation: its definition, open windows, next deadline, last firing."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        output.item(client.get(f"/api/automations/{segment(name)}"), json=json)


@group.command()
def pause(name: Name, json: options.Json = False) -> None:
    """Judge nothing until it is resumed; windows are kept."""
    _switch(name, "pause", "is paused", json=json)


@group.command()
def resume(name: Name, json: options.Json = False) -> None:
    """Judge again; the pause counts as an outage."""
    _switch(name, "resume", "is resumed", json=json)


def _switch(name: str, verb: str, said: str, *, json: bool) -> None:
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        done = client.post(f"/api/automations/{segment(name)}/{verb}")
    output.done(done, f"{name} {said}", json=json)

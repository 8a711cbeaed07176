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
    """Say what an automation is waiting for, key by key, and what it was last about."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment
    from tocsin.cli.waiting import show_automation

    with Client() as client:
        found = client.get(f"/api/automations/{segment(name)}")
    if json:
        output.json_line(found)
    else:
        show_automation(found)


@group.command()
def forget(
    name: Name,
    key: Annotated[list[str], typer.Argument(help="The key: its value, or label=value for each label.")],
    json: options.Json = False,
) -> None:
    """Stop watching one key, until its next event."""
    from tocsin.cli import output
    from tocsin.cli.client import Client, segment

    with Client() as client:
        address = f"/api/automations/{segment(name)}"
        labels = _key(client.get(address)["labels"], key)
        done = client.post(f"{address}/forget", {"labels": labels})
    said = ", ".join(f"{label}={value}" for label, value in labels.items())
    output.done(done, f"{name} watches {said} no more, until its next event", json=json)


def _key(names: list[str], texts: list[str]) -> dict[str, str]:
    """Read a key: one value where it has one label, else `label=value` for each."""
    pairs = [text.partition("=") for text in texts]
    if all(name in names for name, _, _ in pairs):
        return {name: value for name, _, value in pairs}
    if len(texts) == len(names) == 1:
        return {names[0]: texts[0]}
    if not names:
        raise options.usage("this automation has one key only: pause it, or remove it")
    raise options.usage(f"a key of it is written {' '.join(f'{name}=VALUE' for name in names)}")


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

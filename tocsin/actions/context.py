"""What templates, conditions and webhook bodies see of a firing; pure.

Two views of the same: `facts` is plain JSON (for `if` and for bodies), `variables` has times as datetimes in the
trigger's zone (for templates).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import Micros, from_micros, iso

_ABOUT: Mapping[str, Any] = MappingProxyType({
    name: Automation.model_fields[name].get_default(call_default_factory=True)
    for name in ("description", "mode", "severity", "owner", "runbook", "tags")
})  # fmt: skip


def facts(firing: Firing, arrivals: Mapping[int, Arrival], automation: Mapping[str, Any]) -> dict[str, Any]:
    """Return `event`, `events`, `labels`, `firing` and `automation` as plain JSON.

    `arrivals` are those of the firing's events that are still kept; `automation` is the definition as it is written.
    """
    events = [arrivals[seq].document() for seq in firing.events if seq in arrivals]
    decided = None if firing.trigger_event is None else arrivals.get(firing.trigger_event)
    return {
        "event": None if decided is None else decided.document(),
        "events": events,
        "labels": dict(firing.labels),
        "firing": _firing(firing, iso),
        "automation": {"name": firing.automation, **_about(automation)},
    }


def variables(firing: Firing, arrivals: Mapping[int, Arrival], automation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `facts` does, with the times of the firing and its events as datetimes."""
    zone = _zone(automation)

    def local(moment_us: Micros | None) -> datetime | None:
        if moment_us is None:
            return None
        moment = from_micros(moment_us)
        try:
            return moment.astimezone(zone)
        except OverflowError:  # the first and the last day that a datetime can hold
            return moment

    def event(arrival: Arrival) -> dict[str, Any]:
        return arrival.document() | {"occurred": local(arrival.time_us), "received": local(arrival.received_us)}

    known = facts(firing, {}, automation)
    known["events"] = [event(arrivals[seq]) for seq in firing.events if seq in arrivals]
    decided = None if firing.trigger_event is None else arrivals.get(firing.trigger_event)
    known["event"] = None if decided is None else event(decided)
    known["firing"] = _firing(firing, local)
    return known


def body(firing: Firing, arrivals: Mapping[int, Arrival], automation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the firing as a webhook carries it by default: as the API shows it, with the event that decided."""
    known = facts(firing, {}, automation)
    decided = None if firing.trigger_event is None else arrivals.get(firing.trigger_event)
    return {
        **known["firing"],
        "automation": firing.automation,
        "severity": known["automation"]["severity"],
        "labels": known["labels"],
        "resolves": list(firing.resolves),
        "incident": firing.incident,
        "events": [arrivals[seq].event.id for seq in firing.events if seq in arrivals],
        "event": None if decided is None else decided.document(),
    }


def _about(automation: Mapping[str, Any]) -> dict[str, Any]:
    return {name: automation.get(name, usual) for name, usual in _ABOUT.items()}


def _firing(firing: Firing, moment: Any) -> dict[str, Any]:
    window = None if firing.window_us is None else [moment(edge) for edge in firing.window_us]
    return {"id": firing.id, "verdict": firing.verdict.value, "at": moment(firing.at_us), "due": moment(firing.due_us),
            "window": window, "reason": firing.reason}  # fmt: skip


def _zone(automation: Mapping[str, Any]) -> tzinfo:
    name = (automation.get("trigger") or {}).get("timezone")
    return ZoneInfo(name) if name else UTC

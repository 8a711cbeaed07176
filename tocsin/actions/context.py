"""What templates, conditions and webhook bodies see of a firing; pure.

Two views of the same: `facts` is plain JSON (for `if` and for bodies), `Variables` have times as datetimes in the
trigger's zone (for templates).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


_NAMES = ("event", "events", "labels", "firing", "automation")


class Variables(Mapping[str, Any]):
    """What `facts` returns, with the times of the firing and its events as datetimes; each is made when it is used."""

    def __init__(self, firing: Firing, arrivals: Mapping[int, Arrival], automation: Mapping[str, Any]) -> None:
        """Keep what it is made of."""
        self._firing = firing
        self._arrivals = arrivals
        self._automation = automation
        self._zone = _zone(automation)
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return one of them. Raises KeyError."""
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(_NAMES)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(_NAMES)

    def _local(self, moment_us: Micros | None) -> datetime | None:
        if moment_us is None:
            return None
        moment = from_micros(moment_us)
        try:
            return moment.astimezone(self._zone)
        except OverflowError:  # the first and the last day that a datetime can hold
            return moment

    def _seen(self, seq: int | None) -> dict[str, Any] | None:
        arrival = None if seq is None else self._arrivals.get(seq)
        if arrival is None:
            return None
        times = {"occurred": self._local(arrival.time_us), "received": self._local(arrival.received_us)}
        return arrival.document() | times

    def _made(self, name: str) -> Any:
        firing = self._firing
        match name:
            case "event":
                return self._seen(firing.trigger_event)
            case "events":
                return [event for seq in firing.events if (event := self._seen(seq)) is not None]
            case "labels":
                return dict(firing.labels)
            case "firing":
                return _firing(firing, self._local)
            case "automation":
                return {"name": firing.automation, **_about(self._automation)}
        raise KeyError(name)


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

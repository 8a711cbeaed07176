"""The engine's own events: what was judged and defined, in the same log as everything else."""

from __future__ import annotations

from typing import Any

from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing, Verdict
from tocsin.schemas.moments import Micros, iso
from tocsin.store.log import OWN_SOURCE, Draft

DEFINITIONS_CHANGED = "tocsin.definitions.changed"
"""The place in the log behind which other definitions are in force."""


def fired(firing: Firing, *, severity: str, mode: str) -> Draft:
    """Return `tocsin.automation.fired`, or `.resolved`, for a firing."""
    what = "resolved" if firing.verdict is Verdict.RESOLVED else "fired"
    resource = {
        "id": f"automation/{firing.automation}",
        "verdict": firing.verdict.value,
        "severity": severity,
        "mode": mode,
    }
    return _draft(f"tocsin.automation.{what}", f"{firing.id}/{what}", firing, resource=resource, payload=_about(firing))


def loop_stopped(firing: Firing, *, most: int) -> Draft:
    """Return `tocsin.automation.loop_stopped`: the automation has led to itself too often (law F5)."""
    resource = {"id": f"automation/{firing.automation}"}
    payload = _about(firing) | {"chain": list(firing.chain), "max_depth": most}
    return _draft("tocsin.automation.loop_stopped", f"{firing.id}/loop", firing, resource=resource, payload=payload)


def failed(automation: str, *, what: str, reason: str) -> Draft:
    """Return `tocsin.automation.failed`: something was set aside for this automation only (law S5)."""
    payload = {"what": what, "reason": reason}
    event = Event(
        event="tocsin.automation.failed",
        resource={"id": f"automation/{automation}"},
        payload=payload,
        source=OWN_SOURCE,
    )
    return Draft(event)


def bus_refused(identity: str, *, stream: str, entry: str, reason: str, received_us: Micros) -> Draft:
    """Return `tocsin.bus.refused`: an entry of the bus is no event, and is kept apart."""
    event = Event(
        event="tocsin.bus.refused",
        resource={"id": f"bus/{stream}", "entry": entry},
        payload={"entry": entry, "reason": reason.replace("\0", "\\0")},
        id=identity,
        source=OWN_SOURCE,
    )
    return Draft(event, received_us=received_us)


def restored(after_seq: int) -> Draft:
    """Return `tocsin.log.restored`: the log goes on behind a backup that ended at a place."""
    event = Event(event="tocsin.log.restored", resource={"id": "log"}, payload={"after": after_seq}, source=OWN_SOURCE)
    return Draft(event)


def definitions_changed(summary: dict[str, Any]) -> Draft:
    """Return the marker behind which the definitions of `summary` are in force."""
    event = Event(event=DEFINITIONS_CHANGED, resource={"id": "definitions"}, payload=summary, source=OWN_SOURCE)
    return Draft(event)


def _about(firing: Firing) -> dict[str, Any]:
    return {
        "firing": firing.id,
        "labels": firing.labels,
        "at": iso(firing.at_us),
        "due": iso(firing.due_us),
        "reason": firing.reason,
        "resolves": list(firing.resolves),
    }


def _draft(name: str, identity: str, firing: Firing, *, resource: dict[str, str], payload: dict[str, Any]) -> Draft:
    event = Event.model_construct(
        event=name,
        resource=resource,
        related=[],
        payload=payload,
        occurred=None,
        id=identity,
        source=OWN_SOURCE,
        follows=None,
    )
    return Draft(event, (*firing.chain, firing.automation))

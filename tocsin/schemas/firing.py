"""What judgement says: firings, and the decisions that explain every step towards or away from one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from tocsin.schemas.moments import Micros, iso, span

_NAMESPACE = uuid.UUID("6f0a3d0e-7c3c-5b86-9a4e-70c51b2e9d11")
EVENTS_MAX = 1_000
"""The most events that a firing lists (law F3)."""


class Verdict(StrEnum):
    """How a firing came about."""

    FIRED = "fired"
    MISSED = "missed"
    LATE = "late"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


class Outcome(StrEnum):
    """What a firing, or an arrival that did not fire, did to a key; written into decision records."""

    COUNTED = "counted"
    QUIET = "quiet"
    REMEMBERED = "remembered"
    OPENED = "opened"
    MOVED = "moved"
    MET = "met"
    LATE = "late"
    MISSED = "missed"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    FIRED = "fired"
    RESOLVED = "resolved"
    REPEATED = "repeated"
    FORGOTTEN = "forgotten"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    LOOP = "loop"
    SHADOW = "shadow"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Firing:
    """One verdict that actions answer to (laws F1, F3).

    `at_us` is the moment of the verdict, `due_us` the deadline of a `missed`, `unknown` or `late` verdict, `time_us`
    its judged time (law O1), `window_us` the window's opening and end where there is one. `events` are the places in
    the log of the events that made it, in order of judged time; `resolves` the ids of the firings that it resolves.
    `trigger_event` is the place of the event that decided, or None where silence did. `chain` names the automations
    that led to it, this one excluded (law F5). `first` is the firing that this one repeats.
    """

    id: str
    automation: str
    node: str
    state_key: str
    labels: dict[str, str]
    verdict: Verdict
    at_us: Micros
    time_us: Micros
    due_us: Micros | None = None
    window_us: tuple[Micros, Micros] | None = None
    events: tuple[int, ...] = ()
    trigger_event: int | None = None
    reason: str = ""
    resolves: tuple[str, ...] = ()
    repeat: int = 0
    chain: tuple[str, ...] = ()
    first: str | None = None

    @property
    def incident(self) -> str:
        """The id of the firing with which the matter began: one that this one repeats or resolves, or its own."""
        return self.first or (self.resolves[0] if self.resolves else self.id)


class Decision(NamedTuple):
    """What one arrival (`seq`) or one moment (`seq` is None) did to one key, in a few words.

    Most are never read: `says` is a sentence with places for `args`, put together only by `text`. In places written
    `{0:time}` and `{0:span}` the argument is in microseconds. As JSON a decision is the list of its fields.
    """

    automation: str
    node: str
    labels: dict[str, str]
    outcome: Outcome
    at_us: Micros
    seq: int | None = None
    firing: str | None = None
    says: str = ""
    args: Sequence[object] = ()

    @property
    def text(self) -> str:
        """The sentence."""
        return self.says.format(*(_Length(arg) if type(arg) is int else arg for arg in self.args))

    def document(self) -> dict[str, Any]:
        """Return the decision as the API shows it."""
        return {
            "automation": self.automation,
            "labels": self.labels,
            "outcome": str(self.outcome),
            "at": iso(self.at_us),
            "text": self.text,
            "firing": self.firing,
        }


class _Length(int):
    """A number that may be written as a moment or as a length of time."""

    def __format__(self, spec: str) -> str:
        if spec == "time":
            return str(iso(self))
        return span(self) if spec == "span" else str(int(self))


def firing_id(*parts: object) -> str:
    """Derive a firing's id from what it is about: judging the same thing twice gives the same id (law F1)."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))

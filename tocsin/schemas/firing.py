"""What judgement says: firings, and the decisions that explain every step towards or away from one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from tocsin.schemas.moments import Micros

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
    that led to it, this one excluded (law F5).
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


@dataclass(frozen=True, slots=True)
class Decision:
    """What one arrival (`seq`) or one moment (`seq` is None) did to one key, in a few words."""

    automation: str
    node: str
    labels: dict[str, str]
    outcome: Outcome
    text: str
    at_us: Micros
    seq: int | None = None
    firing: str | None = None


def firing_id(*parts: object) -> str:
    """Derive a firing's id from what it is about: judging the same thing twice gives the same id (law F1)."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))

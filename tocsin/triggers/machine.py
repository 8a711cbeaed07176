"""What all machines share: what they see, what they keep, what they say.

A machine judges one node of a trigger. It is immutable and holds the node's definition; what it knows about one key
is in a `State`, which the shell stores between runs. The judge calls

- `arrive` for each arrival that matched, in the order of the log, and
- `wake` for each moment that the state asked for, before the arrivals received after it (law O1).

Rule 1: a machine changes nothing but the state it was handed and the ledger.
Rule 2: everything a machine knows about time is in its arguments; its definition may change between two calls in
what law S4 calls harmless (grace, repeat, ...), so states hold no copy of it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import to_json

from tocsin.schemas.firing import EVENTS_MAX, Decision, Firing, Outcome, Verdict, firing_id
from tocsin.schemas.moments import Micros, iso
from tocsin.schemas.trigger import DeadlineTrigger, EventTrigger

VERSION = 1
"""The first element of every encoded state."""


class Seen(NamedTuple):
    """An arrival as a machine sees it. `place_us` is where it stands among K's events: its time, or later (law O4)."""

    place_us: Micros
    seq: int
    time_us: Micros
    received_us: Micros
    roles: int
    chain: tuple[str, ...] = ()


def seen_again(values: list[Any]) -> Seen:
    """Return the arrival that was written as JSON."""
    place_us, seq, time_us, received_us, roles, chain = values
    return Seen(place_us, seq, time_us, received_us, roles, tuple(chain))


class Counted(NamedTuple):
    """An event that a firing lists: its judged time and its place in the log. They sort in the order of law F3."""

    time_us: Micros
    seq: int


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which nothing could be received, or an automation was paused (law S2).

    Moments of verdicts in (`start_us`, `settled_us`) move to `settled_us`. An unmet window ends unknown if between its
    opening and its verdict, while an event could still have met it, there was an outage (`start_us`, `end_us`).
    """

    start_us: Micros
    end_us: Micros
    settled_us: Micros

    @property
    def excuse(self) -> str:
        """Why a verdict is not known, as the end of a sentence."""
        return f"; not known, for nothing could be received from {clock(self.start_us)} to {clock(self.end_us)}"


class Outages:
    """All outages that concern an automation."""

    __slots__ = ("_all",)

    def __init__(self, outages: Iterable[Outage] = ()) -> None:
        self._all = sorted(outages, key=lambda outage: outage.start_us)

    def and_also(self, outages: Iterable[Outage]) -> Outages:
        """Return these and others."""
        return Outages([*self._all, *outages])

    def moved(self, moment_us: Micros) -> Micros:
        """Return when a verdict is given whose moment this would be. Never decreases as the moment grows."""
        for outage in self._all:
            if outage.start_us < moment_us < outage.settled_us:
                moment_us = outage.settled_us
        return moment_us

    def over(self, opened_us: Micros, judged_us: Micros) -> Outage | None:
        """Return the first outage between the opening of a window and the moment of its verdict."""
        return next((one for one in self._all if opened_us < one.end_us and one.start_us < judged_us), None)

    def around(self, moment_us: Micros) -> Outage | None:
        """Return the outage in which a moment lies."""
        return next((one for one in self._all if one.start_us < moment_us < one.end_us), None)


class State:
    """What is known about one key of one node.

    `wake_us` is the next moment at which something is due, before outages move it; `seen_us` when something last
    happened to the key. A state that is `gone` is deleted; what arrives next starts anew.
    """

    __slots__ = ("gone", "labels", "seen_us", "wake_us")

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.gone = False
        self.wake_us: Micros | None = None
        self.seen_us: Micros = 0

    def seqs(self) -> set[int]:
        """Return the places in the log of the events that it knows; while it does, they are kept."""
        return set(_seqs(self.fields()))

    def oldest_seq(self) -> int | None:
        """Return the first of the places in the log of the events that it knows, None if it knows none."""
        return min(_seqs(self.fields()), default=None)

    @property
    def idle_since_us(self) -> Micros | None:
        """Since when nothing is open here, or None while something is. Idle states may be dropped (law P8)."""
        return self.seen_us if self.wake_us is None else None

    def encode(self) -> bytes:
        """Return the state in a form that any later version reads: a JSON list that starts with a version."""
        head = [VERSION, self.labels, self.wake_us, self.seen_us]
        return to_json([*head, *self.fields()])

    def fields(self) -> list[Any]:
        """Return what a machine's `restore` is given back, as JSON values."""
        return []


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an automation's trigger: whose it is, and its stable identity (law S4)."""

    automation: str
    id: str
    armed_us: Micros


def _seqs(fields: Iterable[Any]) -> list[int]:
    """Return the places of all events anywhere in a state's fields."""
    found: list[int] = []
    left = [fields]
    while left:
        for value in left.pop():
            kind = type(value)
            if kind is Counted or kind is Seen:
                found.append(value.seq)
            elif value and issubclass(kind, list | tuple):
                left.append(value)
    return found


class Fired(NamedTuple):
    """A firing on its way: to the shell from a root, else to the node above. `events` say how its events sort."""

    step: tuple[int, int, int]
    node: str
    state_key: str
    firing: Firing
    events: tuple[Counted, ...]


class Ledger:
    """What one run has said so far. The judge sets `step`, `state_key` and `outages` before each call of a machine.

    `step` is the place in the order of law O1: (moment, 0, seq) for an arrival, (moment, 1, 0) for a moment.
    """

    __slots__ = ("decisions", "fired", "outages", "state_key", "step")

    def __init__(self) -> None:
        self.fired: list[Fired] = []
        self.decisions: list[tuple[tuple[int, int, int], str, Decision]] = []
        self.outages = Outages()
        self.step = (0, 0, 0)
        self.state_key = ""

    def decide(self, decision: Decision) -> None:
        """Record what happened to the key at hand."""
        self.decisions.append((self.step, self.state_key, decision))


class Machine(ABC):
    """A compiled node. Subclasses say which events and moments do what to a state; `keeps` says if there is one."""

    __slots__ = ("node",)

    keeps = True

    def __init__(self, node: Node) -> None:
        self.node = node

    @abstractmethod
    def fresh(self, labels: dict[str, str]) -> State:
        """Return the state of a key of which nothing is known."""

    def restore(self, state: State, fields: list[Any]) -> None:
        """Put back into a fresh state what `State.fields` returned."""
        assert not fields, "a machine with fields reads them"

    def arrive(self, state: State, seen: Seen, ledger: Ledger) -> None:
        """Judge an arrival."""
        raise AssertionError("only nodes that look at events are given any")

    @abstractmethod
    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Judge what is due at the moment `at_us`, to which outages may have moved it."""

    def moved(self, outages: Outages, moment_us: Micros) -> Micros:
        """Return when a moment comes that outages may move."""
        return outages.moved(moment_us)

    @abstractmethod
    def rearm(self, state: State) -> None:
        """Set `wake_us` anew, after the definition changed in a harmless way (law S4)."""

    @abstractmethod
    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """End all open windows as `closed`: the definition is no longer there (law S4)."""

    def forget(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Stop watching a key; its next event begins anew (law P8)."""
        self.close(state, at_us, ledger)
        self.note(state, ledger, Outcome.FORGOTTEN, "forgotten", at_us=at_us)
        state.gone = True

    @abstractmethod
    def describe(self, state: State) -> dict[str, Any]:
        """Return what is open here, for people: times as ISO 8601, durations as text."""

    def decode(self, blob: bytes) -> State:
        """Return the state that `State.encode` wrote.

        Raises:
            ValueError: it is not one that this version can read.
        """
        version, labels, wake_us, seen_us, *fields = json.loads(blob)
        if version != VERSION:
            raise ValueError(f"a state of version {version!r}; this version reads {VERSION}")
        state = self.fresh(labels)
        state.wake_us, state.seen_us = wake_us, seen_us
        self.restore(state, fields)
        return state

    def note(self, state: State, ledger: Ledger, outcome: Outcome, *says: object,
             at_us: Micros, seq: int | None = None, firing: str | None = None) -> None:  # fmt: skip
        """Record a decision about the key: a sentence, and what fills its places when somebody reads it."""
        node, sentence = self.node, str(says[0])
        ledger.decide(Decision(node.automation, node.id, state.labels, outcome, at_us, seq, firing, sentence, says[1:]))

    def fire(self, state: State, ledger: Ledger, said: Said) -> str:
        """Put a firing into the ledger, with its decision; return its id."""
        node, seen, events = self.node, said.seen, sorted(said.events)[-EVENTS_MAX:]
        identity = firing_id(ledger.state_key, *said.about, said.verdict, said.repeat)
        time_us = said.time_us
        if time_us is None:
            time_us = said.due_us if said.due_us is not None else events[-1].time_us if events else said.at_us
        firing = Firing(
            id=identity, automation=node.automation, node=node.id, state_key=ledger.state_key, labels=state.labels,
            verdict=said.verdict, at_us=said.at_us, time_us=time_us, due_us=said.due_us,
            window_us=said.window_us, events=tuple(event.seq for event in events),
            trigger_event=seen.seq if seen else None, reason=said.reason, resolves=said.resolves, repeat=said.repeat,
            chain=seen.chain if seen else (), first=said.first,
        )  # fmt: skip
        ledger.fired.append(Fired(ledger.step, node.id, ledger.state_key, firing, tuple(events)))
        outcome = Outcome.REPEATED if said.repeat else Outcome(said.verdict)
        seq = seen.seq if seen else None
        self.note(state, ledger, outcome, "{0}", said.reason, at_us=said.at_us, seq=seq, firing=identity)
        return identity


class Timeless(Machine):
    """What machines have in common that no moment concerns: they act on arrivals only."""

    __slots__ = ()

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Do nothing: no such state asks to be called."""

    def rearm(self, state: State) -> None:
        state.wake_us = None

    def close(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Do nothing: there is no window that could stay open."""


@dataclass(slots=True)
class Said:
    """A verdict before it becomes a firing. `about` is the window or the events consumed, for its id (law F1)."""

    verdict: Verdict
    at_us: Micros
    reason: str
    about: tuple[object, ...]
    events: Iterable[Counted] = ()
    due_us: Micros | None = None
    window_us: tuple[Micros, Micros] | None = None
    time_us: Micros | None = None
    seen: Seen | None = None
    resolves: tuple[str, ...] = ()
    repeat: int = 0
    first: str | None = None


def clock(moment_us: Micros) -> str:
    """Return a moment as sentences give it."""
    return str(iso(moment_us))


def labelled(labels: dict[str, str]) -> str:
    """Return ` for id=web-1`, or nothing where a trigger has one key."""
    return f" for {', '.join(f'{name}={value}' for name, value in labels.items())}" if labels else ""


def expected(trigger: EventTrigger | DeadlineTrigger) -> str:
    """Return what a trigger waits for, as sentences give it."""
    return " or ".join(trigger.expect) if trigger.expect != ("*",) else "any event"

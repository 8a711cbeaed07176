"""Forgetting one key of an automation at once, as a person says (law P8)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from tocsin.engine.stored import Judges
from tocsin.engine.verdicts import note
from tocsin.errors import Conflict, InvalidInput, JudgeFailed, NotFound, Problem, Unavailable
from tocsin.schemas.firing import Decision
from tocsin.store import definitions, states
from tocsin.store.writer import Transaction
from tocsin.triggers.deadline import Deadline
from tocsin.triggers.heartbeat import Heartbeat
from tocsin.triggers.judge import Judge, State
from tocsin.triggers.keys import state_key


def forget(tx: Transaction, judges: Judges, name: str, *, labels: Mapping[str, str], after_seq: int) -> list[Decision]:
    """Stop watching one key, in every node of an automation; the unit of the writer that does it.

    Everything up to the place `after_seq` has to be judged, or else an event that was there before would bring the key
    back. Returned are the decisions about it, which are stored.

    Raises:
        InvalidInput: the labels are not those that make a key of the automation.
        NotFound: the automation or the key is not judged.
        Conflict: the automation has one key only, or the definition itself lists the key.
        Unavailable: what was there before is not judged yet.
    """
    shards = definitions.shards_of(tx.connection, [name])
    states.bump(tx.connection, shards)  # who judges them stores nothing from here on, and reads them anew
    if any(states.cursor_of(tx.connection, shard).seq < after_seq for shard in shards):
        raise Unavailable(f"not every event that {name!r} may have got is judged: try again", retry_after_s=1)
    judge = judges.over(tx.connection, [name])
    if name not in judge:
        raise NotFound(f"there is no automation {name!r}")
    _check(judge, name, labels)
    found = _states(tx, judge, name, labels=labels)
    if not found:
        raise NotFound(f"{name!r} watches no key {_text(labels)}")
    decisions: list[Decision] = []
    for key, state in found.items():
        decisions += judge.forget(key, state, at_us=tx.now_us).decisions
    states.remove(tx.connection, found)
    note(tx, decisions, shard=min(shards))
    return decisions


def _check(judge: Judge, name: str, labels: Mapping[str, str]) -> None:
    names = judge.root(name).names
    if not names:
        raise Conflict(f"{name!r} has one key only: pause it, or remove it")
    if set(names) != set(labels):
        message = f"a key of {name!r} has the labels {', '.join(names)}: give each of them, and no other"
        raise InvalidInput([Problem(message, field="labels")])
    for spot in judge.spots(name):
        if not (isinstance(spot.machine, Heartbeat | Deadline) and set(spot.names) == set(labels)):
            continue
        if tuple(labels[one] for one in spot.names) in spot.machine.subjects:
            raise Conflict(f"{_text(labels)} is one of the `subjects` of {name!r}: remove it there")


def _states(tx: Transaction, judge: Judge, name: str, *, labels: Mapping[str, str]) -> dict[str, State]:
    """Return the states of a key: its own, and those of children that divide it further.

    What can not be read is left to the evaluator, which sets it aside when it comes to it (law S5).
    """
    spots = judge.spots(name)
    if any(len(spot.names) > len(labels) for spot in spots):
        blobs = states.of_automation(tx.connection, name)
    else:
        own = [state_key(name, spot.id, [labels[one] for one in spot.names]) for spot in spots if spot.names]
        blobs = states.load(tx.connection, own)
    found: dict[str, State] = {}
    for key, blob in blobs.items():
        with contextlib.suppress(JudgeFailed):
            state = judge.decode(key, blob)
            if state is not None and labels.items() <= state.labels.items():
                found[key] = state
    return found


def _text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())

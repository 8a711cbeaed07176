"""What should have fired, said by two who were never killed: the pure judge, and the brute-force model of the laws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.crash.records import Records
from tests.model import judge as model
from tests.triggers.scenario import Row, comparable
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision, Firing
from tocsin.schemas.moments import Micros, from_micros, iso
from tocsin.store.states import Cursor
from tocsin.triggers.judge import Armed, Judge, State
from tocsin.triggers.machine import Outage
from tocsin.triggers.simulate import BATCH, Memory


@dataclass(frozen=True)
class Times:
    """The settings that laws speak of, and the outages that the ledger of up-time shows (law S2)."""

    lateness_us: Micros
    settle_us: Micros

    def outages(self, records: Records) -> list[Outage]:
        """Return when nothing could be received, with the settling."""
        return [Outage(start, end, end + self.settle_us) for start, end in records.outages]


View = tuple[Micros | None, dict[str, Any]]
"""A state as far as it shows: when it wants to be called, and what it describes. What machines keep beside that may
differ with what they were asked since they were loaded."""


@dataclass
class Judged:
    """What the pure judge says about a whole log; and the `stored` states as it reads them."""

    firings: list[Firing]
    decisions: list[Decision]
    states: dict[str, View]
    stored: dict[str, View]


def by_judge(records: Records, times: Times) -> Judged:
    """Judge the stored log from the beginning, in one go and in memory, up to where each shard was judged."""
    said = Judged([], [], {}, {})
    for cursor in records.cursors.values():
        _judge_shard(records, cursor, times=times, said=said)
    return said


def _judge_shard(records: Records, cursor: Cursor, *, times: Times, said: Judged) -> None:
    armed = [
        Armed(name, spec.trigger, version.armed_us, version.armed_seq)
        for name, (version, spec) in records.versions.items()
        if version.shard == cursor.shard
    ]
    memory = Memory(Judge(armed, lateness_us=times.lateness_us))
    outages = times.outages(records)
    for one in armed:
        memory.arm(one.name)
    arrivals = [arrival for arrival in records.arrivals if arrival.seq <= cursor.seq]
    for start in range(0, len(arrivals) + BATCH, BATCH):
        batch = arrivals[start : start + BATCH]
        judgement = memory.run(batch, until_us=None if batch else cursor.judged_us, outages=outages)
        said.firings += judgement.firings
        said.decisions += judgement.decisions
    said.states |= {key: _view(memory.judge, key, state) for key, state in memory.states.items()}
    for key, blob in records.states.get(cursor.shard, {}).items():
        state = memory.judge.decode(key, blob)
        if state is not None:
            said.stored[key] = _view(memory.judge, key, state)


def _view(judge: Judge, key: str, state: State) -> View:
    return state.wake_us, judge.describe(key, state)


def by_model(records: Records, times: Times, definitions: Path) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Return for each automation what the model says and what the server said.

    All automations here have the id as their key, so the histories of different ids are judged apart.
    """
    histories: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in records.arrivals:
        if arrival.event.source != "tocsin":
            histories[arrival.event.resource["id"]].append(arrival)
    fired: dict[str, list[Firing]] = defaultdict(list)
    for firing in records.firings:
        fired[firing.automation].append(firing)
    gaps = [(from_micros(start), from_micros(end)) for start, end in records.outages]
    for automation in yaml.safe_load(definitions.read_text())["automations"]:
        name, said = automation["name"], []
        version, _ = records.versions[name]
        for arrivals in histories.values():
            said += model(
                automation["trigger"],
                [_raw(arrival) for arrival in arrivals],
                from_micros(version.armed_us),
                until=from_micros(_judged_us(records, version.shard)),
                lateness=timedelta(microseconds=times.lateness_us),
                outages=gaps,
                settle=timedelta(microseconds=times.settle_us),
            )
        yield name, comparable(said), _rows(fired[name], records)


def _judged_us(records: Records, shard: int) -> Micros:
    """Return up to when a shard has judged: what came at the last moment of the log is judged, silence at it is not."""
    cursor = records.cursors[shard]
    received = [arrival.received_us for arrival in records.arrivals if arrival.seq <= cursor.seq]
    return max(cursor.judged_us, received[-1] if received else 0)


def _raw(arrival: Arrival) -> dict[str, Any]:
    return {**arrival.event.model_dump(mode="json"), "received": from_micros(arrival.received_us)}


def _rows(firings: list[Firing], records: Records) -> list[Row]:
    """Return firings as the model's are compared; an event that is lost is called after its place."""
    ids = {arrival.seq: str(arrival.event.id) for arrival in records.arrivals}
    return [
        (str(iso(firing.at_us)), str(firing.verdict), tuple(sorted(firing.labels.items())),
         tuple(sorted(ids.get(seq, f"lost {seq}") for seq in firing.events)), iso(firing.due_us))
        for firing in firings
    ]  # fmt: skip

"""The judge alone: no storing, no HTTP, one core."""

from __future__ import annotations

import gc
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from benchmarks.effort import Effort, middle, span
from benchmarks.reference import parsing
from benchmarks.samples import BATCH, counting, jobs
from benchmarks.sampling import Profiler
from benchmarks.table import Row
from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.triggers.judge import Armed, Judge, State

AUTOMATIONS = 1_000
EVENTS = 20_000

TARGETS = {"no match": 100_000, "each touches a window": 40_000}
BOUNDS = {
    "no match": "Bound by the index's look-ups, two dictionaries for each event",
    "each touches a window": "Bound by what is made for each: a state's key, its step, and a decision that explains it",
}


async def judging(effort: Effort, profiler: Profiler) -> list[Row]:
    """Arrivals through the pure judge: those that concern nobody, and those that each count for one of 1,000 keys."""
    specs = [TypeAdapter(Automation).validate_python(one) for one in counting(AUTOMATIONS)]
    judge = Judge([Armed(name=one.name, trigger=one.trigger, armed_us=0, armed_seq=0) for one in specs])
    count = effort.many(EVENTS)
    events = list(itertools.islice(jobs(AUTOMATIONS), count * 5))
    nobody = [event for place, event in enumerate(events) if place % 5][:count]
    somebody = [event for place, event in enumerate(events) if place % 5 == 0]
    gc.collect()
    gc.freeze()
    rows = []
    for name, some in (("no match", nobody), ("each touches a window", somebody)):
        arrivals = _arrivals(some)
        bodies = [json.dumps(event).encode() for event in some]
        known = {f"job/{number}": number for number in range(AUTOMATIONS)}
        ours, theirs = [], []
        for _ in range(effort.rounds):
            ours.append(_judged(judge, arrivals))
            theirs.append(parsing(bodies, known))
        note = "1,000 automations, batches of 500, one core; reference: parse JSON and look up a label"
        rows.append(Row(f"judge alone, {name}", middle(ours), "events/s", middle(theirs), note, TARGETS[name],
                        BOUNDS[name], span(ours)))  # fmt: skip
    gc.unfreeze()
    return rows


def _arrivals(events: list[dict[str, Any]]) -> list[Arrival]:
    now_us = time.time_ns() // 1000
    return [
        arrival(Event.model_validate_json(json.dumps(event)), seq=place, received_us=now_us + place)
        for place, event in enumerate(events, 1)
    ]


def _judged(judge: Judge, arrivals: list[Arrival]) -> float:
    """Judge in batches from an empty memory; return events a second."""
    kept: dict[str, State | None] = {}
    began_s = time.perf_counter()
    for first in range(0, len(arrivals), BATCH):
        part = arrivals[first : first + BATCH]
        asked = judge.run(part, until_us=part[-1].received_us)
        try:
            wanted = next(asked)
            while True:
                wanted = asked.send(_states(kept, wanted))
        except StopIteration as judged:
            kept |= judged.value.changed
    return len(arrivals) / (time.perf_counter() - began_s)


def _states(kept: Mapping[str, State | None], wanted: frozenset[str]) -> dict[str, State | None]:
    return {key: kept.get(key) for key in wanted}

"""How many events a second the index matches, with 10, 1,000 and 100,000 automations in four mixes.

The reference is a loop that parses the same event from JSON and looks one of its labels up in a dictionary of as many
entries: about the least that any engine must do. Rounds of the index and of the reference alternate, and the median
of each is taken. Parsing is in the reference only, so a share is no speed-up: it says that matching costs that small
a part of what reading the event costs. One core, garbage frozen as the shell does it.

    python -m benchmarks.matching
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.table import Row, text
from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.index import Index

SIZES = (10, 1_000, 100_000)
EVENTS = 1_000
ROUNDS = 9
HIT_EVERY = 50


@dataclass(frozen=True, slots=True)
class Mix:
    """A way to write many triggers, and the event that the trigger of that number matches."""

    name: str
    trigger: Callable[[int], EventTrigger]
    event: Callable[[int], Event]


def _event(name: str, number: int) -> Event:
    labels = {"id": f"job/{number}", "env": "prod", "team": f"team-{number}", "region": "eu-central"}
    return Event(event=name, resource=labels, payload={"attempt": 1})


MIXES = (
    Mix(
        "distinct resource ids",
        lambda n: EventTrigger(expect="job.failed", match={"id": f"job/{n}"}, for_each=["id"]),
        lambda n: _event("job.failed", n),
    ),
    Mix(
        "distinct names",
        lambda n: EventTrigger(expect=f"job-{n}.failed", match={"env": "prod"}, for_each=["id"]),
        lambda n: _event(f"job-{n}.failed", n),
    ),
    Mix(
        "shared prefix globs",
        lambda n: EventTrigger(expect=f"team.t{n}.*", for_each=["id"]),
        lambda n: _event(f"team.t{n}.failed", n),
    ),
    Mix(
        "label conjunctions with exclusions",
        lambda n: EventTrigger(
            expect="job.*", match={"team": f"team-{n}", "region": ["eu*", "!eu-test", "!*-old"], "id": "job/*"}
        ),
        lambda n: _event("job.failed", n),
    ),
)  # fmt: skip


def run(sizes: Sequence[int] = SIZES) -> list[Row]:
    """Measure every mix at every size."""
    rows = []
    for mix in MIXES:
        for size in sizes:
            rows += _measure(mix, size)
    return rows


def _measure(mix: Mix, size: int) -> list[Row]:
    # Not random per run: each size sees the same events in the same order.
    dice = random.Random(size)
    triggers = {f"automation-{number}": mix.trigger(number) for number in range(size)}
    arrivals = [_arrival(mix, dice.randrange(size), hit=place % HIT_EVERY == 0) for place in range(EVENTS)]
    bodies = [one.event.model_dump_json() for one in arrivals]
    known = {f"job/{number}": number for number in range(size)}
    began = time.perf_counter()
    index = Index().replace(triggers)
    built_s = time.perf_counter() - began
    gc.collect()
    gc.freeze()

    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(lambda: [index.match(one) for one in arrivals]))
        theirs.append(_seconds(lambda: [known.get(json.loads(body)["resource"]["id"]) for body in bodies]))
    gc.unfreeze()
    name = f"{mix.name}, {size:,}"
    note = f"1 in {HIT_EVERY} matches; built in {built_s * 1000:,.0f} ms"
    rows = [Row(name, EVENTS / statistics.median(ours), "events/s", EVENTS / statistics.median(theirs), note)]
    if size == max(SIZES):
        changed_s = statistics.median(_seconds(lambda: index.replace({"new": mix.trigger(1)})) for _ in range(ROUNDS))
        rows.append(Row(f"{name}: replace one", changed_s * 1000, "ms"))
        rows.append(Row(f"{name}: memory", _memory_mb(triggers), "MB", note="beside the definitions"))
    return rows


def _arrival(mix: Mix, number: int, *, hit: bool) -> Arrival:
    return arrival(mix.event(number if hit else -1 - number), seq=1, received_us=1)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _memory_mb(triggers: dict[str, EventTrigger]) -> float:
    tracemalloc.start()
    index = Index().replace(triggers)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(index) == len(triggers)
    return held / 1e6


if __name__ == "__main__":
    print(text(run()))

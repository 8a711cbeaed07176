"""Events a second through a whole server, as there are more and more automations, written in four ways."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from benchmarks.effort import Effort, alternate, middle, span
from benchmarks.matching import MIXES, SIZES, Mix
from benchmarks.samples import BATCH, TOUCH_EVERY, batches, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.table import Row
from benchmarks.traffic import flood

SENDERS = 4
HELD = 0.8
"""With so many times more automations, at least so large a part of the events is to be judged."""

BOUND = (
    "Bound as the row `batches` is: an event costs what the automations cost that it matches, however many there are"
)


async def mixes(effort: Effort, profiler: Profiler) -> list[Row]:
    """Each way of writing triggers with 10, 1,000 and 100,000 automations."""
    return [row for mix in MIXES for row in await _measured(effort, profiler, mix)]


async def _measured(effort: Effort, profiler: Profiler, mix: Mix) -> list[Row]:
    sizes = dict.fromkeys(size if size <= min(SIZES) else effort.many(size) for size in SIZES)
    async with AsyncExitStack() as stack:
        measurements, servers = {}, {}
        used: dict[int, list[float]] = {size: [] for size in sizes}
        for size in sizes:
            home = effort.folder / f"{mix.name.replace(' ', '-')}-{size}"
            home.mkdir()
            definitions = written(home, automations=[_automation(mix, number) for number in range(size)])
            servers[size] = await stack.enter_async_context(serving(home, definitions))
            measurements[str(size)] = partial(_flooded, effort, servers[size], mix, used[size])
            await measurements[str(size)]()
        with profiler.watching(servers[size].pid):
            found = await alternate(effort, measurements)
        memory = {size: server.rss_mb() for size, server in servers.items()}
    few, few_us = found[str(min(sizes))], used[min(sizes)][1:]
    rows = []
    for size in sizes:
        rates = found[str(size)]
        note = f"batches of {BATCH}, 1 event in {TOUCH_EVERY} counts for one of ten automations; {memory[size]:,.0f} MB"
        target = None if size == min(sizes) else HELD * middle(few)
        rows.append(Row(f"{mix.name}, {size:,} automations", middle(rates), "events/s", middle(few), note, target,
                        BOUND, span(rates)))  # fmt: skip
        rows.append(Row(f"{mix.name}, {size:,} automations: processor time", middle(used[size][1:]), "us/event",
                        middle(few_us), "what the server used, whatever else the machine did", None, BOUND,
                        span(used[size][1:])))  # fmt: skip
    return rows


def _automation(mix: Mix, number: int) -> dict[str, Any]:
    """Return an automation that counts what the mix's trigger of that number matches."""
    trigger = mix.trigger(number).model_dump(mode="json", exclude_defaults=True)
    counted = {"type": "event", **trigger, "threshold": 3, "within": "10m"}
    return {"name": f"automation-{number}", "trigger": counted, "actions": [{"type": "log"}]}


async def _flooded(effort: Effort, server: Server, mix: Mix, used_us: list[float]) -> float:
    """Return events a second, and note the processor time that an event took."""
    count = max(10, int(effort.round_s * 50_000 / BATCH))
    requests = iter(list(itertools.islice(batches(_events(mix, time.time_ns())), count)))
    before_s, began_s = server.cpu_s(), time.perf_counter()
    rate = BATCH * await flood(server, requests, connections=SENDERS, for_s=effort.round_s)
    events = rate * (time.perf_counter() - began_s)
    used_us.append(1e6 * (server.cpu_s() - before_s) / events)
    return rate


def _events(mix: Mix, seed: int) -> Iterator[dict[str, Any]]:
    """Return endless events: one in five is for one of the first ten automations, the others are nobody's."""
    dice = random.Random(seed)
    known = [_written(mix, number) for number in range(min(SIZES))]
    strange = [_written(mix, -1 - number) for number in range(5_000)]
    for place in itertools.count():
        yield dice.choice(known if place % TOUCH_EVERY == 0 else strange)


def _written(mix: Mix, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mix.event(number).model_dump_json(include={"event", "resource", "payload"}))
    return found

"""How long after a deadline the alert about it arrives."""

from __future__ import annotations

import itertools
import json
import random
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.acting import Heard
from benchmarks.effort import Effort, at
from benchmarks.samples import calling, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.table import Row
from benchmarks.traffic import flood, post, sink

ARMED = 100_000
DUE = 1_000
CROWD = 10_000
WITHIN_S = 3_600
BOUND = (
    "Bound by the way of the alert, as other actions are, while they are no more than the server can perform; beyond,"
    " by how many actions it performs a second"
)
SPREAD_S = 10
"""What is due is spread over so many seconds."""


async def deadlines(effort: Effort, profiler: Profiler) -> list[Row]:
    """Deadlines of some keys among very many that are armed, and of a crowd of keys."""
    rows = []
    for name, armed, due in (
        ("100,000 keys armed, 100 due a second", effort.many(ARMED), effort.many(DUE)),
        ("10,000 keys due within 10 s", 0, effort.many(CROWD)),
    ):
        found = await _measured(effort, profiler, armed=armed, due=due)
        note = f"{armed + due:,} keys, {due:,} of them due within {SPREAD_S} s; all {len(found):,} alerts arrived"
        for part, target in ((0.5, 50.0), (0.99, 250.0)):
            rows.append(Row(f"deadline to alert, {name}, p{part * 100:.0f}", at(found, part), "ms", None, note,
                            target, BOUND, (at(found, 0.5), max(found))))  # fmt: skip
    found = await _measured(effort, profiler, armed=0, due=effort.many(CROWD), spread_s=0)
    note = f"{len(found):,} keys due in one moment; the last of their alerts"
    rows.append(Row("10,000 keys due at once, to the last alert", max(found) / 1000, "s", None, note, 10, BOUND))
    return rows


async def _measured(
    effort: Effort, profiler: Profiler, *, armed: int, due: int, spread_s: float = SPREAD_S
) -> list[float]:
    heard = Heard()
    trigger = {"type": "absence", "expect": "host.heartbeat", "for_each": ["id"], "within": f"{WITHIN_S}s",
               "lateness": "0s"}  # fmt: skip
    async with sink(heard) as port:
        home = effort.folder / f"silence-{port}"
        home.mkdir()
        automation = calling("silent", trigger, port, body="{{ labels.id }}")
        async with serving(home, written(home, automations=[automation])) as server:
            await beat(server, {f"armed/{number}": time.time() for number in range(armed)})
            first_s = time.time() + 5 + due / 5_000
            dice = random.Random(1)
            due_s = {f"due/{number}": first_s + dice.random() * spread_s for number in range(due)}
            await beat(server, {key: moment_s - WITHIN_S for key, moment_s in due_s.items()})
            with profiler.watching(server.pid):
                await heard.until(lambda known: len(known) >= due)
    return [(heard.at_s[key.encode()] - moment_s) * 1000 for key, moment_s in due_s.items()]


async def beat(server: Server, at_s: dict[str, float]) -> None:
    """Send a heartbeat of each key with the time at which it happened."""
    events = (heartbeat(key, moment_s) for key, moment_s in at_s.items())
    parts = iter(lambda: list(itertools.islice(events, 500)), [])
    requests = (post("/api/events", json.dumps(part).encode()) for part in parts)
    await flood(server, requests, connections=4, for_s=600)


def heartbeat(key: str, at_s: float) -> dict[str, Any]:
    """Return the heartbeat of a key."""
    return {
        "event": "host.heartbeat",
        "resource": {"id": key},
        "occurred": datetime.fromtimestamp(at_s, UTC).isoformat(),
    }

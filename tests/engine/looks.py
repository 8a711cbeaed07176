"""Looks at a database, made up for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tocsin.schemas.moments import SECOND
from tocsin.store.leases import Held
from tocsin.store.processes import Process
from tocsin.store.vitals import Vitals

NOW = 1_800_000_000 * SECOND
ALL = ("api", "recorder", "evaluator", "dispatcher", "worker")


def process(name: str = "a", *roles: str, version: str = "1.0.0", bus: str | None = None) -> Process:
    return Process(f"host:{name}", roles or ALL, "host", 1, version, bus, NOW - SECOND, NOW)


WELL = Vitals(
    at_us=NOW, seq=100, received_us=NOW, outages=0, last_outage=None,
    shards=tuple(Held(number, "host:a", 100, NOW) for number in range(4)), unjudged_us=None, next_us=None, due_us=None,
    intents={"waiting": 0, "running": 0, "dead": 0}, open_misses=0, runs={"pending": 0, "claimed": 0, "running": 0},
    paused=(), processes=(process(),), refusals=0, size_bytes=5 << 20,
)  # fmt: skip
"""Nothing is wrong."""


def look(**more: Any) -> Vitals:
    """Return a look at which all is well but for this."""
    return replace(WELL, **more)


def behind(seconds: int, *, free: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return what differs when shards are late; those that are free are nobody's."""
    judged_us = NOW - seconds * SECOND
    late = free or tuple(range(4))
    shards = tuple(
        Held(number, None if number in free else "host:a", *((50, judged_us) if number in late else (100, NOW)))
        for number in range(4)
    )
    return {"shards": shards, "unjudged_us": judged_us}

"""What is done to a process from inside: windows, deaths at chosen points, a wrong clock, and safeties taken away.

Everything is inflicted before the server begins, by replacing what it calls. A harm is a name with a number:

    seed            what chooses the waits
    windows         the longest wait at a commit and at an acknowledgement, in milliseconds
    die:POINT       the process is killed the so-manieth time that it comes to this point
    halt:POINT      it stands still the so-manieth time, for `halt_s` seconds
    control:NAME    a safety is taken away (its number says nothing)
"""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Mapping
from functools import wraps
from itertools import count
from pathlib import Path
from random import Random
from time import sleep
from types import ModuleType
from typing import Any

from redis.asyncio import Redis

from tests.crash.child import FAULTS, at_commit, before
from tests.faults import controls
from tocsin import app, clock
from tocsin.engine import dispatcher, shards
from tocsin.engine.bus import intake, opening
from tocsin.engine.bus.claims import Claims
from tocsin.engine.bus.intake import Intake
from tocsin.engine.bus.publisher import Publisher
from tocsin.schemas.moments import SECOND
from tocsin.store import intents, leases, processes
from tocsin.store.writer import Writer

SKEW = "TOCSIN_FAULTS_SKEW"
"""The file that says by how many microseconds the process's clock is wrong, as eight bytes."""

LEASE_S = 2.0
"""How long a claim of an intent lasts here."""

SHARD_LEASE_S = 2.0
BEAT_S = 0.3

OFTEN = 0.15
"""How often a window is opened."""

POINTS: dict[str, Callable[[Callable[[], None]], None]] = {
    **FAULTS,
    "before-acknowledgement": lambda act: before(Redis, "xack", act),
    "before-recording": lambda act: before(Intake, "_append", act),
    "before-turn": lambda act: before(Claims, "turn", act),
    "before-publishing": lambda act: before(Publisher, "_round", act),
}
"""The points at which a process dies or stands still."""

_OFFSET = struct.Struct("<q")


def inflict(harms: Mapping[str, float]) -> None:
    """Do all of this to the process."""
    hasten()
    if path := os.environ.pop(SKEW, ""):
        skew(Path(path))
    random = Random(harms.get("seed", 0))
    if longest_ms := harms.get("windows", 0):
        widen(random, longest_ms / 1000)
    for name, number in harms.items():
        kind, _, what = name.partition(":")
        if kind == "die":
            at(what, round(number), lambda: os.kill(os.getpid(), signal.SIGKILL))
        elif kind == "halt":
            at(what, round(number), lambda: halt(harms["halt_s"]))
        elif kind == "control":
            controls.CONTROLS[what]()


def hasten() -> None:
    """Make leases short, so that many end within an ordeal."""
    lease_us = round(LEASE_S * SECOND)
    for claiming in (intents.add, intents.claim, intents.adopt, intents.renew):
        assert claiming.__kwdefaults__ is not None
        claiming.__kwdefaults__["lease_us"] = lease_us
    replace({"LEASE_US": lease_us}, dispatcher, intents)
    replace({"LEASE_US": round(SHARD_LEASE_S * SECOND), "_TEND_S": SHARD_LEASE_S / 5}, leases, shards)
    replace({"BEAT_S": BEAT_S}, app, processes)
    assert Intake.__init__.__kwdefaults__ is not None
    Intake.__init__.__kwdefaults__["claim_after_s"] = LEASE_S
    replace({"TEND_EVERY_S": LEASE_S / 4}, intake)
    opening.shown = lambda settings: settings.bus and "one"  # each process has a way of its own to the same bus


def replace(values: Mapping[str, object], *modules: ModuleType) -> None:
    """Give constants of modules other values, those that a module has."""
    for name, value in values.items():
        assert any(hasattr(module, name) for module in modules)
        for module in modules:
            if hasattr(module, name):
                setattr(module, name, value)


def at(point: str, after: int, act: Callable[[], None]) -> None:
    """Act the `after`-th time that the process comes to a point."""
    times = count(1)

    def come() -> None:
        if next(times) == after:
            act()

    POINTS[point](come)


def halt(length_s: float) -> None:
    """Stand still, all threads; somebody else has to say when to go on."""
    subprocess.Popen(["/bin/sh", "-c", f"sleep {length_s}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


# Windows


def widen(random: Random, longest_s: float) -> None:
    """Wait now and then before and after commits and acknowledgements."""

    def wait() -> None:
        if random.random() < OFTEN:
            sleep(random.random() * longest_s)

    at_commit(lambda _: wait())
    before(Writer, "_answer", wait)
    _widen_acknowledgements(random, longest_s)


def _widen_acknowledgements(random: Random, longest_s: float) -> None:
    original = Redis.xack

    @wraps(original)
    async def xack(*args: Any, **kwargs: Any) -> Any:
        for place in ("before", "after"):
            if random.random() < OFTEN:
                await asyncio.sleep(random.random() * longest_s)
            if place == "before":
                answer = await original(*args, **kwargs)
        return answer

    Redis.xack = xack  # type: ignore[assignment]


# The clock


def skew(path: Path) -> None:
    """Have the clock of the process be wrong by what a file says, from moment to moment."""
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size)
    original = clock.SystemClock.now_us

    def now_us(self: clock.SystemClock) -> int:
        return original(self) + int(_OFFSET.unpack(shared[: _OFFSET.size])[0])

    clock.SystemClock.now_us = now_us  # type: ignore[method-assign]


def set_skew(path: Path, offset_us: int) -> None:
    """Say by how much a clock is wrong; called by the harness."""
    with path.open("wb" if not path.exists() else "r+b") as file:
        file.write(_OFFSET.pack(offset_us))

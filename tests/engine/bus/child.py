"""A recorder in a process of its own, whose windows around commit and acknowledgement are wide, to be killed in them.

python -m tests.engine.bus.child REDIS STREAM DATABASE CLAIM_AFTER_S [acknowledge-first]
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Sequence
from random import Random
from threading import Event
from typing import Any

from tocsin.clock import SystemClock
from tocsin.engine.bus import intake as module
from tocsin.engine.bus.address import address_of
from tocsin.engine.bus.appending import record
from tocsin.engine.bus.claims import Claims
from tocsin.engine.bus.hands import Delivered
from tocsin.engine.bus.intake import Intake, Name
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.store.database import Database
from tocsin.store.writer import Writer

WIDE_S = 0.05


async def main() -> None:
    """Record until somebody kills this."""
    url, stream, database, claim_after_s, *safety = sys.argv[1:]
    widen(Random(os.getpid()), acknowledge_first="acknowledge-first" in safety)
    writer = Writer(Database(database), SystemClock(), receives=False)
    writer.start()
    name = Name(stream, uuid.uuid4().hex)
    intake = Intake(
        address_of(url), writer, name=name, parser=NativeParser(Limits()), claim_after_s=float(claim_after_s)
    )
    await intake.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await intake.failure


def widen(random: Random, *, acknowledge_first: bool) -> None:
    """Wait before each commit and before each acknowledgement; or take away the safety of their order."""
    original = Claims.acknowledge
    pause = Event()

    def recorded(entries: Sequence[Any], **more: Any) -> Any:
        done = record(entries, **more)
        pause.wait(random.random() * WIDE_S)
        return done

    async def acknowledge(self: Claims, done: Sequence[Delivered]) -> None:
        await asyncio.sleep(random.random() * WIDE_S)
        await original(self, done)

    module.record = recorded  # type: ignore[attr-defined]
    Claims.acknowledge = acknowledge  # type: ignore[method-assign]
    if acknowledge_first:
        turn = Claims.turn

        async def hasty(self: Claims, **bounds: int) -> list[Delivered]:
            taken = await turn(self, **bounds)
            await original(self, taken)
            return taken

        Claims.turn = hasty  # type: ignore[method-assign]


if __name__ == "__main__":
    asyncio.run(main())

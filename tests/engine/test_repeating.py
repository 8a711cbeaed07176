"""Work beside everything else is done again and again, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tocsin.engine.repeating import Repeating
from tocsin.errors import Unavailable

LONG_S = 1_000.0


class Work:
    """Counts how often it is done, and fails as it is told."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.done = asyncio.Semaphore(0)
        self.failing: BaseException | None = None

    async def __call__(self) -> None:
        self.done.release()
        if self.failing is not None:
            raise self.failing

    async def again(self) -> None:
        """Wait until it was done once more."""
        async with asyncio.timeout(5):
            await self.done.acquire()
        await asyncio.sleep(0)  # what it raised is dealt with


@asynccontextmanager
async def going(work: Work, **options: float) -> AsyncIterator[Repeating]:
    repeating = Repeating(work.__call__, **{"every_s": LONG_S, **options}, trouble="nothing is done")
    repeating.start()
    try:
        yield repeating
    finally:
        await repeating.close()


async def test_it_is_done_at_its_time_and_again() -> None:
    work = Work()
    async with going(work, first_s=0, every_s=0.001):
        for _ in range(3):
            await work.again()


async def test_it_waits_for_its_time_unless_it_is_asked() -> None:
    work = Work()
    async with going(work) as repeating:
        await asyncio.sleep(0)
        assert work.done.locked()
        repeating.soon()
        await work.again()
        assert work.done.locked()


@pytest.mark.parametrize(
    ("error", "traced"), [(lambda: Unavailable("the disk is full"), False), (lambda: ValueError("a mistake"), True)]
)
async def test_no_failure_ends_it_and_each_is_logged(
    error: Callable[[], Exception], traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work()
    work.failing = error()
    with caplog.at_level(logging.WARNING):
        async with going(work, first_s=0) as repeating:
            await work.again()
            repeating.soon()
            await work.again()
    assert [bool(record.exc_info) for record in caplog.records] == [traced, traced]
    assert all(record.getMessage().startswith("nothing is done") for record in caplog.records)


async def test_it_ends_in_the_middle_and_before_it_was_begun() -> None:
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    repeating = Repeating(endless, every_s=LONG_S, first_s=0, trouble="")
    await repeating.close()
    repeating.start()
    await begun.wait()
    async with asyncio.timeout(5):
        await repeating.close()

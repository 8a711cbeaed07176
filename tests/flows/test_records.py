"""Steps that are tried until they are recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.flows.bench import Bench
from tocsin.errors import Overloaded, Unavailable
from tocsin.flows.records import Records
from tocsin.schemas.run import Ending, Run, RunState

DONE = Ending(RunState.COMPLETED, "completed", exit_status=0)


class Refusing:
    """A writer that refuses a number of times."""

    def __init__(self, bench: Bench, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = self.times = times
        self._run = bench.store.writer.run
        monkeypatch.setattr(bench.store.writer, "run", self.run)

    async def run(self, unit: Any) -> Any:
        if self.left:
            self.left -= 1
            raise (Unavailable if self.left % 2 else Overloaded)("the disk is full", retry_after_s=0)
        return await self._run(unit)


@pytest.fixture
def idle(tmp_path: Path) -> Any:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def begun(bench: Bench) -> Run:
    bench.create()
    return bench.store.begin("r1")


async def test_an_end_is_recorded_as_soon_as_something_can_be_written(
    idle: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(idle)
    refusing = Refusing(idle, 5, monkeypatch)
    await idle.worker._records.finish(run, DONE)
    assert refusing.left == 0
    assert idle.run().state is RunState.COMPLETED


async def test_in_a_hurry_what_can_not_be_recorded_is_left_to_the_next_worker(
    idle: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(idle)
    refusing = Refusing(idle, 100, monkeypatch)
    records: Records = idle.worker._records
    records.in_a_hurry = True
    await records.finish(run, DONE)
    assert refusing.times - refusing.left == 3
    assert idle.run().state is RunState.RUNNING


async def test_who_comes_second_records_nothing_and_goes_on(idle: Bench) -> None:
    run = begun(idle)
    await asyncio.gather(*(idle.worker._records.finish(run, DONE) for _ in range(3)))
    assert idle.told() == ["pending", "running", "completed"]


async def test_the_worker_goes_on_when_the_database_was_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.shell("true")
    Refusing(bench, 4, monkeypatch)
    assert (await bench.finished())["state"] == "completed"


async def test_the_worker_goes_on_when_a_look_up_is_broken(bench: Bench) -> None:
    bench.shell("true")
    limits, bench.limits = bench.limits, None  # type: ignore[assignment]
    bench.create()
    await bench.looked()
    assert bench.run().state is RunState.PENDING
    bench.limits = limits
    assert (await bench.ended())["state"] == "completed"

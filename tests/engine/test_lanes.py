"""Lanes: bounded for each target, and never all of the room for the stuck ones."""

from __future__ import annotations

import asyncio

from tests.engine.desk import Hand
from tocsin.engine.lanes import Lanes
from tocsin.schemas.moments import SECOND


class Work:
    """Work that goes on until the test lets it end."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_end = asyncio.Event()

    async def __call__(self, item: str) -> None:
        self.began.append(item)
        await self.may_end.wait()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lane_runs_its_width_at_once_and_the_rest_in_order() -> None:
    work = Work()
    lanes = Lanes(work, Hand())
    for item in "abcde":
        assert lanes.put("t", item, width=2, free=100)
    await turns()
    assert (work.began, lanes.sizes()) == (["a", "b"], {"t": (2, 3)})
    work.may_end.set()
    await turns(20)
    assert (sorted(work.began), lanes.sizes()) == (list("abcde"), {})


async def test_stuck_lanes_share_what_there_is_and_leave_some_for_others() -> None:
    clock = Hand()
    lanes: Lanes[str] = Lanes(Work(), clock)
    capacity, held = 100, 0
    for target in range(20):
        for item in range(capacity - held):
            held += lanes.put(f"stuck {target}", str(item), width=1, free=capacity - held)
            await turns()
        clock.us += 10 * SECOND
        held -= len(lanes.excess(capacity - held))
    assert capacity - held >= capacity / (1 + 20 / 2) - 1
    assert lanes.put("well", "0", width=1, free=capacity - held)
    await lanes.stop(0)


async def test_the_wait_is_judged_by_what_hangs_as_well_as_by_what_ended() -> None:
    work, clock = Work(), Hand()
    lanes = Lanes(work, clock)
    for item in "abcde":
        lanes.put("t", item, width=2, free=100)
    assert lanes.wait_s("t") == lanes.wait_s("unknown") == 0
    await turns()
    clock.us += 10 * SECOND
    assert lanes.wait_s("t") == 10 * 3 / 2
    work.may_end.set()
    await turns(20)


async def test_a_stop_forgets_what_waits_and_cuts_off_what_does_not_end() -> None:
    work = Work()
    lanes = Lanes(work, Hand())
    for item in "abc":
        lanes.put("t", item, width=1, free=100)
    await turns()
    await lanes.stop(0.01)
    assert (work.began, lanes.sizes()) == (["a"], {})

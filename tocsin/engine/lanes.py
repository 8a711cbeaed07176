"""Lanes: one bounded waiting list for each target, so that a sick one delays only itself.

A waiting list may grow to half of the room that is still free, so lanes that are stuck leave room for the others,
however many they are.

Source: dynamic queue length thresholds, Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tocsin.clock import Clock

T = TypeVar("T")

_WEIGHT = 0.2  # of the newest duration in the moving average


@dataclass(slots=True)
class _Lane(Generic[T]):
    width: int
    waiting: deque[T] = field(default_factory=deque)
    running: int = 0
    began_s: dict[object, float] = field(default_factory=dict)
    usual_s: float = 0.0


class Lanes(Generic[T]):
    """Runs `work` on what is put, for each target at most `width` at once. `work` must not raise."""

    def __init__(self, work: Callable[[T], Awaitable[None]], clock: Clock) -> None:
        """Prepare; a lane exists only while something is in it."""
        self._work = work
        self._clock = clock
        self._lanes: dict[str, _Lane[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, target: str, item: T, *, width: int, free: int) -> bool:
        """Take an item, or return False: the lane is full, `free` being the room that all lanes share."""
        lane = self._lanes.get(target)
        if lane is None:
            lane = self._lanes[target] = _Lane(width)
        if lane.running >= lane.width and len(lane.waiting) >= max(1, free // 2):
            return False
        lane.waiting.append(item)
        if lane.running < lane.width:
            lane.running += 1
            task = asyncio.create_task(self._drain(target, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _drain(self, target: str, lane: _Lane[T]) -> None:
        me = object()
        try:
            while lane.waiting:
                item = lane.waiting.popleft()
                lane.began_s[me] = self._clock.monotonic_s()
                await self._work(item)
                took_s = self._clock.monotonic_s() - lane.began_s[me]
                lane.usual_s += _WEIGHT * (took_s - lane.usual_s)
        finally:
            lane.running -= 1
            lane.began_s.pop(me, None)
            if not lane.running and not lane.waiting and self._lanes.get(target) is lane:
                del self._lanes[target]

    def wait_s(self, target: str) -> float:
        """Return how long something put into the lane now would wait, as far as the recent past tells."""
        lane = self._lanes.get(target)
        if lane is None:
            return 0.0
        oldest_s = self._clock.monotonic_s() - min(lane.began_s.values(), default=self._clock.monotonic_s())
        return max(lane.usual_s, oldest_s) * len(lane.waiting) / lane.width

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return (running, waiting) of each lane in use."""
        return {target: (lane.running, len(lane.waiting)) for target, lane in self._lanes.items()}

    async def stop(self, grace_s: float) -> None:
        """Forget what waits, let what runs go on for `grace_s` seconds, and cancel what is left then."""
        for lane in self._lanes.values():
            lane.waiting.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

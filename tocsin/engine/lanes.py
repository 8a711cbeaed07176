"""Lanes: one bounded waiting list for each target, so that a sick one delays only itself.

A lane that would be through in five seconds takes what comes. A slower one may hold half as much as there is room free,
and gives back what it has beyond when room becomes scarce: stuck lanes share what there is and leave some for others.

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

_QUICK_S = 5.0
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
        if lane.running + len(lane.waiting) >= max(1, free // 2) and self._wait_s(lane) >= _QUICK_S:
            return False
        lane.waiting.append(item)
        if lane.running < lane.width:
            lane.running += 1
            task = asyncio.create_task(self._drain(target, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    def excess(self, free: int) -> list[T]:
        """Take out, from the ends of the lanes, what they may not hold while only `free` room is left."""
        taken: list[T] = []
        slow = [lane for lane in self._lanes.values() if self._wait_s(lane) >= _QUICK_S]
        for lane in sorted(slow, key=lambda lane: len(lane.waiting), reverse=True):
            while lane.waiting and lane.running + len(lane.waiting) > max(1, (free + len(taken)) // 2):
                taken.append(lane.waiting.pop())
        return taken

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
        return 0.0 if lane is None else self._wait_s(lane)

    def _wait_s(self, lane: _Lane[T]) -> float:
        now_s = self._clock.monotonic_s()
        oldest_s = now_s - min(lane.began_s.values(), default=now_s)
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

"""Work that is done again and again beside everything else, and that no failure ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from tocsin.errors import Overloaded, Unavailable

log = logging.getLogger(__name__)


class Repeating:
    """Does `work` every `every_s` seconds, counted from its end, and sooner when asked; in the event loop.

    What it raises is logged behind `trouble`, which says what is not done now, and it is done again at its time: with
    a traceback, unless it is that the store can not be asked now.
    """

    def __init__(
        self, work: Callable[[], Awaitable[object]], *, every_s: float, trouble: str, first_s: float | None = None
    ) -> None:
        """Prepare; the first time is `first_s` seconds after the start, by default `every_s`."""
        self._work = work
        self._every_s = every_s
        self._first_s = every_s if first_s is None else first_s
        self._trouble = trouble
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._repeat(), name=f"repeating {self._work.__qualname__}")

    async def close(self) -> None:
        """Stop, also in the middle of it; what units of the writer have begun is ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def soon(self) -> None:
        """Do it now, or once more when it is being done."""
        self._wanted.set()

    async def _repeat(self) -> None:
        wait_s = self._first_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
            self._wanted.clear()
            wait_s = self._every_s
            try:
                await self._work()
            except (Unavailable, Overloaded) as error:
                log.warning("%s: %s", self._trouble, error)
            except Exception:  # whatever it is: what is not repeated any more would be missed by nobody
                log.exception("%s", self._trouble)

"""A process says that it is there, and what it does, for those who share work with it and those who look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from tocsin.errors import Overloaded, Unavailable
from tocsin.store import processes
from tocsin.store.processes import Process
from tocsin.store.writer import Writer

log = logging.getLogger(__name__)


class Presence:
    """Registers a process, beats while it lives, and takes its leave; in the event loop."""

    def __init__(
        self, writer: Writer, process: Process, *, every_s: float, detail: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Prepare; `detail` is what the process says of itself, at each beat."""
        self._writer = writer
        self._process = process
        self._every_s = every_s
        self._detail = detail
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register, then go on by itself."""
        await self._writer.run(lambda tx: processes.register(tx, self._process))
        self._task = asyncio.create_task(self._beat_forever())

    async def close(self) -> None:
        """Say that the process is gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(Unavailable, Overloaded):
            await self._writer.run(lambda tx: processes.leave(tx, self._process.name))

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            detail = self._detail()
            try:
                await self._writer.run(lambda tx, said=detail: processes.beat(tx, self._process, said))  # type: ignore[misc]
            except (Unavailable, Overloaded) as error:
                log.warning("this process can not say that it is there: %s", error)
            except Exception:
                log.exception("this process can not say that it is there")

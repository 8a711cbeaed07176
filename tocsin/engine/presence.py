"""A process says that it is there, and what it does, for those who share work with it and those who look."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from tocsin.engine.repeating import Repeating
from tocsin.errors import Conflict, Overloaded, Unavailable
from tocsin.store import processes
from tocsin.store.processes import Process
from tocsin.store.writer import Transaction, Writer


class Presence:
    """Registers a process, beats while it lives, and takes its leave; in the event loop."""

    def __init__(
        self, writer: Writer, process: Process, *, every_s: float, detail: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Prepare; `detail` is what the process says of itself, at each beat."""
        self._writer = writer
        self._process = process
        self._detail = detail
        self._beating = Repeating(self._beat, every_s=every_s, trouble="this process can not say that it is there")

    async def start(self) -> None:
        """Register, then go on by itself.

        Raises:
            Conflict: others of this database have another bus, or none.
        """
        await self._writer.run(self._register)
        self._beating.start()

    async def close(self) -> None:
        """Say that the process is gone."""
        await self._beating.close()
        with contextlib.suppress(Unavailable, Overloaded):
            await self._writer.run(lambda tx: processes.leave(tx, self._process.name))

    def _register(self, tx: Transaction) -> None:
        for other in processes.live(tx.connection, since_us=tx.now_us - processes.GONE_AFTER_US):
            if other.bus != self._process.bus:
                theirs, ours = other.bus or "no bus", self._process.bus or "none"
                raise Conflict(
                    f"a process on {other.host} ({', '.join(other.roles)}) uses {theirs}, this one {ours}: all have "
                    "to take events the same way, or silence is judged wrongly: give all the same TOCSIN_BUS, or wait "
                    "until that one is gone"
                )
        processes.register(tx, self._process)

    async def _beat(self) -> None:
        detail = self._detail()
        await self._writer.run(lambda tx: processes.beat(tx, self._process, detail))

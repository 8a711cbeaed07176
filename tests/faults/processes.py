"""The processes of an ordeal: begun, killed, frozen, asked to stop; each life under the same name and address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.lives import PATIENCE_S, ROOT, Stuck
from tests.faults.child import Order

STOP_S = 20.0


@dataclass(eq=False)
class Process:
    """One name under which processes live, one after the other; `status` is how the last of them ended.

    It is `stuck` when it was asked to stop and did not.
    """

    name: str
    roles: tuple[str, ...]
    command: list[str]
    environment: dict[str, str]
    port: int
    log: Path
    pid: int = 0
    status: int | None = None
    frozen: bool = False
    wanted: bool = False
    stuck: bool = False
    surprises: list[int] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alive(self) -> bool:
        """Whether there is a process now."""
        return self.begun.is_set() and not self.ended.is_set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def freeze(self) -> None:
        """Have it stand still."""
        self.frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self.frozen = False
        self.send(signal.SIGCONT)


class Host:
    """The machine that processes run on: one nursery, and the processes by name."""

    def __init__(self, nursery: asyncio.subprocess.Process) -> None:
        """Keep the nursery."""
        self._nursery = nursery
        self._loaded = asyncio.Event()
        self.processes: dict[str, Process] = {}

    async def begin(self, process: Process, harms: dict[str, float]) -> None:
        """Let the next process of this name begin."""
        await self._come(self._loaded, "the nursery")
        assert self._nursery.stdin is not None
        self.processes[process.name] = process
        process.begun.clear()
        process.ended.clear()
        process.frozen, process.status, process.wanted = False, None, True
        order = Order(process.name, process.command, process.environment, str(process.log), harms)
        self._nursery.stdin.write(order.line())
        await self._come(process.begun, process.name)

    async def kill(self, process: Process) -> None:
        """Kill the process, if it is still there."""
        process.wanted = False
        if process.begun.is_set():
            process.send(signal.SIGKILL)
            await self._come(process.ended, process.name)

    async def stop(self, process: Process) -> int | None:
        """Ask the process to end; return its exit status, negative for a signal."""
        process.wanted = False
        process.thaw()
        process.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.ended.wait()
        except TimeoutError:
            process.stuck = True
            await self.kill(process)
        return process.status

    async def clear(self) -> None:
        """Kill whatever is left."""
        await asyncio.gather(*(self.kill(process) for process in self.processes.values()))
        self.processes.clear()

    async def _come(self, event: asyncio.Event, whose: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await event.wait()
        except TimeoutError:
            raise Stuck(f"{whose} did not get on") from None

    async def hear(self) -> None:
        """Take in what the nursery says, to the end."""
        assert self._nursery.stdout is not None
        async for line in self._nursery.stdout:
            match line.decode().split():
                case ["loaded"]:
                    self._loaded.set()
                case ["begun", name, pid]:
                    self.processes[name].pid = int(pid)
                    self.processes[name].begun.set()
                case ["ended", name, status]:
                    process = self.processes[name]
                    process.status = int(status)
                    if process.wanted and int(status) != -signal.SIGKILL:
                        process.surprises.append(int(status))
                    process.ended.set()


@asynccontextmanager
async def host() -> AsyncIterator[Host]:
    """Have processes run here, none of which outlives the context."""
    nursery = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.child", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert nursery.stdin is not None
    made = Host(nursery)
    hearing = asyncio.create_task(made.hear())
    try:
        yield made
    finally:
        with contextlib.suppress(Stuck):
            await made.clear()
        nursery.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            nursery.kill()  # its children go with it, see die_with_parent
        await asyncio.gather(hearing, nursery.wait())

"""The lives of a server: processes over the same home, one after the other, each started, killed and waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import in_folder

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""How long anything may take that is not chosen to last."""

STOP_S = 20.0
FATE_S = 2.5
"""How long a chosen fault may take to happen; then the process is killed all the same."""


@dataclass(frozen=True)
class Home:
    """Where the server lives: definitions, database, and what it said on standard error."""

    folder: Path
    settings: dict[str, str]

    @property
    def database(self) -> str:
        return self.settings.get("TOCSIN_DATABASE") or in_folder(self.folder / "home")

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        own = {"TOCSIN_HOME": str(self.folder / "home"), "TOCSIN_LOG_LEVEL": "warning"}
        return inherited | own | self.settings


@dataclass(frozen=True)
class Doom:
    """How a life ends: at a fault's `after`-th time, or else by a kill from outside.

    That comes `wait_s` after the server began to listen; an `early` one `wait_s` after its start.
    """

    fault: str = "-"
    after: int = 0
    wait_s: float = FATE_S
    early: bool = False
    cheat: str = "-"


class Stuck(Exception):
    """A server neither gets on nor ends."""


class Lives:
    """The process that servers are forked from, and the one server that lives now, if one does."""

    def __init__(self, nursery: asyncio.subprocess.Process, tell: Callable[[str], None]) -> None:
        """Keep them; `tell` is told where a server listens, and "" when it does not any more."""
        self._nursery = nursery
        self._tell = tell
        self._loaded = asyncio.Event()
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self._listening = asyncio.Event()
        self._pid = 0
        self.status = 0
        self._url = ""

    async def begin(self, doom: Doom) -> None:
        """Let the next server begin."""
        await self._come(self._loaded)
        assert self._nursery.stdin is not None
        self._url = ""
        self._begun.clear()
        self._ended.clear()
        self._listening.clear()
        self._nursery.stdin.write(f"{doom.fault} {doom.after} {doom.cheat}\n".encode())
        await self._come(self._begun)

    async def ends(self, within_s: float) -> bool:
        """Return whether the server ends by itself within so many seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def listens(self) -> None:
        """Wait until the server listens, or has ended."""
        await self._come(self._listening)

    async def kill(self) -> bool:
        """Kill the server, if it is still there; return whether it had come to listen."""
        self._signal(signal.SIGKILL)
        await self._come(self._ended)
        return bool(self._url)

    async def stop(self) -> int:
        """Ask the server to end; return its exit status, negative for a signal."""
        self._signal(signal.SIGTERM)
        if not await self.ends(STOP_S):
            await self.kill()
        return self.status

    async def _come(self, event: asyncio.Event) -> None:
        """Wait for what has to come; with an error that says how far it got if it does not."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await event.wait()
        except TimeoutError:
            known = {name.strip("_"): value for name, value in vars(self).items() if name != "_tell"}
            raise Stuck(f"a server did not get on: {known}") from None

    def _signal(self, number: signal.Signals) -> None:
        if self._begun.is_set() and not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    async def hear(self) -> None:
        """Take in what the nursery and its servers say, to the end."""
        assert self._nursery.stdout is not None
        async for line in self._nursery.stdout:
            match line.decode().split():
                case ["loaded"]:
                    self._loaded.set()
                case ["begun", pid]:
                    self._pid = int(pid)
                    self._begun.set()
                case ["ended", status]:
                    self.status = int(status)
                    self._tell("")
                    self._ended.set()
                    self._listening.set()
                case words:
                    self._url = next((word for word in words if word.startswith("http://")), "")
                    self._tell(self._url)
                    self._listening.set()


@asynccontextmanager
async def lives(home: Home, tell: Callable[[str], None]) -> AsyncIterator[Lives]:
    """Have servers live here, none of which outlives the context."""
    command = [sys.executable, "-m", "tests.crash.child", "serve", str(home.folder / "definitions.yaml"), "--port", "0"]
    with home.log.open("ab") as errors:
        nursery = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=home.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    assert nursery.stdin is not None
    made = Lives(nursery, tell)
    hearing = asyncio.create_task(made.hear())
    try:
        yield made
    finally:
        nursery.kill()  # its server goes with it, see die_with_parent
        made._signal(signal.SIGKILL)
        nursery.stdin.close()
        await asyncio.gather(hearing, nursery.wait())

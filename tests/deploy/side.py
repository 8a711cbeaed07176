"""The services of docker-compose.yml as processes of this machine, with the very commands and settings of the file.

What a container has of its own is mapped: addresses, the port, the home, the folder of definitions, and the databases.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.cli.invoke import CLEAN
from tests.deploy.composed import GIVEN, own

PATIENCE_S = 40.0
ORDER = ("api", "recorder", "evaluator", "dispatcher", "worker")
IN_FILE = "/definitions"
PORT_IN_FILE = "8710"


@dataclass
class Service:
    """One process, where it listens, and what it says on standard error."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    url: str = ""

    async def ask(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(self.url + path)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@dataclass
class Side:
    """Processes side by side on one database and one stream."""

    folder: Path
    settings: Mapping[str, str]
    services: dict[str, Service] = field(default_factory=dict)

    async def run(self, name: str) -> tuple[int | None, str]:
        """Run a service that ends by itself; return its exit status and what it said."""
        process = await self._begin(name, self.folder / f"{name}.log")
        async with asyncio.timeout(PATIENCE_S):
            out, _ = await process.communicate()
        return process.returncode, out.decode()

    async def start(self, name: str, *, also: str = "") -> Service:
        """Start a service, `also` under another name, and wait until it listens."""
        named = also or name
        log = self.folder / f"{named}.log"
        service = Service(named, await self._begin(name, log), log)
        self.services[named] = service
        assert service.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            greeting = (await service.process.stdout.readline()).decode()
        assert " listens on http://127.0.0.1:" in greeting, log.read_text()
        service.url = next(word for word in greeting.split() if word.startswith("http://"))
        return service

    async def healthy(self, name: str) -> bool:
        """Run the health check of a service as its container would."""
        compose = own(GIVEN)[name.partition("-")[0]]
        _, _, option, script = compose["healthcheck"]["test"]
        port = self.services[name].url.rpartition(":")[2]
        assert PORT_IN_FILE in script
        check = await asyncio.create_subprocess_exec(
            sys.executable, option, script.replace(PORT_IN_FILE, port), stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE_S):
            return await check.wait() == 0

    async def _begin(self, name: str, log: Path) -> asyncio.subprocess.Process:
        compose = own(GIVEN)[name]
        command = [str(self.folder / "definitions") if word == IN_FILE else word for word in compose["command"]]
        environment = CLEAN | compose["environment"] | dict(self.settings)
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # as in the image
        if "TOCSIN_URL" in compose["environment"]:
            environment["TOCSIN_URL"] = self.services["api"].url
        with log.open("ab") as said:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tocsin", *command, env=environment, cwd=self.folder / "definitions",
                stdout=asyncio.subprocess.PIPE, stderr=said,
            )  # fmt: skip


@asynccontextmanager
async def side_by_side(folder: Path, definitions: str, **settings: str) -> AsyncIterator[Side]:
    """Prepare a folder for services; none of them outlives the context."""
    (folder / "definitions").mkdir()
    (folder / "definitions" / "definitions.yaml").write_text(definitions)
    mapped = {"TOCSIN_HOST": "127.0.0.1", "TOCSIN_PORT": "0", "TOCSIN_HOME": str(folder / "home")}
    side = Side(folder, mapped | settings)
    try:
        yield side
    finally:
        for service in side.services.values():
            with contextlib.suppress(ProcessLookupError):
                service.process.kill()
            await service.process.wait()


async def until(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look until there is something to see, and return it."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if found := await look():
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it did not come to this: {what}") from None

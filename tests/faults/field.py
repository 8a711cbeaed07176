"""The field of an ordeal: processes, what stands between them, and what keeps them alive."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.engine.sink import Sink
from tests.faults.harm import SKEW, set_skew
from tests.faults.plan import Mode, Plan
from tests.faults.processes import Host, Process
from tests.faults.proxy import Proxy, Weather, proxied
from tests.faults.stores import Stores, quiet_port

LOOK_S = 0.05
READY_S = 60.0
BUS_MAX_ENTRIES = 80


@dataclass
class Field:
    """Everything that an ordeal is made of."""

    plan: Plan
    folder: Path
    stores: Stores
    host: Host
    processes: dict[str, Process] = field(default_factory=dict)
    links: dict[tuple[str, str], Proxy] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    chosen: dict[str, Iterator[dict[str, float]]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    restless: bool = True

    @property
    def definitions(self) -> Path:
        """The definitions file."""
        return self.folder / "definitions.yaml"

    @property
    def ran(self) -> Path:
        """The file in which runs leave their ids."""
        return self.folder / "ran"

    @property
    def url(self) -> str:
        """The database, without a detour."""
        return self.stores.postgres.url(self.plan.database)

    @property
    def fronts(self) -> list[str]:
        """The addresses at which events are taken, each by its detour."""
        return [f"http://127.0.0.1:{proxy.port}" for (_, kind), proxy in self.links.items() if kind == "front"]

    def having(self, role: str) -> list[Process]:
        """Return the processes with a role."""
        return [process for process in self.processes.values() if role in process.roles]

    def skew_file(self, name: str) -> Path:
        """Return the file that says by how much a process's clock is wrong."""
        return self.folder / f"{name}.skew"

    async def begin(self, process: Process) -> None:
        """Let a process begin a life, as its plan has it."""
        harms = next(self.chosen[process.name]) if self.restless else self.plan.last_life()
        await self.host.begin(process, harms)

    async def keep_alive(self) -> None:
        """Begin what has ended, as whoever runs such processes does, until cancelled."""
        while True:
            for process in self.processes.values():
                if process.name not in self.down and not process.alive and process.begun.is_set():
                    how = "killed" if process.status == -signal.SIGKILL else f"status {process.status}"
                    self.ends[how] += 1
                    await self.begin(process)
            await asyncio.sleep(LOOK_S)

    def define(self, sink: Sink) -> None:
        """Write the definitions that all processes begin with."""
        text = (Path(__file__).parent / "definitions.yaml").read_text()
        self.definitions.write_text(text.replace("SINK", sink.url).replace("RAN", str(self.ran)))

    async def is_ready(self, process: Process) -> None:
        """Wait until a process takes events, or judges, or whatever it does."""
        async with aiohttp.ClientSession() as http, asyncio.timeout(READY_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"http://127.0.0.1:{process.port}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(LOOK_S)

    async def heal(self) -> None:
        """Let everything be well again: network, servers, processes, each of them in a life without harm."""
        self.restless = False
        for proxy in self.links.values():
            proxy.drop()
            proxy.change(Weather.CLEAR)
        for process in self.processes.values():
            process.thaw()
            if self.plan.random(f"spared {process.name}").random() < 0.5:
                await self.host.kill(process)


def process_names(roles: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a name for each process: its roles and a number."""
    counts: Counter[str] = Counter()
    names = []
    for some in roles:
        kind = "all" if len(some) >= 4 else "-".join(some)
        counts[kind] += 1
        names.append(f"{kind}{counts[kind]}")
    return names


@asynccontextmanager
async def prepared(plan: Plan, folder: Path, stores: Stores, *, host: Host) -> AsyncIterator[Field]:
    """Lay out the field: every process with its detours to the servers; nothing runs yet."""
    made = Field(plan, folder, stores, host)
    async with AsyncExitStack() as stack:
        for name, roles in zip(process_names(plan.roles), plan.roles, strict=True):
            port = quiet_port()
            to_database = await stack.enter_async_context(proxied(stores.postgres.port))
            made.links[name, "database"] = to_database
            environment = {
                **plan.settings, "TOCSIN_HOME": str(folder / name), "TOCSIN_ROLES": ",".join(roles),
                "TOCSIN_DATABASE": stores.postgres.url(plan.database, port=to_database.port),
                SKEW: str(made.skew_file(name)),
            }  # fmt: skip
            if plan.mode is Mode.BUS:
                to_bus = await stack.enter_async_context(proxied(stores.redis.port))
                made.links[name, "bus"] = to_bus
                environment |= {
                    "TOCSIN_BUS": stores.redis.url(port=to_bus.port),
                    "TOCSIN_BUS_MAX_ENTRIES": str(BUS_MAX_ENTRIES),
                }  # fmt: skip
            if "api" in roles:
                made.links[name, "front"] = await stack.enter_async_context(proxied(port))
            set_skew(made.skew_file(name), 0)
            command = ["serve", str(made.definitions), "--port", str(port)]
            log = folder / f"{name}.log"
            made.processes[name] = Process(name, roles, command, environment, port, log)
            made.chosen[name] = plan.lives(name)
        yield made

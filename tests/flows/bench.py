"""A worker over a store in a temporary directory, with real processes and a clock that tests turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.flows.opened import T0, Opened
from tests.servers import in_folder
from tocsin.errors import NotFound
from tocsin.flows.launch import Surroundings
from tocsin.flows.records import Pace
from tocsin.flows.worker import Catalog, Worker
from tocsin.schemas.flow import Flow
from tocsin.schemas.run import ENDED, Run, RunState
from tocsin.schemas.secret import SecretReference

DEADLINE_S = 20.0
PATH = "/usr/local/bin:/usr/bin:/bin"


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until the condition is true and return what it returned."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := condition()):  # noqa: ASYNC110 - much of it is done by other processes
            await asyncio.sleep(0.01)
    return found


class Bench:
    """Flows by name, a store and a worker."""

    def __init__(
        self, path: Path, *, url: str = "", environment: dict[str, str] | None = None, grace_s: float = 5.0
    ) -> None:
        self.path = path
        self.store = Opened(url or in_folder(path))
        self.flows: dict[str, Flow] = {}
        self.limits: dict[str, int] = {}
        self.secrets: dict[str, str] = {}
        self.surroundings = Surroundings(
            home=path,
            folder=path,
            environment={"PATH": PATH} | (environment or {}),
            hidden=lambda: self.secrets,
            secret=self.secret,
            url=lambda: "http://127.0.0.1:8710",
        )
        self.pace = Pace(poll_s=0.05, lease_s=30, grace_s=grace_s)
        self.worker = self.another()

    def another(self) -> Worker:
        catalog = Catalog(self.flows.get, lambda: self.limits)
        store = self.store
        return Worker(
            store.database, store.writer, store.clock, catalog=catalog, surroundings=self.surroundings, pace=self.pace
        )

    def secret(self, reference: SecretReference) -> str:
        return reference.resolve(self.secrets, self._no_file)

    def _no_file(self, path: str) -> str:
        raise NotFound(path)

    def flow(self, name: str = "flow", **spec: Any) -> None:
        self.flows[name] = Flow.model_validate({"name": name} | spec)

    def shell(self, script: str, **spec: Any) -> None:
        self.flow(command=["/bin/sh", "-c", script], **spec)

    def python(self, source: str, **spec: Any) -> None:
        (self.path / "flows.py").write_text(source)
        self.flow(entrypoint="flows.py:flow", **spec)

    def create(self, run_id: str = "r1", **more: Any) -> Run:
        return self.store.create(run_id, **({"flow": "flow"} | more))

    def run(self, run_id: str = "r1") -> Run:
        return self.store.find(run_id)

    def shown(self, run_id: str = "r1") -> dict[str, Any]:
        return self.run(run_id).document()

    def log(self, run_id: str = "r1") -> str:
        return (self.path / "runs" / f"{run_id}.log").read_text()

    async def began(self, run_id: str = "r1") -> None:
        """Wait until the run's process has said so in its log."""
        await until(lambda: self.run(run_id).state is RunState.RUNNING and "begun" in self.log(run_id))

    async def ended(self, run_id: str = "r1") -> dict[str, Any]:
        await until(lambda: self.run(run_id).state in ENDED)
        return self.shown(run_id)

    async def looked(self) -> None:
        """Wait until the worker has looked for work, all of it, at least once from now on."""
        looks: list[None] = []
        limits = self.worker._catalog.limits

        def counting() -> dict[str, int]:
            looks.append(None)
            return limits()

        self.worker._catalog.limits = counting  # type: ignore[method-assign]
        await until(lambda: len(looks) > 1)
        self.worker._catalog.limits = limits  # type: ignore[method-assign]

    async def finished(self, run_id: str = "r1", **more: Any) -> dict[str, Any]:
        """Create a run and wait for its end."""
        self.create(run_id, **more)
        return await self.ended(run_id)

    def told(self) -> list[str]:
        """Return the names of the events of runs, without the prefix."""
        names = [arrival.event.event for arrival in self.store.told()]
        return [name.removeprefix("flow-run.") for name in names if name.startswith("flow-run.")]

    def everything_stored(self) -> str:
        """Return all that the database knows about runs and events, as text."""
        events = [arrival.event.model_dump(mode="json") for arrival in self.store.told()]
        return json.dumps([events, self.shown(), self.run().detail])

    def turn(self, seconds: float) -> None:
        """Turn the clock on from T0."""
        self.store.clock.us = T0 + int(seconds * 1_000_000)

"""A store whose time tests turn by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import MINUTE, SECOND
from tocsin.schemas.run import Ending, Run
from tocsin.store import log, runs
from tocsin.store.database import Database
from tocsin.store.schema import prepare
from tocsin.store.writer import Writer

T0 = 1_750_000_000 * SECOND
LIMITS = {"default": 10}
T = TypeVar("T")


class Hand:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.us = T0

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / SECOND


class Opened:
    """A database, its writer and a clock."""

    def __init__(self, url: str, *, serves: bool = False) -> None:
        self.database = Database(url, serves=serves)
        prepare(self.database)
        self.clock = Hand()
        self.writer = Writer(self.database, self.clock)
        self.writer.start()

    def do(self, verb: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self.writer.submit(lambda tx: verb(tx, *args, **kwargs)).result(timeout=10)

    def read(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self.database.read(query, *args, **kwargs)

    def told(self) -> list[Arrival]:
        return self.read(log.after, 0, limit=1000)

    def create(self, run_id: str, **more: Any) -> Run:
        values = {"flow": "backfill", "queue": "default", "parameters": {}, "run_id": run_id} | more
        return self.do(runs.create, **values)

    def claim(self, owner: str = "a", limits: dict[str, int] | None = None, limit: int = 10) -> list[str]:
        claimed = self.do(runs.claim, owner=owner, limits=limits or LIMITS, limit=limit, lease_us=MINUTE)
        return [run.id for run in claimed]

    def begin(self, run_id: str, owner: str = "a") -> Run:
        self.claim(owner)
        return self.start(run_id)

    def find(self, run_id: str) -> Run:
        run = self.read(runs.find, run_id)
        assert run is not None
        return run

    def start(self, run_id: str) -> Run:
        return self.do(runs.start, self.find(run_id), process="a:1:b/2")

    def finish(self, run_id: str, ending: Ending, *, retry_at_us: int | None = None) -> Run:
        return self.do(runs.finish, self.find(run_id), ending, retry_at_us=retry_at_us)

    def close(self) -> None:
        self.writer.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

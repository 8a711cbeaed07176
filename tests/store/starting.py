"""Servers that start at the same moment on one database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tocsin.store import schema
from tocsin.store.database import Database


def start_at_once(opened: Callable[[], Database], *, count: int) -> list[BaseException]:
    """Have so many prepare a database at once; return what went wrong."""
    together = Barrier(count)

    def prepare() -> None:
        database = opened()
        try:
            together.wait()
            schema.prepare(database)
        finally:
            database.close()

    with ThreadPoolExecutor(count) as pool:
        ends = [pool.submit(prepare) for _ in range(count)]
    return [error for end in ends if (error := end.exception()) is not None]

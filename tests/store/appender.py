"""A process that appends random batches until it is killed: `python -m tests.store.appender URL SEED FIRST`.

Each id that it prints is acknowledged. Half of its ids are those that its siblings use, too.
"""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import Future
from random import Random

from tocsin.clock import SystemClock
from tocsin.schemas.event import Event
from tocsin.store import log
from tocsin.store.database import Database
from tocsin.store.writer import Transaction, Writer

WAITING = 8  # units under way at a time, so that they share commits


def main(url: str, seed: str, first: int) -> None:
    """Append without an end."""
    database = Database(url)
    writer = Writer(database, SystemClock())
    writer.start()
    random, number = Random(seed), first
    waiting: deque[Future[list[str]]] = deque()
    while True:
        ids = []
        for _ in range(random.randint(1, 12)):
            number += 1
            ids.append(f"shared-{number}" if random.random() < 0.5 else f"{seed}-{number}")
        waiting.append(writer.submit(lambda tx, ids=tuple(ids): append(tx, ids)))  # type: ignore[misc]
        if len(waiting) >= WAITING:
            print(*waiting.popleft().result(30), flush=True)  # noqa: T201 - the test listens


def append(tx: Transaction, ids: tuple[str, ...]) -> list[str]:
    """Append events with these ids."""
    return log.append(tx, [log.Draft(Event(event="a", resource={"id": "x"}, id=one)) for one in ids]).ids


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""Two processes append to one log at once, and are killed in the middle of it (laws E1, E2, E3)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.servers import ON_POSTGRES
from tocsin.schemas.event import Arrival
from tocsin.store import log
from tocsin.store.database import Database

ROOT = Path(__file__).parents[2]
LIVES = 3
PATIENCE_S = 60.0


class Appender:
    """A child that appends; its acknowledged ids are collected until it is killed."""

    def __init__(self, url: str, seed: str, first: int) -> None:
        command = [sys.executable, "-m", "tests.store.appender", url, seed, str(first)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.acknowledged: list[str] = []
        self._enough, self._wanted = threading.Event(), 1
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.acknowledged += line.split()
            if len(self.acknowledged) >= self._wanted:
                self._enough.set()
        self._enough.set()

    def has_appended(self, count: int) -> None:
        """Wait until so many more events are acknowledged."""
        self._wanted = len(self.acknowledged) + count
        self._enough.clear()
        assert self._enough.wait(PATIENCE_S)
        assert self.process.poll() is None, "it ended by itself"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Reader(threading.Thread):
    """Polls the log behind the newest place that it has seen, as evaluators do."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._ending = threading.Event()
        self.seen: list[Arrival] = []

    def run(self) -> None:
        while True:
            ending = self._ending.is_set()
            found = self._database.read(log.after, self.seen[-1].seq if self.seen else 0, limit=500)
            self.seen += found
            if ending and not found:
                return

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE_S)


@contextmanager
def reading(database: Database) -> Iterator[Reader]:
    reader = Reader(database)
    reader.start()
    try:
        yield reader
    finally:
        reader.end()


@ON_POSTGRES
def test_e1_e2_places_become_visible_in_order_whoever_appends_and_however_it_ends(url: str) -> None:
    random, database = Random(7), Database(url)
    acknowledged: list[str] = []
    with reading(database) as reader:
        for life in range(LIVES):
            first = life * 2_000  # the ids of the life before come again
            pair = [Appender(url, seed, first) for seed in ("one", "two")]
            try:
                for one in pair:
                    one.has_appended(random.randint(50, 400))
            finally:
                for one in pair:
                    one.kill()
                    acknowledged += one.acknowledged
    whole = database.read(log.after, 0, limit=1_000_000)
    database.close()
    assert [placed.seq for placed in reader.seen] == [placed.seq for placed in whole]
    assert all(before.seq < after.seq for before, after in pairwise(whole))
    assert all(before.received_us <= after.received_us for before, after in pairwise(whole))
    ids = [placed.event.id for placed in whole]
    assert len(set(ids)) == len(ids)
    assert set(acknowledged) <= set(ids)
    by = [placed.event.id.partition("-")[0] for placed in whole if placed.event.id]
    assert {before for before, after in pairwise(by) if before != after} >= {"one", "two"}, "they took no turns"

"""Reference loops: about the least that any engine has to do for the same work."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from tocsin.store.tables import metadata

_EVENT = "INSERT INTO events (seq, received_us, time_us, source, id, event, resource_id, body) VALUES (?,?,?,?,?,?,?,?)"
_IDENTITY = "INSERT INTO identities (id, source, seq) VALUES (?,?,?) ON CONFLICT DO NOTHING"
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=20000", "cache_size=-65536")


class Storing:
    """Parses events and stores their rows in tables like ours, on one connection, a commit for each batch."""

    def __init__(self, path: Path) -> None:
        """Create the tables."""
        engine = create_engine(f"sqlite:///{path}")
        metadata.create_all(engine)
        engine.dispose()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        self._seq = 0

    def store(self, bodies: list[bytes]) -> None:
        """Store the events of one batch, durably."""
        now_us = time.time_ns() // 1000
        first = self._seq + 1
        events = [(seq, json.loads(body), body) for seq, body in enumerate(bodies, first)]
        self._seq += len(bodies)
        rows = [
            (seq, now_us, now_us, "", _id(event, seq), event["event"], event["resource"]["id"], body)
            for seq, event, body in events
        ]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_IDENTITY, [(row[4], "", row[0]) for row in rows])
        self._connection.executemany(_EVENT, rows)
        self._connection.execute("COMMIT")

    def rate(self, batches: Iterator[list[bytes]], *, for_s: float) -> float:
        """Store batches for a while; return events a second."""
        began_s, done = time.perf_counter(), 0
        for batch in batches:
            self.store(batch)
            done += len(batch)
            if time.perf_counter() - began_s >= for_s:
                break
        return done / (time.perf_counter() - began_s)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _id(event: dict[str, Any], seq: int) -> str:
    """Return the event's id, or one that is ordered as those of the server are."""
    return event.get("id") or f"019ab000-0000-7000-8000-{seq:012x}"


def parsing(bodies: list[bytes], known: dict[str, int]) -> float:
    """Parse events and look one label of each up; return events a second."""
    began_s = time.perf_counter()
    for body in bodies:
        known.get(json.loads(body)["resource"]["id"])
    return len(bodies) / (time.perf_counter() - began_s)

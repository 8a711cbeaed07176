"""The server's own events as a recording, for a backtest."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

from tocsin.cli.client import Client
from tocsin.schemas.moments import Micros, iso


@contextmanager
def from_server(since_us: Micros | None, until_us: Micros | None) -> Iterator[Iterable[bytes]]:
    """Return the events received from `since_us` to `until_us` as JSON lines, oldest first.

    The server lists the newest first; what it answers waits in a temporary file, to be read from its end.
    """
    with TemporaryFile() as spool, Client() as client:
        starts = array("Q")
        for event in client.items("/api/events", None, since=iso(since_us), until=iso(until_us)):
            starts.append(spool.tell())
            spool.write(json.dumps(event).encode() + b"\n")

        def oldest_first() -> Iterator[bytes]:
            for start in reversed(starts):
                spool.seek(start)
                yield spool.readline()

        yield oldest_first()

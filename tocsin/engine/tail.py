"""The newest part of the log in memory: it is read once, however many shards this process judges.

What this process appends is handed over after its commit; what others append is read from the store, and kept here for
the next shard that comes to it.
"""

from __future__ import annotations

import threading
from collections import deque

from tocsin.schemas.event import Arrival
from tocsin.store import log
from tocsin.store.writer import Fresh, Transaction

KEPT_EVENTS = 20_000
"""So many events are kept in memory; who is further behind reads the log."""

READ_EVENTS = 4_000
"""So many events are read from the log at once."""


class Tail:
    """Stretches of the log; `hear` is called in any thread, `after` in the thread of the writer that judges."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._parts: deque[Fresh] = deque()
        self._events = 0
        self._lock = threading.Lock()

    def hear(self, fresh: list[Fresh]) -> None:
        """Keep what was appended, and is committed."""
        with self._lock:
            for part in fresh:
                self._keep(part)

    def after(self, tx: Transaction, seq: int, *, to_seq: int, most: int) -> list[Arrival]:
        """Return the arrivals behind one place and up to another, in order: at least one, and about `most`."""
        found = self._known(tx, seq, most=most)
        if not found:
            found = log.after(tx.connection, seq, limit=min(most, READ_EVENTS))
            if found and not tx.fresh:  # or else what is not committed yet might be among it
                with self._lock:
                    self._keep(Fresh(seq, found))
        while found and found[-1].seq > to_seq:
            found = [one for one in found if one.seq <= to_seq]
        return found[:most]

    def passed(self, seq: int) -> None:
        """Forget what is not behind a place: everybody here has judged it."""
        with self._lock:
            while self._parts and self._parts[0].arrivals[-1].seq <= seq:
                self._events -= len(self._parts.popleft().arrivals)

    def _known(self, tx: Transaction, seq: int, *, most: int) -> list[Arrival]:
        """Return what is in memory right behind a place."""
        found: list[Arrival] = []
        place = seq
        with self._lock:
            parts = (*self._parts, *tx.fresh)
        for part in parts:
            if part.arrivals[-1].seq <= place:
                continue
            if part.after_seq > place:
                continue  # what lies between was appended by others, and may be in a part behind this one
            found += [one for one in part.arrivals if one.seq > place] if part.after_seq < place else part.arrivals
            place = found[-1].seq
            if len(found) >= most:
                break
        return found

    def _keep(self, part: Fresh) -> None:
        self._parts.append(part)
        self._events += len(part.arrivals)
        while self._events > KEPT_EVENTS and len(self._parts) > 1:
            self._events -= len(self._parts.popleft().arrivals)

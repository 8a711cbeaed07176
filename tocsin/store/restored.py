"""What a database that was restored from a backup needs before it is served: places that were never used.

The ids of firings, and with them the idempotency keys of actions, are made of the places of events (law F1). What came
behind the backup had places that the restored log would give to other events, and receivers would take the actions on
those for repetitions. So the log goes on behind a gap.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from tocsin.errors import TocsinError
from tocsin.store import locks, log
from tocsin.store.database import Database, unavailable
from tocsin.store.log import Draft
from tocsin.store.schema import NEWEST, oldest_of, version_of
from tocsin.store.tables import head
from tocsin.store.writer import Transaction

GAP = 1_000_000_000
"""The log goes on at the next multiple of this."""


def move_on(database: Database, marker: Callable[[int], Draft]) -> tuple[int, int]:
    """Let the log of a database go on behind a gap; return the newest place before it and the one of the marker.

    `marker` makes the event that tells of it, from the newest place. It is received when the log stands:
    the outage since the backup (law S2) is noted by whoever can receive next.

    Raises:
        TocsinError: there is nothing in the database that could go on.
        HomeInUse: a server runs on it.
        Unavailable: it can not be used.
    """
    try:
        with database.writing.begin() as connection:
            if version_of(connection) is None or not (before := log.newest(connection)).seq:
                raise TocsinError("there are no events in this database: restore the backup first, then say so")
            if not database.is_sqlite:
                versions = range(int(oldest_of(connection)), int(NEWEST) + 1)
                locks.shut_out(connection, versions, because="or else ids are used twice")
            connection.execute(update(head).values(seq=(before.seq // GAP + 1) * GAP))
            tx = Transaction(connection, before.received_us, [], receives=False)
            appended = log.append(tx, [marker(before.seq)])
    except DBAPIError as error:
        raise unavailable(error) from error
    return before.seq, appended.arrivals[0].seq

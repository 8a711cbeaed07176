"""Signals between processes: that there is something to do. PostgreSQL carries them; on SQLite nobody listens.

A signal may be lost with its connection, so whoever waits for one looks by itself from time to time, too.
Source: https://www.postgresql.org/docs/current/sql-notify.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tocsin.store.background import Background
from tocsin.store.database import Database
from tocsin.store.postgres import CHANNEL
from tocsin.store.writer import Signal

log = logging.getLogger(__name__)

_KNOWN = frozenset(Signal)
_LOOK_S = 0.5  # how soon it is noticed that the listener was closed
_AGAIN_S = 1.0


class Listener(Background):
    """A thread that hears what others tell: `heard` is called with it, and with None when it may have missed some."""

    def __init__(self, database: Database, heard: Callable[[Signal | None], None]) -> None:
        """Prepare; the listener has a connection of its own."""
        super().__init__("listener")
        self._database = database
        self._heard = heard

    def _serve(self) -> None:
        from psycopg import Error

        while not self._closing.is_set():
            try:
                self._listen()
            except Error as error:
                if not self._closing.is_set():
                    log.warning("signals of other processes are not heard now: %s", str(error).splitlines()[0])
                    self._closing.wait(_AGAIN_S)

    def _listen(self) -> None:
        connection: Any = self._database.listening()
        try:
            connection.execute(f"LISTEN {CHANNEL}")
            self._heard(None)
            while not self._closing.is_set():
                for notice in connection.notifies(timeout=_LOOK_S):
                    what, _, who = notice.payload.partition(" ")
                    if who != self._database.token and what in _KNOWN:
                        self._heard(Signal(what))
                    if self._closing.is_set():
                        return
        finally:
            connection.close()

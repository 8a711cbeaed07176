"""Moving SQLite's write-ahead log into the database from a thread of its own, so that no commit has to wait for it."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing

from sqlalchemy.exc import DBAPIError

from tocsin.store.background import Background
from tocsin.store.database import Database
from tocsin.store.writer import Writer

log = logging.getLogger(__name__)

EVERY_S = 1.0
COMMITS = 1_000  # so many commits, or a second without any, are reason for a checkpoint


class Checkpointer(Background):
    """The thread that makes passive checkpoints: they neither wait for anybody nor keep anybody waiting."""

    def __init__(self, database: Database, writer: Writer) -> None:
        """Prepare the thread."""
        super().__init__("checkpoints")
        self._database = database
        self._writer = writer

    def _serve(self) -> None:
        done = seen = 0
        while not self._closing.wait(EVERY_S):
            commits = self._writer.commits
            idle, seen = commits == seen, commits
            if commits != done and (idle or commits - done >= COMMITS):
                self._checkpoint()
                done = commits

    def _checkpoint(self) -> None:
        try:
            with closing(self._database.writing.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (DBAPIError, sqlite3.Error) as error:
            log.warning("the write-ahead log could not be moved into the database: %s", error)

"""A disk that is as full as a test wants it to be."""

from __future__ import annotations

from sqlalchemy import Connection, event

from tocsin.store.database import Database

PLENTY = 1_000_000


class Disk:
    """Bounds the pages of a SQLite file, on whatever connection writes to it."""

    def __init__(self, database: Database) -> None:
        self.pages = PLENTY
        event.listen(database.writing, "begin", self._bound)

    def leave(self, pages: int, database: Database) -> None:
        """Leave room for so many more pages."""
        self.pages = pages + database.read(lambda it: it.exec_driver_sql("PRAGMA page_count").scalar_one())

    def make_room(self) -> None:
        self.pages = PLENTY

    def _bound(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={self.pages}")

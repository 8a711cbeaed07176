"""A backup of a SQLite database while a server writes to it.

SQLite's online backup copies the pages of one snapshot (https://www.sqlite.org/backup.html). In one step: it then holds
one read transaction, which in WAL mode neither waits for who writes nor keeps them waiting. The file appears whole and
checked, or not at all.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from tocsin.errors import Conflict, TocsinError, Unavailable
from tocsin.schemas.moments import Micros
from tocsin.store.database import Database, unavailable
from tocsin.store.schema import version_of


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: the log up to a place and a moment, in so many bytes."""

    size: int
    seq: int
    received_us: Micros


def back_up(database: Database, file: Path) -> Backup:
    """Write a SQLite database into a file that is not there yet, while others write to it.

    Raises:
        Conflict: the file is there already.
        TocsinError: it is no tocsin database.
        Unavailable: it can not be read, or the file can not be written.
    """
    assert database.is_sqlite, "PostgreSQL brings its own programs"
    if database.read(version_of) is None:
        raise TocsinError("there is no tocsin database to back up: name the folder of a server by TOCSIN_HOME")
    if file.exists():
        raise Conflict(f"{file} is there already: name a new file, or remove it")
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        _copy(database, part)
        made = _look(part)
        os.link(part, file)  # unlike a rename, it never takes the place of a file
        _sync(file.parent)
    except FileExistsError:
        raise Conflict(f"{file} has come to be there meanwhile: name a new file") from None
    except DBAPIError as error:
        raise unavailable(error) from error
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"the backup was not made: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return made


def _copy(database: Database, part: Path) -> None:
    with closing(database.reading.raw_connection()) as source, closing(sqlite3.connect(part)) as target:
        connection = source.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        connection.backup(target, pages=-1)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log beside it


def _look(part: Path) -> Backup:
    """Check a copy from one end to the other, and say what it holds."""
    with closing(sqlite3.connect(part)) as copied:
        (found,) = copied.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Unavailable(f"the database or its copy is damaged: {found}")
        seq, received_us = copied.execute("SELECT seq, received_us FROM head").fetchone()
    return Backup(part.stat().st_size, seq, received_us)


def _sync(folder: Path) -> None:
    """Have the names in a folder survive a loss of power, too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""A backup of SQLite is one snapshot, made while others write; it takes the place of nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import pytest

from tests.flows.opened import Opened
from tests.servers import in_folder
from tocsin.errors import Conflict, TocsinError, Unavailable
from tocsin.schemas.event import Event
from tocsin.store import backup, log
from tocsin.store.backup import back_up
from tocsin.store.database import Database
from tocsin.store.writer import Transaction


@pytest.fixture
def url(tmp_path: Path) -> str:
    return in_folder(tmp_path)


def appending(number: int) -> Callable[[Transaction], object]:
    """Return a unit that appends two events: a backup has both or neither."""
    pair = [log.Draft(Event(event="a", resource={"id": f"r{number}"}, id=f"{number}-{half}")) for half in "ab"]
    return lambda tx: log.append(tx, pair)


def test_e3_a_backup_under_writes_is_a_prefix_of_the_log_and_whole(store: Opened, tmp_path: Path) -> None:
    stop, begun = Signal(), Signal()

    def write() -> None:
        number = 0
        while not stop.is_set():
            store.do(appending(number))
            number += 1
            if number == 20:
                begun.set()

    writing = Thread(target=write)
    writing.start()
    try:
        assert begun.wait(20)
        made = back_up(store.database, tmp_path / "copy.db")
    finally:
        stop.set()
        writing.join()
    assert made.seq >= 40
    with Opened(f"sqlite:///{tmp_path / 'copy.db'}") as copied:
        ids = [placed.event.id for placed in copied.read(log.after, 0, limit=100_000)]
        assert ids == [f"{number}-{half}" for number in range(made.seq // 2) for half in "ab"]
        assert len(ids) == made.seq
        assert copied.do(appending(0)) == log.Appended([], 2, ["0-a", "0-b"])  # law E2: identities came along


def test_a_backup_is_one_file_with_nothing_beside_it(store: Opened, tmp_path: Path) -> None:
    store.do(appending(1))
    folder = tmp_path / "backups"
    folder.mkdir()
    made = back_up(store.database, folder / "copy.db")
    assert [path.name for path in folder.iterdir()] == ["copy.db"]
    assert made.size == (folder / "copy.db").stat().st_size
    assert (made.seq, made.received_us) == store.read(log.newest)[:2]


def test_a_file_that_is_there_is_left_alone(store: Opened, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("to my mother")
    with pytest.raises(Conflict, match="is there already: name a new file"):
        back_up(store.database, file)
    assert file.read_text() == "to my mother"


def test_a_file_that_comes_to_be_there_meanwhile_is_left_alone(
    store: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, look = tmp_path / "copy.db", backup._look

    def come(part: Path) -> backup.Backup:
        file.write_text("to my mother")
        return look(part)

    monkeypatch.setattr(backup, "_look", come)
    with pytest.raises(Conflict, match="has come to be there meanwhile"):
        back_up(store.database, file)
    assert file.read_text() == "to my mother"
    assert list(tmp_path.glob("*.part")) == []


def test_what_can_not_be_written_leaves_nothing(store: Opened, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the backup was not made: unable to open database file"):
        back_up(store.database, tmp_path / "nowhere" / "copy.db")


def test_a_damaged_database_makes_no_backup(store: Opened, tmp_path: Path) -> None:
    for number in range(200):
        store.do(appending(number))
    store.close()
    path = tmp_path / "tocsin.db"
    with closing(sqlite3.connect(path)) as direct:
        direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page, size = (direct.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    with path.open("r+b") as file:
        file.seek((page - 3) * size)
        file.write(b"\xff" * size * 2)
    database = Database(in_folder(tmp_path))
    try:
        with pytest.raises(Unavailable, match=r"damaged|malformed"):
            back_up(database, tmp_path / "copy.db")
    finally:
        database.close()
    assert not (tmp_path / "copy.db").exists()


def test_an_empty_home_has_nothing_to_back_up(tmp_path: Path) -> None:
    database = Database(in_folder(tmp_path))
    try:
        with pytest.raises(TocsinError, match="there is no tocsin database to back up"):
            back_up(database, tmp_path / "copy.db")
    finally:
        database.close()

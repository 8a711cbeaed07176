"""The writer: groups that share a commit, units that fail alone, a clock that never goes back, a disk that is full."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.flows.opened import T0, Opened
from tests.servers import ON_SQLITE
from tests.store.disk import Disk
from tocsin.errors import Overloaded, Unavailable
from tocsin.schemas.event import Event
from tocsin.schemas.moments import HOUR, SECOND
from tocsin.store import log, writer
from tocsin.store.writer import Fresh, Transaction, Writer


class Broken(Exception):
    """What a faulty unit raises."""


def event(number: int, **more: Any) -> Event:
    return Event.model_validate({"event": "table.updated", "resource": {"id": "a"}, "id": f"e{number}"} | more)


def appending(number: int, **more: Any) -> Callable[[Transaction], int]:
    """Return a unit that appends one event and returns its place."""
    return lambda tx: log.append(tx, [log.Draft(event(number, **more))]).arrivals[0].seq


def failing(tx: Transaction) -> None:
    appending(99)(tx)
    raise Broken


def together(store: Opened, *units: Callable[[Transaction], Any]) -> list[Future[Any]]:
    """Submit units so that they share a group: the writer is held until all of them wait."""
    held, go = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        held.set()
        assert go.wait(10)

    store.writer.submit(hold)
    assert held.wait(10)
    futures = [store.writer.submit(unit) for unit in units]
    go.set()
    return futures


def ids(store: Opened) -> list[str | None]:
    return [arrival.event.id for arrival in store.told()]


def test_units_that_wait_together_share_one_commit(store: Opened) -> None:
    before = store.writer.commits
    futures = together(store, *(appending(number) for number in range(20)))
    assert [future.result(10) for future in futures] == list(range(1, 21))
    assert store.writer.commits == before + 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_unit_that_raises_is_undone_alone(store: Opened, place: int) -> None:
    units: list[Callable[[Transaction], Any]] = [appending(1), appending(2)]
    units.insert(place, failing)
    futures = together(store, *units)
    with pytest.raises(Broken):
        futures.pop(place).result(10)
    assert [future.result(10) for future in futures] == [1, 2]
    assert ids(store) == ["e1", "e2"]


def test_a_unit_that_raises_with_nobody_beside_it_is_undone(store: Opened) -> None:
    with pytest.raises(Broken):
        store.do(failing)
    assert ids(store) == []
    assert store.do(appending(1)) == 1


def test_a_group_that_one_statement_has_broken_is_run_again_one_by_one(store: Opened) -> None:
    runs: list[int] = []

    def counted(tx: Transaction) -> int:
        runs.append(1)
        return appending(1)(tx)

    def wrong(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("SELECT * FROM nowhere")

    good, bad, other = together(store, counted, wrong, appending(2))
    with pytest.raises(Unavailable, match=r"no such table|does not exist"):
        bad.result(10)
    assert (good.result(10), other.result(10)) == (1, 2)
    assert len(runs) == 2
    assert ids(store) == ["e1", "e2"]


def test_callbacks_come_after_the_commit_and_in_order(store: Opened) -> None:
    order: list[str] = []

    def unit(name: str) -> Callable[[Transaction], None]:
        def run(tx: Transaction) -> None:
            tx.after_commit(lambda: order.append(f"{name} {ids(store)}"))
            tx.after_commit(lambda: order.append(f"{name} again"))
            tx.on_rollback(lambda: order.append("never"))
            appending(len(name))(tx)

        return run

    store.writer.on_fresh.append(lambda fresh: order.append(f"fresh {[len(one.arrivals) for one in fresh]}"))
    first, second = together(store, unit("a"), unit("bb"))
    first.add_done_callback(lambda done: order.append("a is answered"))
    second.result(10)
    both = "['e1', 'e2']"
    assert order == [
        f"a {both}", "a again", f"bb {both}", "bb again", "fresh [1, 1]", "a is answered",
    ]  # fmt: skip


def test_who_is_undone_is_told_each_time_and_at_once(store: Opened) -> None:
    told: list[str] = []

    def undone(tx: Transaction) -> None:
        tx.on_rollback(lambda: told.append("undone"))
        raise Broken

    def after(tx: Transaction) -> None:
        told.append("next")
        tx.on_rollback(lambda: told.append("group"))

    def wrong(tx: Transaction) -> None:
        told.append("wrong")
        tx.connection.exec_driver_sql("SELECT * FROM nowhere")

    futures = together(store, undone, after, wrong)
    with pytest.raises(Broken):
        futures[0].result(10)
    futures[1].result(10)
    with pytest.raises(Unavailable):
        futures[2].result(10)
    alone = ["undone", "next", "wrong"]
    assert told == ["undone", "next", "wrong", "group", *alone]


def test_a_callback_that_fails_keeps_nothing_from_going_on(store: Opened) -> None:
    def unit(tx: Transaction) -> int:
        tx.after_commit(lambda: 1 // 0)  # type: ignore[arg-type]
        return appending(1)(tx)

    assert store.do(unit) == 1
    assert store.do(appending(2)) == 2


def test_listeners_hear_of_committed_events_only(store: Opened) -> None:
    heard: list[Fresh] = []
    store.writer.on_fresh.append(heard.extend)
    futures = together(store, appending(1), failing, appending(2))
    futures[2].result(10)
    told = [(one.after_seq, [placed.event.id for placed in one.arrivals]) for one in heard]
    assert told == [
        (0, ["e1"]),
        (1, ["e2"]),
    ]


def test_e1_the_writers_time_never_goes_back_and_catches_up(store: Opened) -> None:
    """The clock steps back an hour: time goes on at half speed until the wall has caught up."""
    assert store.do(lambda tx: tx.now_us) == T0
    wall, steady = store.clock.us, store.clock.us
    moments = []
    monotonic = {"us": steady}
    store.writer._clock = _Split(lambda: wall, lambda: monotonic["us"])
    wall -= HOUR
    for _ in range(3):
        monotonic["us"] += 10 * SECOND
        moments.append(store.do(lambda tx: tx.now_us))
    assert moments == [T0 + 5 * SECOND, T0 + 10 * SECOND, T0 + 15 * SECOND]
    wall = T0 + HOUR
    assert store.do(lambda tx: tx.now_us) == T0 + HOUR


class _Split:
    def __init__(self, wall_us: Callable[[], int], steady_us: Callable[[], int]) -> None:
        self._wall_us, self._steady_us = wall_us, steady_us

    def now_us(self) -> int:
        return self._wall_us()

    def monotonic_s(self) -> float:
        return self._steady_us() / SECOND


def test_e1_a_writer_begins_no_earlier_than_what_the_database_knows(store: Opened) -> None:
    late = Writer(store.database, store.clock, floor_us=T0 + HOUR)
    late.start()
    assert late.submit(lambda tx: tx.now_us).result(10) == T0 + HOUR
    late.close()


def test_close_writes_what_waits_and_takes_no_more(store: Opened) -> None:
    futures = together(store, *(appending(number) for number in range(300)))
    store.writer.close()
    assert [future.result(0) for future in futures] == list(range(1, 301))
    with pytest.raises(Unavailable, match="stopping"):
        store.writer.submit(appending(1000))


def test_too_many_waiting_units_are_refused(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING_UNITS", 3)
    store.writer.close()
    store.writer = Writer(store.database, store.clock)  # not started: everything waits
    waiting = [store.writer.submit(appending(number)) for number in range(3)]
    with pytest.raises(Overloaded, match="too much"):
        store.writer.submit(appending(3))
    store.writer.start()
    assert [future.result(10) for future in waiting] == [1, 2, 3]


# A store that can not write


@ON_SQLITE
def test_e3_while_another_process_holds_the_database_all_that_waits_is_refused_at_once(
    store: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for the time-out of another, nothing is lost, and it goes on when the database is free."""
    store.do(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout=20"))
    held, go = threading.Event(), threading.Event()

    def hold(fresh: list[Fresh]) -> None:
        held.set()
        assert go.wait(10)

    store.writer.on_fresh.append(hold)
    store.writer.submit(appending(1))
    assert held.wait(10)
    with closing(sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [store.writer.submit(appending(number)) for number in (2, 3, 4)]
        go.set()
        for future in futures:
            with pytest.raises(Unavailable, match="another process holds the database"):
                future.result(10)
        assert [record.getMessage()[:34] for record in caplog.records] == ["3 units of work were not stored: a"]
    assert [store.do(appending(number)) for number in (2, 3)] == [2, 3]
    assert ids(store) == ["e1", "e2", "e3"]


@ON_SQLITE
def test_e3_on_a_full_disk_a_request_is_refused_whole_and_small_ones_go_on(store: Opened) -> None:
    disk = Disk(store.database)
    disk.leave(20, store.database)
    small, big, other = together(store, appending(1), _big, appending(2))
    with pytest.raises(Unavailable, match=r"the disk is full .*make room"):
        big.result(10)
    assert (small.result(10), other.result(10)) == (1, 2)
    assert ids(store) == ["e1", "e2"]
    disk.make_room()
    assert len(store.do(_big).arrivals) == 100


def _big(tx: Transaction) -> log.Appended:
    return log.append(tx, [log.Draft(event(1000 + number, payload="x" * 2_000)) for number in range(100)])


def test_the_writer_survives_a_database_that_can_not_be_opened(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store.do(lambda tx: None)
    store.writer._disconnect()

    def gone() -> None:
        raise OSError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(store.database.writing, "connect", gone)
        with pytest.raises(OSError, match="gone"):
            store.do(appending(1))
    assert store.do(appending(1)) == 1


def test_the_follower_runs_behind_what_its_group_has_appended(store: Opened) -> None:
    """Rule 5; a group that has appended nothing has none."""
    seen: list[list[str | None]] = []
    store.writer.follower = lambda tx: seen.append([one.event.id for part in tx.fresh for one in part.arrivals])
    for future in together(store, appending(1), appending(2)):
        future.result(10)
    store.writer.submit(lambda tx: None).result(10)
    assert seen == [["e1", "e2"]]


@pytest.mark.parametrize("error", [Broken(), OperationalError("lost", None, Exception("lost"))])
def test_a_follower_that_fails_does_not_keep_its_group_from_the_commit(store: Opened, error: Exception) -> None:
    """Rule 5, and law E3: who sends is not refused because of what is made of it."""

    def follower(tx: Transaction) -> None:
        appending(9)(tx)
        raise error

    store.writer.follower = follower
    store.writer.submit(appending(1)).result(10)
    assert ids(store) == ["e1"]

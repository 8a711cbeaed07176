"""Processes say that they are there."""

from __future__ import annotations

from tests.flows.opened import Opened
from tocsin.schemas.moments import HOUR, SECOND
from tocsin.store import processes
from tocsin.store.processes import GONE_AFTER_US, Process

ONE = Process("here:1:a", ("api", "worker"), "here", 1, "1.0.0", bus="redis://here:6379/0", detail={"waiting": 3})
TWO = Process("there:2:b", ("evaluator",), "there", 2, "1.0.1")


def alive(store: Opened) -> list[Process]:
    since_us = store.clock.now_us() - GONE_AFTER_US
    return store.database.read(processes.live, since_us=since_us)


def test_a_process_is_there_from_its_start_until_it_leaves(store: Opened) -> None:
    store.do(lambda tx: processes.register(tx, ONE))
    (found,) = alive(store)
    assert (found.name, found.roles, found.pid, found.version) == (ONE.name, ("api", "worker"), 1, "1.0.0")
    assert (found.bus, found.detail) == (ONE.bus, {"waiting": 3})
    assert found.started_us == found.beat_us == store.clock.now_us()
    store.do(lambda tx: processes.leave(tx, ONE.name))
    assert alive(store) == []


def test_a_process_that_beats_stays_and_one_that_was_killed_goes(store: Opened) -> None:
    store.do(lambda tx: processes.register(tx, ONE))
    store.do(lambda tx: processes.register(tx, TWO))
    for _ in range(3):
        store.clock.us += 5 * SECOND
        store.do(lambda tx: processes.beat(tx, TWO, {"lag_s": 0.5}))
    (found,) = alive(store)
    assert (found.name, found.detail) == (TWO.name, {"lag_s": 0.5})
    assert found.beat_us - found.started_us == 15 * SECOND


def test_a_process_whose_row_is_gone_is_back_with_its_next_beat(store: Opened) -> None:
    store.do(lambda tx: processes.beat(tx, ONE, {}))
    assert [one.name for one in alive(store)] == [ONE.name]


def test_rows_of_the_killed_are_dropped_after_a_day(store: Opened) -> None:
    store.do(lambda tx: processes.register(tx, ONE))
    store.clock.us += 25 * HOUR
    store.do(lambda tx: processes.register(tx, TWO))
    assert [one.name for one in store.database.read(processes.live, since_us=0)] == [TWO.name]

"""The log on PostgreSQL lies in partitions by day; reads look in the right ones, and old days go whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from tests.flows.opened import T0, Opened
from tests.servers import ask
from tocsin.schemas.event import Event
from tocsin.schemas.moments import DAY, HOUR, Micros
from tocsin.store import log, partitions, retention
from tocsin.store.partitions import Day
from tocsin.store.writer import Transaction

MIDNIGHT = T0 // DAY * DAY


def appending(*ids: str, times: tuple[Micros, ...] = ()) -> Callable[[Transaction], log.Appended]:
    """Return a unit that appends events, each received at its time, or now."""
    drafts = [
        log.Draft(Event(event="a", resource={"id": "r"}, id=one), received_us=times[place] if times else None)
        for place, one in enumerate(ids)
    ]
    return lambda tx: log.append(tx, drafts)


@pytest.fixture
def parted(empty_postgres: str) -> Any:
    """A store of its own with partitions for T0 and the week behind it: shared ones keep what a test makes."""
    with Opened(empty_postgres) as opened:
        partitions.make_ahead(opened.database, now_us=T0)
        yield opened


def tables_of(store: Opened) -> dict[str, int]:
    """Return how many events lie in which table, without empty ones."""
    query = "SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1 ORDER BY 1"
    return dict(ask(url_of(store), query))


def url_of(store: Opened) -> str:
    return store.database.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_days_are_made_ahead_once(parted: Opened) -> None:
    days = [day for day in parted.read(partitions.days) if day.from_us <= MIDNIGHT + 7 * DAY]
    assert days[0] == Day("events_20250615", MIDNIGHT, MIDNIGHT + DAY)
    assert [day.from_us for day in days] == [MIDNIGHT + number * DAY for number in range(8)]
    assert partitions.make_ahead(parted.database, now_us=T0) == 0
    assert partitions.make_ahead(parted.database, now_us=T0 + DAY) == 2  # the next day's events and decisions


def test_events_lie_in_their_day_and_those_without_one_in_the_rest(parted: Opened) -> None:
    parted.do(appending("a", "b", "c", times=(T0, MIDNIGHT + DAY, MIDNIGHT + 400 * DAY)))
    assert tables_of(parted) == {"events_20250615": 1, "events_20250616": 1, "events_rest": 1}
    assert [placed.seq for placed in parted.told()] == [1, 2, 3]


def test_a_day_of_which_there_is_something_in_the_rest_is_not_made(parted: Opened) -> None:
    parted.do(appending("far", times=(MIDNIGHT + 30 * DAY,)))
    assert partitions.make_ahead(parted.database, now_us=MIDNIGHT + 29 * DAY, days=2) == 2 * 2 + 1  # its decisions
    assert [placed.event.id for placed in parted.told()] == ["far"]


def test_o1_whatever_is_asked_for_by_place_is_found_over_all_days(parted: Opened) -> None:
    """Against a plain list, with days on which nothing came, times of a bus, beats over midnight, and a rest."""
    random = Random(11)
    partitions.make_ahead(parted.database, now_us=T0, days=20)
    told: list[tuple[int, Micros]] = []
    now_us = T0
    for turn in range(60):
        now_us += random.choice((0, HOUR, 7 * HOUR, 30 * HOUR))
        if random.random() < 0.3:
            parted.do(log.advance, now_us)
            continue
        times = tuple(sorted(now_us + random.randrange(2 * DAY) for _ in range(random.randrange(1, 6))))
        made = parted.do(appending(*[f"{turn}-{number}" for number in range(len(times))], times=times))
        told += [(placed.seq, placed.received_us) for placed in made.arrivals]
        now_us = max(now_us, times[-1])
    assert len(tables_of(parted)) > 5
    for place in range(len(told) + 2):
        found = parted.read(log.after, place, limit=7)
        assert [(one.seq, one.received_us) for one in found] == told[place : place + 7]
    for _ in range(50):
        wanted = random.sample(range(1, len(told) + 3), random.randrange(1, 20))
        found_at = parted.read(log.by_seq, wanted)
        assert {seq: one.received_us for seq, one in found_at.items()} == {
            seq: told[seq - 1][1] for seq in wanted if seq <= len(told)
        }
    for _, from_us in told:
        since = parted.read(log.since, from_us=from_us, to_seq=len(told), after_seq=0, limit=1_000)
        assert [one.seq for one in since] == [seq for seq, received_us in told if received_us >= from_us]


def test_reads_by_place_look_in_one_day_only(parted: Opened) -> None:
    for number in range(5):
        parted.do(appending(f"e{number}", times=(T0 + number * DAY,)))
    statements: list[tuple[str, Any]] = []

    def noted(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM events" in statement:
            statements.append((statement, parameters))

    event.listen(parted.database.reading, "before_cursor_execute", noted)
    try:
        assert len(parted.read(log.by_seq, [2, 4])) == 2
        assert len(parted.read(log.after, 1, limit=1)) == 1
    finally:
        event.remove(parted.database.reading, "before_cursor_execute", noted)
    assert len(statements) == 3
    with closing(psycopg.connect(url_of(parted))) as plain:
        for statement, parameters in statements:
            plan = plain.execute(f"EXPLAIN {statement}", parameters).fetchall()
            scanned = {line.split(" on ")[1].split()[0] for (line,) in plan if " on events" in line}
            assert len(scanned) == 1, plan


# Dropping


def old_day(store: Opened) -> Day:
    return store.read(partitions.days)[0]


def test_a_day_is_taken_out_whole_and_its_identities_follow(parted: Opened) -> None:
    parted.do(appending("old", "older"))
    parted.do(appending("young", times=(T0 + 2 * DAY,)))
    assert partitions.take_out(parted.database, old_day(parted))
    assert [placed.event.id for placed in parted.told()] == ["young"]
    assert parted.do(appending("old")).duplicates == 1  # law E2: as long as its identity is kept
    gone = parted.read(partitions.taken_out)
    assert gone == ["gone_arrival_decisions_20250615", "gone_events_20250615"]
    assert [partitions.has_events(name) for name in gone] == [False, True]
    assert parted.do(retention.drop_identities, 0, taken_out=gone[1]) == retention.Bite(2, None)
    assert parted.do(appending("old")).duplicates == 0
    assert parted.do(retention.drop_identities, 0, taken_out=gone[1]) == retention.Bite(2, None)  # begun again
    assert parted.do(appending("old")).duplicates == 1  # what came again is kept
    for name in gone:
        partitions.drop(parted.database, name)
    assert parted.read(partitions.taken_out) == []


def test_a_day_that_others_read_stays_and_nobody_waits_for_long(
    parted: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LOCK_WAIT_MS", 20), ("TRIES", 2), ("AGAIN_S", 0.01)):
        monkeypatch.setattr(partitions, name, value)
    parted.do(appending("old"))
    day = old_day(parted)
    with parted.database.reading.connect() as reader:
        reader.execute(text("SELECT count(*) FROM events"))
        assert not partitions.take_out(parted.database, day)
        assert parted.do(appending("more")).duplicates == 0
    assert [placed.event.id for placed in parted.told()] == ["old", "more"]
    assert partitions.take_out(parted.database, day)


def test_a_table_that_somebody_took_out_by_hand_is_theirs(parted: Opened) -> None:
    with closing(psycopg.connect(url_of(parted), autocommit=True)) as plain:
        plain.execute("ALTER TABLE events DETACH PARTITION events_20250615")
    assert parted.read(partitions.taken_out) == []
    assert old_day(parted).from_us == MIDNIGHT + DAY


def test_old_parts_are_days_that_are_old_as_a_whole_and_rows_of_the_rest(parted: Opened) -> None:
    parted.do(appending("early", times=(T0 - 9 * DAY,)))
    parted.do(appending("old", times=(T0,)))
    parted.do(appending("young", times=(MIDNIGHT + DAY,)))
    parted.do(lambda tx: tx.connection.execute(text("UPDATE shards SET cursor = 3")))
    assert parted.read(retention.old_parts, before_us=MIDNIGHT + DAY - 1) == [retention.OldPart("events_rest", 1, 1)]
    day = old_day(parted)
    both = [retention.OldPart(day.table, 2, 2, day), retention.OldPart("events_rest", 1, 1)]
    assert parted.read(retention.old_parts, before_us=MIDNIGHT + DAY + 1) == both
    parted.do(lambda tx: tx.connection.execute(text("UPDATE shards SET cursor = 1")))
    judged = parted.read(retention.old_parts, before_us=MIDNIGHT + DAY + 1)[0]
    assert (judged.to_seq, judged.day) == (1, None)

"""One look at the database says how the engine is."""

from __future__ import annotations

import json

from tests.flows.opened import Opened
from tocsin.schemas.event import Event
from tocsin.schemas.moments import SECOND
from tocsin.store import processes, vitals
from tocsin.store.log import Draft, append
from tocsin.store.processes import Process
from tocsin.store.vitals import Vitals
from tocsin.store.writer import Transaction


def look(store: Opened) -> Vitals:
    return store.database.read(vitals.look, now_us=store.clock.now_us())


def send(tx: Transaction) -> None:
    append(tx, [Draft(Event(event="a", resource={"id": "r"}))])


def test_of_an_empty_database_there_is_nothing_to_say(store: Opened) -> None:
    found = look(store)
    assert (found.seq, found.unjudged_us, found.next_us, found.due_us) == (0, None, None, None)
    assert found.intents == {"waiting": 0, "running": 0, "dead": 0}
    assert found.runs == {"pending": 0, "claimed": 0, "running": 0}
    assert (found.open_misses, found.outages, found.last_outage, found.refusals) == (0, 0, None, 0)
    assert (found.processes, found.paused) == ((), ())
    assert found.size_bytes > 0
    assert {shard.owner for shard in found.shards} == {None}


def test_the_oldest_event_that_was_not_judged_is_named(store: Opened) -> None:
    store.do(send)
    first_us = store.clock.now_us()
    store.clock.us += 5 * SECOND
    store.do(send)
    found = look(store)
    assert (found.seq, found.judged_seq, found.unjudged_us) == (2, 0, first_us)
    assert found.at_us - first_us == 5 * SECOND


def test_processes_runs_and_paused_queues_are_there(store: Opened) -> None:
    store.do(lambda tx: processes.register(tx, Process("here:1:a", ("api",), "here", 1, "1.0.0")))
    store.create("r1")
    store.create("r2")
    store.begin("r1")
    from_store = look(store)
    assert [one.name for one in from_store.processes] == ["here:1:a"]
    assert sum(from_store.runs.values()) == 2
    assert from_store.runs["running"] == 1


def test_counting_follows_an_index(store: Opened) -> None:
    """A look must not read whole tables: what grows without end is found along an index."""
    if not store.database.is_sqlite:
        return
    plans = []

    def explain(connection: object) -> None:
        for statement in (
            "SELECT count(*) FROM (SELECT n FROM intents WHERE state = 'dead' LIMIT 9)",
            "SELECT count(*) FROM (SELECT n FROM intents WHERE ended_us IS NULL AND state = 'waiting' LIMIT 9)",
            "SELECT count(*) FROM (SELECT n FROM firings WHERE open LIMIT 9)",
            "SELECT count(*) FROM (SELECT n FROM runs WHERE state = 'pending' LIMIT 9)",
        ):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()  # type: ignore[attr-defined]
            plans.append(json.dumps([row[3] for row in rows]))

    store.database.read(explain)
    assert [plan for plan in plans if "USING INDEX" not in plan and "USING COVERING INDEX" not in plan] == []

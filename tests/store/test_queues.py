"""Queues in the store: pauses that are told once, and what waits and runs."""

from __future__ import annotations

from tests.flows.opened import T0, Opened
from tocsin.schemas.moments import iso
from tocsin.store import queues


def test_pausing_and_resuming_is_told_once_each(store: Opened) -> None:
    assert store.do(queues.pause, "nightly", "automation/stop", chain=["first", "stop"])
    assert not store.do(queues.pause, "nightly", "api")
    assert store.do(queues.resume, "nightly", "api")
    assert not store.do(queues.resume, "nightly", "api")

    paused, resumed = store.told()
    assert (paused.event.event, resumed.event.event) == ("queue.paused", "queue.resumed")
    assert paused.event.resource == {"id": "queue/nightly", "queue": "nightly"}
    assert paused.event.related == [{"id": "automation/stop", "role": "automation"}]
    assert (paused.event.source, paused.chain) == ("tocsin", ("first", "stop"))  # law F5
    assert (resumed.event.payload, resumed.event.related) == ({"by": "api"}, [])


def test_who_paused_a_queue_is_told_until_it_is_resumed(store: Opened) -> None:
    store.do(queues.pause, "nightly", "api")
    store.do(queues.pause, "nightly", "someone else")
    assert store.read(queues.states)["nightly"] == {
        "paused": True, "paused_by": "api", "paused_at": iso(T0), "waiting": 0, "running": 0,
    }  # fmt: skip
    store.do(queues.resume, "nightly", "api")
    assert store.read(queues.states)["nightly"] == {
        "paused": False, "paused_by": None, "paused_at": None, "waiting": 0, "running": 0,
    }  # fmt: skip


def test_resuming_a_queue_that_nobody_used_does_nothing(store: Opened) -> None:
    assert not store.do(queues.resume, "nightly", "api")
    assert store.read(queues.states) == {}


def test_what_waits_and_what_a_worker_has_taken_is_counted_by_queue(store: Opened) -> None:
    for number in range(4):
        store.create(f"a{number}", queue="a")
    store.create("b0", queue="b")
    store.begin("a0")
    store.do(queues.pause, "a", "api")
    store.create("a4", queue="a")
    found = store.read(queues.states)
    assert [(name, one["waiting"], one["running"]) for name, one in found.items()] == [("a", 1, 4), ("b", 0, 1)]

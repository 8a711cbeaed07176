"""Runs in the store: each step is allowed by the table, owned, stored and told in one transaction."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from tests.flows.opened import T0, Opened
from tocsin.errors import IllegalTransition, InvalidInput, NotFound
from tocsin.schemas.moments import MINUTE, SECOND
from tocsin.schemas.run import ENDED, JSON_BYTES, TRANSITIONS, Ending, Run, RunState
from tocsin.store import queues, runs, tables
from tocsin.store.writer import Transaction

DONE = Ending(RunState.COMPLETED, "done", exit_status=0, result={"rows": 3})
BROKEN = Ending(RunState.FAILED, "exit status 1", exit_status=1, error="Traceback ...\nValueError: boom")
GONE = Ending(RunState.CRASHED, "the server was killed")


def names(store: Opened) -> list[str]:
    return [arrival.event.event for arrival in store.told()]


def test_a_run_goes_from_pending_to_completed_and_tells_each_step(store: Opened) -> None:
    store.create("r1", parameters={"day": "2026-03-02"}, automation="late", firing="f1", chain=["first", "late"])
    store.clock.us += SECOND
    store.begin("r1")
    store.clock.us += 2 * SECOND
    ended = store.finish("r1", DONE)

    assert ended.state is RunState.COMPLETED
    told = store.told()
    assert [one.event.event for one in told] == ["flow-run.pending", "flow-run.running", "flow-run.completed"]
    assert {one.chain for one in told} == {("first", "late")}  # law F5
    last = told[-1].event
    assert last.resource == {
        "id": "flow-run/r1", "flow": "backfill", "queue": "default", "state": "completed", "attempt": "1",
    }  # fmt: skip
    assert last.related == [
        {"id": "flow/backfill", "role": "flow"},
        {"id": "queue/default", "role": "queue"},
        {"id": "automation/late", "role": "automation"},
    ]
    assert last.payload == {
        "attempt": 1, "parameters": {"day": "2026-03-02"}, "reason": "done", "exit_status": 0, "error": "",
        "duration_s": 2.0, "result": {"rows": 3}, "retry_at": None,
    }  # fmt: skip
    assert (last.source, last.id, last.follows) == (
        "tocsin", "flow-run/r1/1/completed", "flow-run/r1/1/running"
    )  # fmt: skip
    assert told[1].event.follows == "flow-run/r1/1/pending"


def test_the_same_run_id_makes_one_run_and_one_event(store: Opened) -> None:
    first = store.create("r1")
    assert store.create("r1", parameters={"other": 1}) == first
    assert names(store) == ["flow-run.pending"]


@pytest.mark.parametrize("run_id", ["", "../up", "a/b", ".hidden", "x" * 101, "a b", "ä"])
def test_an_id_that_can_not_name_a_file_is_refused(store: Opened, run_id: str) -> None:
    with pytest.raises(InvalidInput, match="can not be the id of a run"):
        store.create(run_id)
    assert names(store) == []


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"x": "y" * JSON_BYTES}, "pass a reference"),
        ({"x": float("nan")}, "is not JSON"),
        ({"x": "\ud800"}, "is not JSON"),
        ({"x": object()}, "is not JSON"),
        ({"x": json.loads("[" * 51 + "]" * 51)}, "nested deeper"),
    ],
)
def test_parameters_that_can_not_be_handed_over_are_refused(store: Opened, parameters: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        store.create("r1", parameters=parameters)
    assert store.read(runs.find, "r1") is None
    assert store.read(queues.states) == {}


def test_the_one_due_longest_is_claimed_first_whatever_its_queue(store: Opened) -> None:
    for number in range(6):
        store.clock.us += SECOND
        store.create(f"r{number}", queue=f"q{number % 2}")
    assert store.claim(limit=4) == ["r0", "r1", "r2", "r3"]
    assert store.claim() == ["r4", "r5"]


def test_the_concurrency_of_a_queue_holds_over_all_workers(store: Opened) -> None:
    for number in range(5):
        store.create(f"r{number}", queue="nightly")
    limits = {"default": 1, "nightly": 2}
    assert store.claim("a", limits) == ["r0", "r1"]
    assert store.claim("b", limits) == []
    store.start("r0")
    assert store.claim("b", limits) == []
    store.finish("r0", DONE)
    assert store.claim("b", limits) == ["r2"]
    assert store.claim("c", limits | {"nightly": 1}) == []  # made smaller: nothing starts until there is room


def test_a_queue_that_nobody_declared_has_the_concurrency_of_the_default_queue(store: Opened) -> None:
    for number in range(3):
        store.create(f"r{number}", queue="unheard-of")
    assert store.claim(limits={"default": 2}) == ["r0", "r1"]


def test_a_paused_queue_starts_nothing_and_what_runs_ends(store: Opened) -> None:
    store.create("r1", queue="nightly")
    store.create("r2", queue="nightly")
    store.create("r3")
    assert store.claim(limit=1) == ["r1"]
    store.start("r1")
    store.do(queues.pause, "nightly", "api")
    assert store.claim() == ["r3"]
    store.finish("r1", DONE)
    store.do(queues.resume, "nightly", "api")
    assert store.claim() == ["r2"]


def test_a_claimed_run_that_is_handed_back_leaves_no_trace(store: Opened) -> None:
    store.create("r1")
    store.create("r2")
    store.claim(limit=1)
    assert store.do(runs.release, owner="a", run_id="r2") == []
    assert store.do(runs.release, owner="a") == ["r1"]
    run = store.find("r1")
    assert (run.state, run.owner, run.attempt) == (RunState.PENDING, None, 1)
    assert names(store) == ["flow-run.pending", "flow-run.pending"]
    assert store.claim("b") == ["r1", "r2"]


def test_only_the_owner_starts_and_ends_a_run(store: Opened) -> None:
    store.create("r1")
    store.claim("a")
    mine = store.find("r1")
    for other in (replace(mine, owner="b"), replace(mine, owner=None), replace(mine, attempt=2)):
        with pytest.raises(IllegalTransition, match="does not belong"):
            store.do(runs.start, other, process="a:1:b/2")
        with pytest.raises(IllegalTransition, match="does not belong"):
            store.do(runs.finish, other, BROKEN)
    store.do(runs.start, mine, process="a:1:b/2")
    store.do(runs.finish, mine, DONE)
    with pytest.raises(NotFound):
        store.do(runs.start, replace(mine, id="r9"), process="a:1:b/2")


def test_an_attempt_ends_once(store: Opened) -> None:
    store.create("r1")
    attempt = store.begin("r1")
    store.do(runs.finish, attempt, GONE)
    for ending in (GONE, DONE):
        with pytest.raises(IllegalTransition):
            store.do(runs.finish, attempt, ending)
    assert names(store).count("flow-run.crashed") == 1


def test_a_failed_run_with_retries_left_waits_as_the_next_attempt(store: Opened) -> None:
    store.create("r1")
    store.begin("r1")
    retry_at_us = T0 + MINUTE
    again = store.finish("r1", BROKEN, retry_at_us=retry_at_us)
    assert (again.state, again.attempt, again.not_before_us) == (RunState.PENDING, 2, retry_at_us)
    assert store.claim() == []
    store.clock.us = retry_at_us
    store.begin("r1")
    store.finish("r1", BROKEN)

    failed = [one.event for one in store.told() if one.event.event == "flow-run.failed"]
    assert [event.payload["retry_at"] for event in failed] == ["2025-06-15T15:07:40Z", None]  # type: ignore[index, call-overload]
    shown = store.read(runs.show, "r1")
    assert shown is not None
    assert (shown["state"], shown["reason"], shown["error"]) == ("failed", "exit status 1", BROKEN.error)
    assert [(one["attempt"], one["state"]) for one in shown["attempts"]] == [(1, "failed"), (2, "failed")]
    steps = [(one.event.event.partition(".")[2], one.event.resource["attempt"]) for one in store.told()]
    assert steps == [
        ("pending", "1"), ("running", "1"), ("failed", "1"), ("pending", "2"), ("running", "2"), ("failed", "2"),
    ]  # fmt: skip
    follows = [one.event.follows for one in store.told()]
    assert follows[1:] == [one.event.id for one in store.told()][:-1]


def test_a_crashed_run_is_not_tried_again(store: Opened) -> None:
    store.create("r1")
    store.begin("r1")
    assert store.finish("r1", GONE, retry_at_us=T0).state is RunState.CRASHED


def test_a_run_that_has_not_begun_is_cancelled_at_once(store: Opened) -> None:
    for run_id in ("r1", "r2"):
        store.create(run_id)
    store.claim(limit=1)
    claimed = store.find("r1")
    for run_id in ("r1", "r2"):
        assert store.do(runs.cancel, run_id, "api").state is RunState.CANCELLED
        assert store.do(runs.cancel, run_id, "api").state is RunState.CANCELLED  # asking twice is fine
    with pytest.raises(IllegalTransition):  # so the gate of its process stays closed
        store.do(runs.start, claimed, process="a:1:b/2")
    assert names(store).count("flow-run.cancelled") == 2


def test_a_running_run_is_cancelled_when_its_process_has_ended(store: Opened) -> None:
    store.create("r1")
    store.begin("r1")
    assert store.do(runs.cancel, "r1", "automation/stop").state is RunState.RUNNING
    (held,) = store.read(runs.held)
    assert held.cancelled_by == "automation/stop"
    again = store.finish("r1", BROKEN, retry_at_us=T0)
    assert again.state is RunState.FAILED  # and a cancelled run is not retried


def test_an_ended_run_can_not_be_cancelled(store: Opened) -> None:
    store.create("r1")
    store.begin("r1")
    store.finish("r1", DONE)
    with pytest.raises(IllegalTransition, match="already completed"):
        store.do(runs.cancel, "r1", "api")
    with pytest.raises(NotFound):
        store.do(runs.cancel, "r9", "api")


def test_a_heartbeat_keeps_what_the_owner_holds_and_nothing_else(store: Opened) -> None:
    store.create("r1")
    store.create("r2")
    store.claim("a", limit=1)
    store.claim("b", limit=1)
    store.clock.us += 30 * SECOND
    store.do(runs.heartbeat, owner="a", lease_us=MINUTE)
    leases = [(run.id, run.owner, run.leased_until_us) for run in store.read(runs.held)]
    assert leases == [("r1", "a", T0 + 90 * SECOND), ("r2", "b", T0 + MINUTE)]


def test_every_step_that_the_table_does_not_know_is_refused(store: Opened) -> None:
    for number, (state, to) in enumerate(itertools.product(RunState, RunState)):
        run = store.create(f"r{number}")
        store.do(force, run, state)
        known = store.find(run.id)
        if to in TRANSITIONS[state]:
            continue
        before = len(store.told())
        with pytest.raises(IllegalTransition):
            store.do(runs._move, known, to)
        assert len(store.told()) == before
    assert {state for state in RunState if not TRANSITIONS[state]} == ENDED - {RunState.FAILED}


def force(tx: Transaction, run: Run, state: RunState) -> None:
    tx.connection.execute(update(tables.runs).where(tables.runs.c.n == run.n).values(state=state))


def test_of_two_who_saw_the_same_state_one_takes_the_step(store: Opened) -> None:
    seen = store.create("r1")
    store.do(runs._move, seen, RunState.CLAIMED, owner="a")
    with pytest.raises(IllegalTransition, match="any more"):
        store.do(runs._move, seen, RunState.CLAIMED, owner="b")


def test_pages_of_runs_are_newest_first_and_filtered(store: Opened) -> None:
    for number in range(5):
        store.create(f"r{number}", flow="even" if number % 2 == 0 else "odd", queue=f"q{number % 2}")
    store.do(runs.cancel, "r4", "api")
    first = store.read(runs.page, limit=2)
    assert [item["id"] for item in first.items] == ["r4", "r3"]
    second = store.read(runs.page, limit=3, cursor=first.next)
    assert ([item["id"] for item in second.items], second.next) == (["r2", "r1", "r0"], None)
    for found, wanted in (
        ({"flow": "odd"}, ["r3", "r1"]),
        ({"queue": "q0"}, ["r4", "r2", "r0"]),
        ({"state": "cancelled"}, ["r4"]),
    ):
        assert [item["id"] for item in store.read(runs.page, **found).items] == wanted
    with pytest.raises(InvalidInput, match="write one of pending"):
        store.read(runs.page, state="sleeping")
    with pytest.raises(InvalidInput, match="cursor"):
        store.read(runs.page, cursor="garbage")


def test_what_is_kept_of_many_attempts_is_bounded(store: Opened) -> None:
    store.create("r1")
    for _ in range(runs.ATTEMPTS_KEPT + 3):
        store.begin("r1")
        long = Ending(RunState.FAILED, "exit status 1", exit_status=1, error="x" * 100_000)
        store.finish("r1", long, retry_at_us=T0)
    shown = store.read(runs.show, "r1")
    assert shown is not None
    assert len(shown["attempts"]) == runs.ATTEMPTS_KEPT
    assert {len(one["error"]) for one in shown["attempts"]} == {runs.ERROR_CHARS}
    assert shown["attempts"][-1]["attempt"] == runs.ATTEMPTS_KEPT + 3


def test_there_is_nothing_to_show_of_an_unknown_run(store: Opened) -> None:
    assert store.read(runs.show, "r9") is None

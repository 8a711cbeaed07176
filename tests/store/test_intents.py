"""Intents: claimed once, recorded by their owner only, taken back from who is gone, redriven by people (law F4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.opened import T0, Opened
from tocsin.errors import IllegalTransition, InvalidInput, NotFound
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing, Verdict, firing_id
from tocsin.schemas.moments import MINUTE, SECOND, iso
from tocsin.store import firings, intents, log
from tocsin.store.firings import Judged
from tocsin.store.intents import LEASE_US, Attempt, AttemptOutcome, Intent, IntentState, Order
from tocsin.store.writer import Transaction

LOG = ("log", '{"type":"log"}')
PAUSE = ("pause-queue", '{"type":"pause-queue","queue":"nightly"}')


def firing(number: int = 0, **more: Any) -> Firing:
    values: dict[str, Any] = {
        "id": firing_id("test", number), "automation": "late", "node": "n", "state_key": "k", "labels": {"id": "a"},
        "verdict": Verdict.FIRED, "at_us": T0, "time_us": T0,
    }  # fmt: skip
    return Firing(**values | more)


def added(store: Opened, count: int = 1, **more: Any) -> list[Intent]:
    """Add one intent for each of `count` firings."""
    return store.do(intents.add, [Order(firing(number), [LOG]) for number in range(count)], **more)


def claimed(store: Opened, owner: str = "a", limit: int = 10) -> list[str]:
    return [intent.id for intent in store.do(intents.claim, owner=owner, limit=limit)]


def attempt(intent: str, state: IntentState, outcome: AttemptOutcome | None, **more: Any) -> Attempt:
    return Attempt(intent, state, outcome, T0, T0 + SECOND, {"status": 200}, **more)


def state_of(store: Opened, intent: str) -> str:
    return str(store.read(intents.show, intent)["state"])


def test_an_intent_is_known_by_its_firing_and_position_so_adding_twice_adds_once(store: Opened) -> None:
    first = store.do(intents.add, [Order(firing(), [LOG, PAUSE])])
    assert [(one.position, one.type) for one in first] == [(0, "log"), (1, "pause-queue")]
    assert [one.id for one in first] == [intents.intent_id(firing().id, position) for position in (0, 1)]
    assert store.do(intents.add, [Order(firing(), [LOG, PAUSE]), Order(firing(1), [LOG])]) == [
        Intent(intents.intent_id(firing(1).id, 0), firing(1).id, "late", 0, *LOG, 0, T0)
    ]
    assert store.do(intents.add, [Order(firing(2), [])]) == []


def test_what_is_due_longest_is_claimed_first_and_only_once(store: Opened) -> None:
    late, early, future = (one.id for one in added(store, 3))
    claimed(store, "a")
    store.do(intents.put_off, {late: T0 + 2, early: T0 + 1, future: T0 + SECOND}, owner="a")
    assert store.read(intents.next_due) == T0 + 1
    store.clock.us += 2
    assert claimed(store, "a", limit=1) == [early]
    assert claimed(store, "b") == [late]
    assert claimed(store, "c") == []
    assert store.read(intents.next_due) == T0 + SECOND


def test_intents_may_belong_to_an_owner_from_the_start(store: Opened) -> None:
    (one,) = added(store, claimed_by="a")
    assert claimed(store, "b") == []
    assert store.do(intents.holds, one.id, owner="a")
    assert not store.do(intents.holds, one.id, owner="b")


def test_a_claim_comes_with_its_firings_and_their_events(store: Opened) -> None:
    def unit(tx: Transaction) -> list[Intent]:
        placed = log.append(tx, [log.Draft(Event(event="e", resource={"id": "a"}))]).arrivals[0]
        fired = firing(events=(placed.seq,), trigger_event=placed.seq)
        firings.add(tx.connection, [Judged(fired, "live", "high")], {placed.seq: placed}, decided_us=T0)
        return intents.add(tx, [Order(fired, [LOG])])

    found, arrivals = store.read(intents.subjects, store.do(unit))
    assert found[firing().id].trigger_event == 1
    assert arrivals[1].event.event == "e"


def test_an_outcome_is_recorded_with_its_attempt(store: Opened) -> None:
    (one,) = added(store, claimed_by="a")
    again = attempt(one.id, IntentState.WAITING, AttemptOutcome.FAILED, not_before_us=T0 + MINUTE)
    store.do(intents.record, [again], owner="a")
    shown = store.read(intents.show, one.id)
    assert (shown["state"], shown["attempts"], shown["next"]) == ("waiting", 1, iso(T0 + MINUTE))

    store.clock.us += MINUTE
    (back,) = store.do(intents.claim, owner="a", limit=1)
    assert back.attempts == 1
    store.do(intents.record, [attempt(one.id, IntentState.SUCCEEDED, AttemptOutcome.SUCCEEDED)], owner="a")
    shown = store.read(intents.show, one.id)
    assert (shown["state"], shown["ended"], shown["result"]) == ("succeeded", iso(T0 + MINUTE), {"status": 200})
    assert [(entry["number"], entry["outcome"]) for entry in shown["history"]] == [(1, "failed"), (2, "succeeded")]
    assert shown["spec"] == {"type": "log"}


def test_a_false_condition_leaves_no_attempt(store: Opened) -> None:
    (one,) = added(store, claimed_by="a")
    store.do(intents.record, [attempt(one.id, IntentState.SKIPPED, None)], owner="a")
    shown = store.read(intents.show, one.id)
    assert (shown["state"], shown["history"]) == ("skipped", [])


def test_who_lost_the_lease_records_its_attempt_and_changes_nothing(store: Opened) -> None:
    (one,) = added(store, claimed_by="a")
    store.clock.us += LEASE_US
    assert store.do(intents.reclaim, owner="b") == 1
    assert claimed(store, "b") == [one.id]
    lost = [attempt(one.id, IntentState.DEAD, AttemptOutcome.FAILED)]
    assert store.do(intents.record, lost, owner="a") == set()
    store.do(intents.put_off, {one.id: T0 + MINUTE}, owner="a")
    assert state_of(store, one.id) == "running"
    assert store.do(intents.holds, one.id, owner="b")


def test_a_lease_that_is_renewed_does_not_end(store: Opened) -> None:
    kept, lost = added(store, 2, claimed_by="a")
    store.clock.us += LEASE_US - 1
    store.do(intents.renew, [kept.id], owner="a")
    store.clock.us += 1
    assert store.do(intents.reclaim, owner="b") == 1
    assert claimed(store, "b") == [lost.id]


def test_f4_what_a_process_that_is_gone_held_is_attempted_again_and_uses_up_no_retry(store: Opened) -> None:
    (one,) = added(store, claimed_by="before")
    assert store.do(intents.reclaim, owner="now") == 0
    assert store.do(intents.reclaim, owner="now", alone=True) == 1
    assert store.do(intents.reclaim, owner="now", alone=True) == 0
    (back,) = store.do(intents.claim, owner="now", limit=10)
    assert (back.id, back.attempts) == (one.id, 0)
    (entry,) = store.read(intents.show, one.id)["history"]
    assert entry["outcome"] == "interrupted"
    assert "not known" in entry["detail"]["error"]


def test_a_graceful_stop_gives_everything_back(store: Opened) -> None:
    mine = [one.id for one in added(store, 3, claimed_by="a")]
    store.do(intents.release, owner="a")
    assert claimed(store, "b") == mine
    assert [store.read(intents.show, one)["history"] for one in mine] == [[], [], []]


def test_a_dead_letter_can_be_redriven_with_all_its_retries(store: Opened) -> None:
    (one,) = added(store, claimed_by="a")
    store.do(intents.record, [attempt(one.id, IntentState.DEAD, AttemptOutcome.FAILED)], owner="a")
    assert claimed(store) == []
    shown = store.do(intents.retry, one.id)
    assert (shown["state"], shown["attempts"], shown["ended"], shown["result"]) == ("waiting", 0, None, None)
    assert [entry["number"] for entry in shown["history"]] == [1]
    assert claimed(store) == [one.id]


def test_discarding_says_why_and_can_be_taken_back(store: Opened) -> None:
    (one,) = added(store)
    shown = store.do(intents.discard, one.id, "the incident is over")
    assert (shown["state"], shown["result"]) == ("discarded", {"discarded": "the incident is over"})
    assert claimed(store) == []
    store.do(intents.retry, one.id)
    assert claimed(store) == [one.id]


@pytest.mark.parametrize("verb", ["retry", "discard"])
@pytest.mark.parametrize("state", [IntentState.RUNNING, IntentState.SUCCEEDED, IntentState.SKIPPED])
def test_what_runs_or_was_performed_is_left_alone(store: Opened, state: IntentState, verb: str) -> None:
    (one,) = added(store, claimed_by="a")
    if state is not IntentState.RUNNING:
        store.do(intents.record, [attempt(one.id, state, None)], owner="a")
    with pytest.raises(IllegalTransition, match=f"the action is {state}"):
        store.do(getattr(intents, verb), one.id, *["why"] * (verb == "discard"))
    assert state_of(store, one.id) == state


def test_what_does_not_exist_is_not_found(store: Opened) -> None:
    with pytest.raises(NotFound):
        store.read(intents.show, "nothing")
    for verb in (intents.retry, lambda tx, one: intents.discard(tx, one, "why")):
        with pytest.raises(NotFound, match="no action 'nothing'"):
            store.do(verb, "nothing")


def test_pages_go_through_all_intents_newest_first(store: Opened) -> None:
    ids = [one.id for one in added(store, 5)]
    seen, cursor = [], None
    for _ in range(3):
        page = store.read(intents.page, limit=2, cursor=cursor)
        seen += [item["id"] for item in page.items]
        cursor = page.next
    assert seen == ids[::-1]
    assert cursor is None
    with pytest.raises(InvalidInput):
        store.read(intents.page, cursor="garbage")


def test_pages_can_be_narrowed(store: Opened) -> None:
    store.do(intents.add, [Order(firing(), [LOG, PAUSE]), Order(firing(1, automation="other"), [LOG])])
    claimed(store, limit=1)

    def found(**wanted: str) -> list[tuple[str, str]]:
        return [(item["automation"], item["type"]) for item in store.read(intents.page, **wanted).items]

    assert found(automation="other") == [("other", "log")]
    assert found(type="pause-queue") == [("late", "pause-queue")]
    assert found(state="running") == [("late", "log")]
    assert found(firing=firing().id) == [("late", "pause-queue"), ("late", "log")]
    assert found(firing=firing().id, state="dead") == []


def test_counts_name_every_state(store: Opened) -> None:
    added(store, 3)
    claimed(store, limit=1)
    assert store.read(intents.counts) == {
        "waiting": 2, "running": 1, "succeeded": 0, "skipped": 0, "dead": 0, "discarded": 0,
    }  # fmt: skip


def test_a_large_batch_is_claimed_and_recorded_whole(store: Opened) -> None:
    ids = [one.id for one in added(store, 1_200, claimed_by="a")]
    done = [attempt(one, IntentState.SUCCEEDED, AttemptOutcome.SUCCEEDED) for one in ids]
    store.do(intents.record, done, owner="a")
    assert store.read(intents.counts)["succeeded"] == 1_200

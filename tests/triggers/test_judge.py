"""The judge's interface: snapshots, states, what is set aside, pauses, priming (laws O1, O3, S4, S5, D3, T2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.triggers.scenario import NAME, T0, TRIGGER, Play, armed, event, seconds
from tocsin.errors import JudgeFailed
from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import HOUR, MINUTE, SECOND
from tocsin.triggers.judge import Armed, Judge, automation_of
from tocsin.triggers.keys import state_key
from tocsin.triggers.machine import Ledger, Outage, Outages, Seen
from tocsin.triggers.reactive import Counting
from tocsin.triggers.simulate import Memory, drive

BEATS = {"type": "absence", "expect": "x", "within": 10}
HOSTS = BEATS | {"for_each": ["id"]}
DAILY = {"type": "deadline", "expect": "x", "due": "0 9 * * *", "grace": "10m"}


def test_a_judge_is_replaced_and_the_old_one_stays() -> None:
    old = Judge([armed({"expect": "x"}, T0)])
    new = old.replace(armed=[Armed("other", TRIGGER.validate_python({"expect": "y"}), T0, -1)], removed=[NAME])
    assert (NAME in old, "other" in old, NAME in new, "other" in new) == (True, False, False, True)
    assert len(Memory(old).run([event("x 1", 1)], until_us=None).firings) == 1
    assert len(Memory(new).run([event("x 1", 1), event("y 1", 2)], until_us=None).firings) == 1


def test_o3_what_arrived_before_t0_is_not_judged() -> None:
    play = Play({"expect": "x"}, armed_seq=1)
    assert play.see("x 1", "x 2") == [(2.0, "fired", (2,), None)]


def test_s4_a_state_of_another_trigger_is_not_read() -> None:
    play = Play(HOSTS)
    play.see("x 1")
    ((key, state),) = play.memory.states.items()
    judge = play.memory.judge
    same = judge.replace(armed=[armed(HOSTS | {"grace": 5, "repeat": 60, "subjects": ["b"]}, T0)])
    other = judge.replace(armed=[armed(HOSTS | {"within": 11}, T0)])
    assert same.fingerprint(NAME) == judge.fingerprint(NAME) != other.fingerprint(NAME)
    assert same.decode(key, state.encode()) is not None
    assert other.decode(key, state.encode()) is None
    assert judge.replace(removed=[NAME]).decode(key, state.encode()) is None


def test_s4_a_harmless_change_moves_the_verdict_of_an_open_window() -> None:
    play = Play(HOSTS)
    play.see("x 1")
    ((key, state),) = play.memory.states.items()
    play.memory.judge = play.memory.judge.replace(armed=[armed(HOSTS | {"grace": 5}, T0)])
    play.memory.judge.refresh(key, state)
    assert seconds(state.wake_us) == 16
    assert play.see(until=60) == [(16.0, "missed", (1,), 11.0)]


def test_s4_what_is_open_ends_closed_when_the_trigger_goes() -> None:
    play = Play(BEATS | {"after": "s", "for_each": ["id"]})
    play.see("s 1 id=a", "s 2 id=b")
    judgement = play.memory.judge.close(play.memory.states, at_us=T0)
    assert [(one.outcome, one.labels) for one in judgement.decisions] == [
        (Outcome.CLOSED, {"id": "a"}),
        (Outcome.CLOSED, {"id": "b"}),
    ]
    assert set(judgement.changed.values()) == {None}


def test_s4_open_misses_end_closed_too() -> None:
    play = Play({"type": "deadline", "expect": "x", "due": "* * * * *", "for_each": ["id"]})
    play.see("x 10", "x 20 id=primed", until=125)
    judgement = play.memory.judge.close(play.memory.states, at_us=T0)
    assert [one.text.split(",")[0] for one in judgement.decisions if one.labels == {"id": "a"}] == [
        "missed 2026-03-02T08:02:00Z",
        "no longer due at 2026-03-02T08:03:00Z",
    ]
    silent = Play(BEATS)
    silent.see(until=20)
    (decision,) = silent.memory.judge.close(silent.memory.states, at_us=T0).decisions
    assert decision.text == "missed 2026-03-02T08:00:10Z, and not resolved"


def test_s4_a_key_that_was_only_primed_has_nothing_to_close() -> None:
    play = Play(DAILY | {"for_each": ["id"]})
    play.memory.run([event("x -3600", 1)], until_us=None, prime=NAME)
    assert play.memory.judge.close(play.memory.states, at_us=T0).decisions == []


def test_p4_subjects_that_are_added_are_watched_from_then_on() -> None:
    judge = Judge([armed(HOSTS | {"subjects": ["a", "b"]}, T0)])
    states = judge.arm(NAME, from_us=T0 + MINUTE)
    assert sorted(state.labels["id"] for state in states.values()) == ["a", "b"]
    assert {seconds(state.wake_us) for state in states.values()} == {70}
    assert set(states) == {state_key(NAME, judge.fingerprint(NAME), [name]) for name in ("a", "b")}


def test_s4_a_paused_automation_sees_and_says_nothing_and_resumes_as_after_an_outage() -> None:
    play = Play(HOSTS)
    play.see("x 1")
    judge = play.memory.judge
    play.memory.judge = judge.replace(armed=[armed(HOSTS, T0, paused=True)])
    assert play.see("x 5", "x 40", until=60) == []
    pause = Outage(T0 + 2_000_000, T0 + 70_000_000, T0 + 80_000_000)
    play.memory.judge = judge.replace(armed=[armed(HOSTS, T0, outages=(pause,))])
    assert play.see(until=100) == [(80.0, "unknown", (1,), 11.0)]


def test_s5_what_breaks_the_judge_is_named_and_can_be_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Counting, "_count", broken)
    trigger = {"expect": "x", "threshold": 2, "within": 10}
    with pytest.raises(JudgeFailed, match="ZeroDivisionError") as failed:
        Play(trigger).see("x 1")
    assert (failed.value.automation, failed.value.seq, failed.value.state_key) == (NAME, 1, None)
    play = Play(trigger)
    judgement = play.memory.run([event("x 1", 1)], until_us=None, excluded=[(NAME, 1)])
    assert judgement.changed == {}


def test_s5_a_state_that_breaks_the_judge_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(BEATS)
    (key,) = play.memory.states
    with pytest.raises(JudgeFailed, match="can not be read") as failed:
        play.memory.judge.decode(key, b"[7]")
    assert failed.value.state_key == key
    monkeypatch.setattr("tocsin.triggers.watch.Watch.settle", lambda *_, **__: 1 / 0)
    with pytest.raises(JudgeFailed) as failed:
        play.see(until=20)
    assert (failed.value.seq, failed.value.state_key) == (None, key)
    assert play.memory.run([], until_us=T0 + HOUR, excluded=[(NAME, key)]).changed == {}
    assert play.memory.run([event("x 1", 1)], until_us=None, excluded=[(NAME, key)]).changed == {}


def test_s5_a_composite_is_set_aside_and_its_children_go_on() -> None:
    play = Play({"type": "compound", "triggers": [{"expect": "x", "within": 1}, {"expect": "y"}]})
    judge = play.memory.judge
    root, arrivals = state_key(NAME, judge.fingerprint(NAME), []), [event("x 1", 1), event("y 2", 2)]
    judgement = play.memory.run(arrivals, until_us=None, excluded=[(NAME, root)])
    assert judgement.firings == []
    assert root not in judgement.changed
    assert len(judge.spots(NAME)) == 3


def test_a_state_that_asks_for_the_same_moment_again_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(BEATS)
    monkeypatch.setattr("tocsin.triggers.watch.Watch.wake", lambda *_: None)
    with pytest.raises(JudgeFailed, match="again"):
        play.see(until=20)


def test_o1_without_a_horizon_moments_of_the_last_arrival_wait_for_those_that_arrive_with_it() -> None:
    play = Play(HOSTS)
    assert play.see("x 5", "y 15") == []
    assert play.see("x 15") == []
    assert play.see(until=25) == [(25.0, "missed", (3,), 25.0)]
    assert play.memory.run([], until_us=None).changed == {}


def test_due_keys_without_a_state_and_of_others_are_passed_over() -> None:
    judge = Judge([armed(HOSTS, T0)])
    known = state_key(NAME, judge.fingerprint(NAME), ["a"])
    running = judge.run([], until_us=T0, due=[known, state_key("gone", "node", [])])
    assert next(running) == {known}
    with pytest.raises(StopIteration) as done:
        running.send({known: None})
    assert done.value.value.changed == {}


def test_what_is_no_longer_defined_is_dropped_silently() -> None:
    play = Play(HOSTS)
    play.see("x 1")
    ((key, state),) = play.memory.states.items()
    judge = play.memory.judge.replace(removed=[NAME])
    judge.refresh(key, state)
    assert judge.close({key: state}, at_us=T0).decisions == []
    assert judge.forget(key, state, at_us=T0).decisions == []


def test_only_nodes_that_look_at_events_are_given_any() -> None:
    play = Play({"type": "schedule", "every": 60})
    machine = play.memory.judge.root(NAME).machine
    with pytest.raises(AssertionError, match="look at events"):
        machine.arrive(play.state, Seen(0, 0, 0, 0, 1), Ledger())
    assert Judge([armed({"expect": "x"}, T0)]).root(NAME).machine.describe(play.state) == {"waits for": "x"}


def test_a_history_is_driven_to_its_end_and_not_beyond() -> None:
    judge = Judge([armed({"expect": "x"}, T0)])
    arrivals = [event(f"x {n}", n) for n in range(1_200)]
    found = list(drive(judge, arrivals, T0 + 1_100 * SECOND, names=[NAME]))
    assert sum(len(one.firings) for one in found) == 1_101
    assert len(found) == 3


def test_keys_have_an_end_and_say_whose_they_are() -> None:
    key = state_key("mine", "node", ["x" * 1_000])
    assert len(key) < 100
    assert automation_of(key) == "mine"
    assert key != state_key("mine", "node", ["x" * 1_001])


def test_o3_nothing_but_the_deadlines_of_one_automation_is_primed() -> None:
    play = Play({"type": "compound", "triggers": [DAILY, {"expect": "x"}]})
    other = Armed("other", TRIGGER.validate_python(DAILY), T0, -1)
    play.memory.judge = play.memory.judge.replace(armed=[other])
    judgement = play.memory.run([event("x -3600", 1)], until_us=None, prime=NAME)
    assert [automation_of(key) for key in judgement.changed] == [NAME]


def test_s4_all_nodes_of_an_automation_know_its_pauses() -> None:
    trigger = {"type": "compound", "require": "any", "triggers": [HOSTS, {"expect": "y", "within": 1}]}
    pause = Outage(T0 + 2_000_000, T0 + 70_000_000, T0 + 80_000_000)
    play = Play(trigger)
    play.memory.judge = Judge([armed(trigger, T0, outages=(pause,))])
    assert play.see("x 1", until=100) == [(80.0, "fired", (1,), None)]


def test_o3_priming_counts_what_came_before_t0_and_arms_no_key() -> None:
    play = Play(DAILY | {"for_each": ["id"], "subjects": ["a"]})
    judge = play.memory.judge
    from_us = judge.priming(NAME)
    assert from_us is not None
    assert seconds(from_us) == -23 * 3600
    stored = [event("x -3600 id=a", 1), event("x -3600 id=b", 2), event("x -90000 id=a", 3)]
    play.memory.run(stored, until_us=None, prime=NAME)
    assert play.see(until=3600 + 600) == []
    assert play.see(until=25 * 3600 + 600) == [(25 * 3600 + 600.0, "missed", (), 25 * 3600.0)]
    idle = {state.labels["id"]: state.idle_since_us is not None for state in play.memory.states.values()}
    assert idle == {"a": False, "b": True}
    assert Judge([armed(HOSTS, T0)]).priming(NAME) is None


def test_o3_what_came_late_for_yesterday_does_not_count_for_today() -> None:
    play = Play(DAILY)
    play.memory.run([event(f"x {-23 * 3600 + 300}", 1)], until_us=None, prime=NAME)
    assert play.see(until=3600 + 600) == [(4200.0, "missed", (), 3600.0)]


@pytest.mark.parametrize(
    ("catch_up", "times"),
    [("last", [20, 60, 80]), ("all", [20, 40, 60, 80]), ("none", [20, 80])],
)
def test_t2_what_fell_into_an_outage_is_caught_up(catch_up: str, times: list[float]) -> None:
    play = Play({"type": "schedule", "every": 20, "catch_up": catch_up}, outages=[(30, 70)])
    assert [one[0] for one in play.see(until=90)] == times
    (state,) = play.memory.states.values()
    assert seconds(state.wake_us) == 100
    play.memory.judge.refresh(play.firings[0].state_key, state)
    assert seconds(state.wake_us) == 100


def test_outages_move_moments_forward_and_may_follow_each_other() -> None:
    outages = Outages([Outage(10, 20, 30), Outage(25, 40, 50)])
    assert [outages.moved(moment) for moment in (10, 11, 29, 30, 45, 50)] == [10, 50, 50, 50, 50, 50]


def test_a_composite_says_which_of_its_children_it_waits_for() -> None:
    nested = {"type": "sequence", "within": 5, "triggers": [{"expect": "p"}, {"expect": "q"}]}
    children = [{"expect": "x"}, {"expect": ["y", "z"]}, nested, {"type": "not", "trigger": {"expect": "n"}}]
    play = Play({"type": "compound", "triggers": children})
    play.see("x 1")
    (said,) = (play.memory.judge.describe(key, state) for key, state in play.memory.states.items())
    assert said["waits for"] == "y or z, a sequence"


def test_everything_can_be_described() -> None:
    triggers: list[dict[str, Any]] = [
        {"expect": "x"}, {"expect": "x", "threshold": 2, "within": 5}, {"expect": "x", "after": "y"}, BEATS,
        BEATS | {"after": "y"}, DAILY, {"type": "schedule", "every": 60},
        {"type": "compound", "triggers": [{"expect": "x"}, {"expect": "q"}]},
        {"type": "sequence", "within": 9, "triggers": [{"expect": "x"}, {"type": "not", "trigger": {"expect": "n"}}]},
    ]  # fmt: skip
    for trigger in triggers:
        play = Play(trigger)
        play.see("y 1", "x 2")
        for key, state in play.memory.states.items():
            described = play.memory.judge.describe(key, state)
            assert described["node"].startswith(play.memory.judge.fingerprint(NAME))
            assert play.memory.judge.replace(removed=[NAME]).describe(key, state) == {}
        play.note(play.memory.judge.close(play.memory.states, at_us=T0))
        assert all(one.text for one in play.decisions)

"""Silence by hand: what moments do to windows (laws O4, P1-P8, S2, S3)."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.model.histories import random_history
from tests.triggers.campaign import prepared, restart
from tests.triggers.scenario import T0, Play, seconds
from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import HOUR
from tocsin.triggers.machine import Ledger
from tocsin.triggers.watch import Watch, WatchState
from tocsin.triggers.window import Window

BEATS = {"type": "absence", "expect": "x", "within": 10}
HOSTS = BEATS | {"for_each": ["id"]}
JOBS = BEATS | {"after": "s"}
CHAIN = BEATS | {"after": "x"}


def test_o2_an_after_that_came_before_the_end_at_the_same_time_opens_nothing_later() -> None:
    play = Play(JOBS | {"lateness": 120})
    assert play.see("s 55", "x 55 65", "s 50 65", until=300) == []


@pytest.mark.parametrize(("between", "opened"), [(998, 0.5), (999, 1.0)])
def test_o4_reaches_back_over_the_newest_thousand_events(between: int, opened: float) -> None:
    play = Play(JOBS | {"lateness": "1d", "within": "1h", "threshold": 2_000})
    play.see("s 1", *(f"x {2 + n / 1000}" for n in range(between)), "s 0.5 4")
    assert isinstance(play.state, WatchState)
    found = seconds(play.state.history.now.windows[0].opened_us)
    assert found == opened


def test_o4_what_is_out_of_reach_stands_where_it_arrived() -> None:
    play = Play(JOBS | {"lateness": 5, "within": 30})
    assert play.see("x 40", "s 20 41", until=45) == []
    assert play.see("s 38 45", until=100) == []
    assert [outcome for _, outcome, _ in play.said()][-1] == "met"


def test_p1_a_missed_window_is_forgotten_when_the_next_one_opens() -> None:
    play = Play(JOBS | {"repeat": 10})
    assert play.see("s 0", "s 12", "x 13", until=60) == [(10.0, "missed", (1,), 10.0)]


def test_p2_one_alert_per_silence_however_many_windows_it_has() -> None:
    play = Play(CHAIN)
    fired = play.see("x 5", "x 16 60", "x 30 60", "x 44 60", until=90)
    assert [one[:2] for one in fired] == [(15.0, "missed")]
    assert [outcome for _, outcome, seq in play.said() if seq is None].count("missed") == 4


def test_p3_reads_as_a_sentence() -> None:
    play = Play(HOSTS | {"within": "5m", "grace": "1m"})
    play.see("x 55 id=web-1", until=500)
    assert play.firings[0].reason == (
        "expected x for id=web-1 every 5m, last seen 2026-03-02T08:00:55Z, "
        "due 2026-03-02T08:05:55Z, judged 2026-03-02T08:06:55Z"
    )


def test_p5_repeats_until_it_resolves_and_names_what_it_resolves() -> None:
    play = Play(BEATS | {"repeat": 20})
    assert play.see("x 55", until=60) == [
        (10.0, "missed", (), 10.0),
        (30.0, "missed", (), 10.0),
        (50.0, "missed", (), 10.0),
        (55.0, "resolved", (1,), None),
    ]
    missed, *repeats, resolved = play.firings
    assert [one.repeat for one in play.firings] == [0, 1, 2, 0]
    assert resolved.resolves == (missed.id,)
    assert len({one.id for one in play.firings}) == 4
    assert all(one.trigger_event is None for one in (missed, *repeats))
    assert resolved.trigger_event == 1


def test_p5_repeats_that_fall_into_an_outage_are_one() -> None:
    play = Play(BEATS | {"repeat": 10}, outages=[(25, 95)])
    fired = play.see(until=170)
    assert [one[0] for one in fired] == [10.0, 20.0, 155.0, 160.0, 170.0]


def test_p6_closes_for_good_however_late_what_follows_arrives() -> None:
    play = Play(JOBS | {"until": "u", "grace": 60, "on_late": "fire"})
    assert play.see("s 5", "u 20", "s 3 21", "x 16 22", "s 30", until=300) == [(75.0, "late", (1, 4), 15.0)]
    assert play.state.idle_since_us is not None
    assert play.memory.judge.describe(play.firings[0].state_key, play.state)["closed"]


def test_p6_what_is_not_later_and_arrives_behind_opens_nothing() -> None:
    play = Play(HOSTS | {"until": "u", "reopen": True, "on_late": "fire", "grace": 30})
    assert play.see("u 20", "x 5 21", "x 10 22", until=300) == []
    assert play.see("x 301", until=400) == [(341.0, "missed", (4,), 311.0)]


def test_p6_a_missed_key_resolves() -> None:
    play = Play(HOSTS | {"until": "u"})
    assert play.see("x 5", "u 30", until=100) == [(15.0, "missed", (1,), 15.0), (30.0, "resolved", (2,), None)]


def test_p7_an_event_in_time_takes_back_a_late_one_even_out_of_reach() -> None:
    play = Play(JOBS | {"grace": 80, "on_late": "fire", "threshold": 1})
    assert play.see("s 0", "x 85", "x 5 86", until=300) == []


@pytest.mark.parametrize("on_late", ["record", "fire"])
def test_p7_late_is_an_outcome_and_fires_when_asked(on_late: str) -> None:
    play = Play(JOBS | {"grace": 5, "on_late": on_late})
    fired = play.see("s 5", "x 17", until=60)
    assert fired == ([(20.0, "late", (1, 2), 15.0)] if on_late == "fire" else [])
    assert (20.0, "late", None) in play.said()


def test_p8_a_forgotten_key_is_deleted_and_armed_anew() -> None:
    play = Play(HOSTS | {"forget_after": 30})
    play.see("x 5", until=50)
    assert play.memory.states == {}
    assert play.said()[-1] == (45.0, "forgotten", None)
    assert play.see("x 60", until=71) == [(70.0, "missed", (2,), 70.0)]


def test_p8_a_key_is_forgotten_at_once_when_asked() -> None:
    play = Play(HOSTS)
    play.see("x 5", until=20)
    ((key, state),) = play.memory.states.items()
    judgement = play.memory.judge.forget(key, state, at_us=T0)
    assert judgement.changed == {key: None}
    assert [one.outcome for one in judgement.decisions][-1] is Outcome.FORGOTTEN


def test_s2_a_verdict_waits_for_settling_and_is_unknown() -> None:
    play = Play(HOSTS, outages=[(8, 20)])
    assert play.see("x 5", until=300) == [(80.0, "unknown", (1,), 15.0)]
    assert "nothing could be received from 2026-03-02T08:00:08Z to 2026-03-02T08:00:20Z" in play.firings[0].reason


def test_s2_what_is_delivered_again_while_settling_counts() -> None:
    play = Play(HOSTS, outages=[(8, 20)])
    play.see("x 5", "x 14 30", "x 24 31", "x 34 35", until=35)
    assert play.see("x 44", "x 53", until=60) == []


def test_s2_unknown_can_be_skipped() -> None:
    play = Play(HOSTS | {"on_unknown": "skip"}, outages=[(8, 20)])
    assert play.see("x 5", until=300) == []
    assert (80.0, "unknown", None) in play.said()


def test_s2_an_outage_while_the_verdict_waits_leaves_it_unknown() -> None:
    play = Play(HOSTS | {"grace": 20}, outages=[(20, 31)])
    assert play.see("x 5", until=300) == [(91.0, "unknown", (1,), 15.0)]


@pytest.mark.parametrize("kind", ["P1", "P2", "P3", "P4"])
def test_s3_each_window_ends_exactly_once_and_none_is_swept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[tuple[object, ...]] = []
    settle = Watch.settle

    def noted(machine: Watch, state: WatchState, count: int, ledger: Ledger, *, at_us: int) -> None:
        windows: list[Window] = state.history.now.windows[:count]
        settled.extend((ledger.state_key, one.opened_us, one.due_us, one.setter) for one in windows)
        settle(machine, state, count, ledger, at_us=at_us)

    monkeypatch.setattr(Watch, "settle", noted)
    for seed in range(60):
        memory, arrivals, until_us = prepared(random_history(seed, [kind]))
        settled.clear()
        decisions = []
        random = Random(seed)
        while arrivals:
            batch, arrivals = arrivals[: random.randint(1, 5)], arrivals[5:]
            decisions += memory.run(batch, until_us=None).decisions
            restart(memory)
        decisions += memory.run([], until_us=until_us + HOUR).decisions
        assert [key for key, times in Counter(settled).items() if times > 1] == []
        final = [one for one in decisions if one.seq is None and one.outcome in
                 {Outcome.MET, Outcome.LATE, Outcome.MISSED, Outcome.UNKNOWN, Outcome.CLOSED}]  # fmt: skip
        assert kind in ("P3", "P4") or len(final) == len(settled)
        for state in memory.states.values():
            assert isinstance(state, WatchState)
            assert state.history.now.windows == []

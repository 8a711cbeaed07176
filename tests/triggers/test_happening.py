"""What happens, by hand: counting, windows behind an `after`, composites (laws R1-R4, C1-C5, F1, F3)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from tests.triggers.scenario import NAME, T0, Play, armed, event, seconds
from tocsin.triggers.judge import Judge, Judgement
from tocsin.triggers.sequence import KEPT_MAX

THREE = {"expect": "x", "threshold": 3, "within": 10}
OPENED = {"expect": "x", "after": "s", "within": 10}


def test_r1_nothing_is_kept_where_nothing_is_counted() -> None:
    play = Play({"expect": "x"})
    assert play.see("x 1", "x 1") == [(1.0, "fired", (1,), None), (1.0, "fired", (2,), None)]
    assert play.memory.states == {}
    assert play.firings[0].chain == ()


def test_r2_a_quiet_key_says_until_when() -> None:
    play = Play({"expect": "x", "within": 10})
    play.see("x 1", "x 2")
    assert [one.text for one in play.decisions][1] == "quiet until 2026-03-02T08:00:11Z"


def test_r1_the_decision_counts_what_lies_together() -> None:
    play = Play(THREE)
    play.see("x 1", "x 2", "x 30")
    assert [one.text for one in play.decisions] == ["counted 1 of 3", "counted 2 of 3", "counted 1 of 3"]


def test_f3_a_firing_lists_a_thousand_events_at_most() -> None:
    play = Play({"expect": "x", "threshold": 1_500, "within": "1h"})
    ((_, _, events, _),) = play.see(*(f"x {n}" for n in range(1_500)))
    assert events == tuple(range(501, 1_501))


def test_f1_the_same_thing_judged_twice_has_the_same_id() -> None:
    first, second = Play(THREE), Play(THREE)
    for play in (first, second):
        play.see("x 1", "x 2", "x 3", "x 21", "x 22", "x 23")
    ids = [one.id for one in first.firings]
    assert ids == [one.id for one in second.firings]
    assert len(set(ids)) == 2


def test_f5_a_firing_carries_the_chain_of_the_event_that_decided() -> None:
    play = Play({"type": "compound", "triggers": [{"expect": "x"}, {"expect": "y"}]})
    arrivals = [event("y 1", 1), event("x 2", 2)]
    arrivals[1] = type(arrivals[1])(arrivals[1].event, 2, arrivals[1].received_us, arrivals[1].time_us, ("one", "two"))
    play.note(play.memory.run(arrivals, until_us=None))
    assert play.firings[0].chain == ("one", "two")
    assert play.firings[0].trigger_event == 2


def test_r4_an_event_that_is_both_never_counts_for_the_window_it_opens() -> None:
    play = Play({"expect": "x", "after": "x", "within": 10})
    assert play.see("x 1", "x 3", "x 20") == [(3.0, "fired", (1, 2), None)]
    assert play.said()[-1][1] == "opened"


def test_r4_says_what_is_remembered_and_what_opens_nothing() -> None:
    play = Play(OPENED | {"threshold": 2})
    play.see("x 1", "s 5", "s 6", "x 7")
    assert [outcome for _, outcome, _ in play.said()] == ["remembered", "opened", "ignored", "counted"]
    assert play.state.idle_since_us is None
    assert play.see("x 8") == [(8.0, "fired", (2, 4, 5), None)]
    assert seconds(play.state.idle_since_us) == 8


def test_r4_a_window_without_an_end_stays_open() -> None:
    play = Play({"expect": "x", "after": "s"})
    assert play.see("s 5", "s 900", "x 901") == [(901.0, "fired", (1, 3), None)]
    assert play.said()[0][1] == "opened"


def test_c1_silence_and_its_composite_come_at_the_same_moment() -> None:
    silent = {"type": "absence", "expect": "x", "within": 10}
    play = Play({"type": "compound", "triggers": [silent, {"expect": "y"}], "within": 60})
    assert play.see("y 5", until=20) == [(10.0, "fired", (1,), None)]
    assert play.firings[0].trigger_event is None


def test_c3_without_within_the_newest_hundred_are_kept() -> None:
    play = Play({"type": "sequence", "triggers": [{"expect": "a"}, {"expect": "b"}]})
    play.see(*(f"a {n}" for n in range(1, KEPT_MAX + 3)))
    assert play.see("b 2.5 200") == []
    assert play.see("b 3 201") == [(201.0, "fired", (3, KEPT_MAX + 4), None)]


def test_c3_one_event_completes_one_position() -> None:
    play = Play({"type": "sequence", "triggers": [{"expect": "a"}, {"expect": "a"}]})
    assert play.see("a 1", "a 2") == [(2.0, "fired", (1, 2), None)]


def test_c4_a_not_at_the_end_waits_and_survives_a_restart() -> None:
    silent = {"type": "not", "trigger": {"expect": "n"}}
    play = Play({"type": "sequence", "within": 10, "triggers": [{"expect": "a"}, {"expect": "b"}, silent]})
    play.see("a 1", "b 2", "b 3")
    for key, state in list(play.memory.states.items()):
        again = play.memory.judge.decode(key, state.encode())
        assert again is not None
        play.memory.states[key] = again
    assert play.see(until=20) == [(11.0, "fired", (1, 2), None)]


def test_c4_in_front_it_looks_back_as_far_as_it_says() -> None:
    front = {"type": "not", "trigger": {"expect": "n"}, "within": 5}
    play = Play({"type": "sequence", "triggers": [front, {"expect": "a"}, {"expect": "b"}]})
    assert play.see("n 1", "a 4", "b 5") == []
    assert play.see("a 6", "b 7") == [(7.0, "fired", (4, 5), None)]


def test_c4_without_within_it_looks_back_for_ever() -> None:
    play = Play({"type": "compound", "triggers": [{"expect": "a"}, {"type": "not", "trigger": {"expect": "n"}}]})
    assert play.see("a 1", "n 5", "n 4 6", "a 3 7", "a 4 8", "a 900") == [
        (1.0, "fired", (1,), None),
        (7.0, "fired", (4,), None),
    ]


def test_c4_what_is_found_out_while_a_sequence_waits_keeps_it_from_firing() -> None:
    silent = {"type": "not", "trigger": {"expect": "n"}}
    play = Play({"type": "sequence", "within": 10, "triggers": [{"expect": "a"}, silent, {"expect": "b"}, silent]})
    assert play.see("a 1", "b 3", "n 2 5", until=60) == []


def test_levels_are_asked_for_one_after_another() -> None:
    inner = {"type": "compound", "triggers": [{"expect": "a", "within": 1}, {"expect": "b", "within": 1}]}
    play = Play({"type": "sequence", "triggers": [inner, {"expect": "c", "within": 1}]})
    running = play.memory.judge.run([event("a 1", 1), event("b 2", 2), event("c 3", 3)], until_us=None)
    asked = [next(running)]
    try:
        while True:
            asked.append(running.send({}))
    except StopIteration as done:
        judgement: Judgement = done.value
    assert [len(keys) for keys in asked] == [3, 1, 1]
    assert [one.events for one in judgement.firings] == [(1, 2, 3)]
    assert set(judgement.changed) == set().union(*asked)


CHILDREN = (
    {"expect": "a"},
    {"expect": "b", "within": 30, "threshold": 2},
    {"type": "sequence", "triggers": [{"expect": "c"}, {"expect": "d"}]},
    {"type": "not", "trigger": {"expect": "n"}, "within": 20},
    {"type": "not", "trigger": {"expect": "m"}},
)


@pytest.mark.parametrize("seed", range(40))
def test_s4_children_in_another_order_find_what_was_kept(seed: int) -> None:
    random = Random(seed)
    require: str | int = random.choice(("any", "all", 2))
    texts = [f"{random.choice('aabbccddnm')} {second}" for second in range(1, 40)]
    play, moved = Play(compound(CHILDREN, require)), Play(compound(CHILDREN, require))
    assert any(text[0] in "nm" for text in texts)
    for text in texts:
        if random.random() < 0.3:
            reorder(moved, compound(random.sample(CHILDREN, k=len(CHILDREN)), require))
        assert moved.see(text) == play.see(text)


def compound(children: Sequence[dict[str, Any]], require: str | int) -> dict[str, Any]:
    return {"type": "compound", "require": require, "within": 60, "triggers": list(children)}


def reorder(play: Play, trigger: dict[str, Any]) -> None:
    """Go on with a definition that lists the children in another order, and what is stored."""
    before, judge = play.memory.judge, Judge([armed(trigger, T0)])
    assert judge.fingerprint(NAME) == before.fingerprint(NAME)
    for key, state in play.memory.states.items():
        again = judge.decode(key, state.encode())
        assert again is not None
        play.memory.states[key] = again
    play.memory.judge = judge

"""What is told of a trigger without reading it is what the trigger says, and it is judged the same."""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from tests.model.histories import histories
from tests.triggers.campaign import at_once, prepared
from tests.triggers.scenario import NAME, T0, TRIGGER, event
from tocsin.errors import JudgeFailed
from tocsin.schemas.trigger import Trigger
from tocsin.triggers.judge import Armed, Judge
from tocsin.triggers.nodes import Plan
from tocsin.triggers.simulate import Memory
from tocsin.triggers.sketch import Unread, sketch


def stored(trigger: Trigger) -> dict[str, Any]:
    """Return a trigger in the form in which it is stored."""
    data: dict[str, Any] = json.loads(json.dumps(trigger.model_dump(mode="json", exclude_unset=True)))
    return data


def unread(data: dict[str, Any]) -> Unread:
    return Unread(sketch(data), partial(TRIGGER.validate_python, data))


@settings(deadline=None, max_examples=120)
@given(histories())
def test_a_sketch_says_how_a_trigger_is_reached_and_whether_it_waits(history: Any) -> None:
    trigger = TRIGGER.validate_python(history[0])
    read = Plan(Armed(NAME, trigger, T0, 0), lateness_us=0)
    not_read = Plan(Armed(NAME, unread(stored(trigger)), T0, 0), lateness_us=0)
    assert not_read.reaches == read.reaches
    assert not_read._compiled is None
    states = Judge([Armed(NAME, trigger, T0, 0)]).arm(NAME)
    assert not_read.waits or not states
    assert [spot.id for spot in not_read.spots] == [spot.id for spot in read.spots]


@settings(deadline=None, max_examples=100)
@given(histories(stored=True))
def test_what_is_read_when_it_is_needed_is_judged_the_same(history: Any) -> None:
    memory, live, until_us = prepared(history)
    whole = at_once(history)
    armed = Armed(NAME, unread(stored(TRIGGER.validate_python(history[0]))), *_place(memory.judge))
    memory.judge = memory.judge.replace(armed=[armed])
    again = memory.run(live, until_us=until_us)
    assert again.firings == whole.firings
    assert again.decisions == whole.decisions


def _place(judge: Judge) -> tuple[int, int]:
    arming = judge.arming(NAME)
    return arming.armed_us, arming.armed_seq


def test_nothing_is_compiled_before_an_event_or_a_moment_concerns_it() -> None:
    read: list[int] = []

    def reading(number: int) -> Trigger:
        read.append(number)
        return TRIGGER.validate_python({"expect": f"x{number}"})

    armed = [
        Armed(f"a{number}", Unread(sketch({"expect": f"x{number}"}), partial(reading, number)), T0, 0)
        for number in range(10)
    ]
    memory = Memory(Judge(armed))
    assert read == []
    assert len(memory.run([event("x3 1", 1)], until_us=None).firings) == 1
    assert memory.judge.arm("a5") == {}
    assert read == [3]


def test_s5_what_can_not_be_read_is_set_aside_for_what_may_concern_it() -> None:
    def broken() -> Trigger:
        raise ValueError("a later version has stored it")

    memory = Memory(Judge([Armed("bad", Unread(sketch({"expect": "x"}), broken), T0, 0)]))
    with pytest.raises(JudgeFailed, match="a later version") as failed:
        memory.run([event("x 1", 1)], until_us=None)
    assert (failed.value.automation, failed.value.seq) == ("bad", 1)
    assert memory.run([event("x 1", 1)], until_us=None, excluded=[("bad", 1)]).firings == []
    assert memory.run([event("y 2", 2)], until_us=None).firings == []
    key = "bad\x1fnode\x1f[]"
    with pytest.raises(JudgeFailed) as failed:
        next(memory.judge.run([], until_us=T0, due=[key]))
    assert failed.value.state_key == key
    with pytest.raises(StopIteration):
        next(memory.judge.run([], until_us=T0, due=[key], excluded=[("bad", key)]))


def test_a_change_among_many_leaves_the_others_as_they_were() -> None:
    """The tables change their kind while they grow: all that was found before is found after."""
    dice = Random(3)
    numbers = list(range(2_000))
    armed = {n: Armed(f"a{n}", TRIGGER.validate_python({"expect": f"x{n}.*", "match": {"id": f"r{n}"}}), T0, 0)
             for n in numbers}  # fmt: skip
    judge = Judge(armed[n] for n in numbers[:1_000])
    for number in numbers[1_000:]:
        judge = judge.replace(armed=[armed[number]], removed=[f"a{number - 1_000}"])
    left = numbers[1_000:]
    for number in dice.sample(left, 50):
        seen = event(f"x{number}.y 1 id=r{number}", 1)
        assert len(Memory(judge).run([seen], until_us=None).firings) == 1
    assert not any(f"a{number}" in judge for number in numbers[:1_000])

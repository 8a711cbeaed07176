"""Effects inside our own database, lines in the log, and that no kind of action is declared but not done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actions.doubles import World, firing
from tocsin.actions.handlers import HANDLERS
from tocsin.actions.ports import Cause
from tocsin.errors import ActionFailed, NotFound
from tocsin.schemas.action import ACTION_TYPES

CAUSE = Cause("late", firing().id, ("first", "late"))


def test_every_type_of_action_is_performed() -> None:
    assert set(HANDLERS) == set(ACTION_TYPES)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"type": "pause-queue", "queue": "nightly"}, ("pause", "nightly", CAUSE)),
        ({"type": "resume-queue", "queue": "{{ 'nightly' }}"}, ("resume", "nightly", CAUSE)),
        ({"type": "pause-automation", "automation": "{{ automation.name }}"}, ("pause", "late", CAUSE)),
        ({"type": "resume-automation", "automation": "late"}, ("resume", "late", CAUSE)),
        ({"type": "pause-flow", "flow": "{{ 'backfill' }}"}, ("pause", "backfill", CAUSE)),
        ({"type": "resume-flow", "flow": "backfill"}, ("resume", "backfill", CAUSE)),
        ({"type": "cancel-run", "run": "r1"}, ("cancel", "r1", CAUSE)),
    ],
)
async def test_a_name_is_filled_in_and_the_cause_told(spec: dict[str, Any], line: tuple[Any, ...]) -> None:
    world = World()
    assert await world.act(spec) == {"done": line[0]}
    assert world.diary.lines == [line]


async def test_what_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFound):
        await World().act({"type": "pause-queue", "queue": "{{ labels.id }}"})


async def test_f4_the_run_of_an_effect_has_the_id_of_the_effect() -> None:
    world = World()
    call = world.call()
    parameters = {"table": "{{ labels.id }}", "due": "{{ firing.due }}", "n": "{{ events | length }}"}
    await world.act({"type": "run-flow", "flow": "backfill", "parameters": parameters}, call)
    filled = {"table": "table/sales", "due": "2026-05-28T22:16:40+02:00", "n": 1}
    assert world.diary.lines == [("start", "backfill", CAUSE, call.key, filled)]


async def test_f5_an_emitted_event_carries_the_chain() -> None:
    world = World()
    call = world.call()
    spec = {"type": "emit-event", "event": "table.late", "resource": {"id": "{{ labels.id }}"},
            "related": [{"id": "x", "role": "cause"}], "payload": {"at": "{{ firing.at }}"}}  # fmt: skip
    await world.act(spec, call)
    ((_, event, chain),) = world.diary.lines
    assert (event.event, event.resource, event.related) == (
        "table.late", {"id": "table/sales"}, [{"id": "x", "role": "cause"}],
    )  # fmt: skip
    assert (event.payload, event.id, event.source) == ({"at": "2026-05-28T22:26:40+02:00"}, call.key, "automation/late")
    assert chain == ("first", "late")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"event": "{{ 'tocsin' }}.x", "resource": {"id": "a"}}, "the engine's own"),
        ({"event": "x", "resource": {"id": "{{ labels.nothing }}"}}, "resource: .*`id`"),
        ({"event": "{{ labels.nothing }}", "resource": {"id": "a"}}, "event: "),
    ],
)
async def test_an_event_that_comes_out_wrong_is_a_permanent_failure(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ActionFailed, match=message) as failed:
        await World().act({"type": "emit-event"} | spec)
    assert failed.value.permanent


async def test_a_message_is_one_line_whatever_event_data_it_holds() -> None:
    world = World()
    call = world.call(firing=firing(labels={"id": "a\nERROR all is lost"}))
    assert await world.act({"type": "log", "message": "{{ labels.id }}", "level": "warning"}, call)
    ((level, message, fields),) = world.diary.lines
    assert (level, message) == ("warning", "a ERROR all is lost")
    assert fields == {"automation": "late", "firing": firing().id}

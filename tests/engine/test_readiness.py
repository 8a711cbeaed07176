"""A process is ready while it does what its own roles ask of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.engine.looks import ALL, NOW, behind, look
from tocsin.engine.evaluator import Progress
from tocsin.engine.readiness import Inside, Readiness, readiness_of
from tocsin.schemas.moments import SECOND

INSIDE = Inside(ALL, Progress(100, NOW, behind=False, next_us=None), 0, ("", ""), 10 * SECOND)


def ready(inside: Inside = INSIDE, **more: Any) -> Readiness:
    return readiness_of(look(**more), inside)


def of(*roles: str) -> Inside:
    return replace(INSIDE, roles=roles, progress=None)


def test_where_all_is_well_it_is_ready() -> None:
    found = ready()
    assert (found.ready, found.lag_s, found.unjudged, found.reason, found.problems) == (True, 0.0, 0, "", [])


def test_who_judges_is_not_ready_when_that_is_late() -> None:
    late = replace(INSIDE, progress=Progress(60, NOW - 45 * SECOND, behind=True, next_us=None))
    found = ready(late, **behind(45))
    assert (found.ready, found.lag_s, found.unjudged) == (False, 45.0, 40)
    assert found.reason == "judgement is 45 s late"


def test_moments_that_are_judged_late_count_as_events_do() -> None:
    late = replace(INSIDE, progress=Progress(100, NOW - 31 * SECOND, behind=True, next_us=None))
    assert ready(late).reason == "judgement is 31 s late"


def test_who_takes_events_is_ready_though_nobody_judges() -> None:
    assert ready(of("api"), **behind(3600)).ready
    assert not ready(of("api", "evaluator"), **behind(3600)).ready


def test_who_has_no_shards_yet_goes_by_what_is_stored() -> None:
    waiting = of("evaluator")
    assert ready(waiting, next_us=NOW - 31 * SECOND).reason == "judgement is 31 s late"
    assert ready(waiting, next_us=NOW + 31 * SECOND).ready


def test_a_log_whose_time_stands_still_makes_who_judges_unready() -> None:
    gone = {"received_us": NOW - 60 * SECOND}
    assert ready(of("evaluator"), **gone).reason == "no silence is judged: nobody could take events for 60 s"
    assert ready(of("dispatcher"), **gone).ready


def test_shards_that_nobody_takes_make_who_judges_unready() -> None:
    found = ready(INSIDE, **behind(60, free=(2,)))
    assert "nobody judges the shards 2" in found.problems
    assert ready(INSIDE, **behind(5, free=(2,)) | {"unjudged_us": None}).ready


def test_actions_that_nobody_performs_make_the_dispatcher_unready() -> None:
    overdue = {"due_us": NOW - 60 * SECOND}
    assert ready(of("dispatcher"), **overdue).reason == "actions are 60 s late"
    assert ready(of("evaluator"), **overdue).ready


@pytest.mark.parametrize("role", ALL)
def test_a_part_that_does_not_work_makes_any_process_unready(role: str) -> None:
    found = ready(replace(of(role), trouble=("", "the disk is full")))
    assert (found.ready, found.reason) == (False, "the disk is full")

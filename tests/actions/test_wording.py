"""What people are told when a definition does not say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actions.doubles import AUTOMATION, NOW, World, firing, placed
from tocsin.actions.wording import usual_body, usual_title
from tocsin.schemas.firing import Verdict
from tocsin.schemas.moments import HOUR

HEARTBEAT = {
    "type": "event", "posture": "Proactive", "expect": ["beat", "ping"], "after": ["up"], "within": "5m",
    "threshold": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({}, "late: table/sales missed"),
        ({"labels": {}}, "late: missed"),
        ({"labels": {"id": ""}, "verdict": Verdict.FIRED}, "late: fired"),
        ({"verdict": Verdict.RESOLVED}, "late: table/sales resolved"),
        ({"verdict": Verdict.UNKNOWN}, "late: table/sales not known"),
        ({"repeat": 2}, "late: table/sales still missed"),
        ({"labels": dict.fromkeys("abcd", "x"), "verdict": Verdict.LATE}, "late: x, x, x … late"),
    ],
)
def test_the_title_says_what_and_how_it_was_judged(more: dict[str, Any], title: str) -> None:
    assert usual_title(firing(**more)) == title


def test_the_body_says_why_since_when_what_was_expected_and_who_can_help() -> None:
    trigger = {"type": "deadline", "expect": ["table.updated"], "due": "0 9 * * 1-5", "timezone": "Europe/Berlin"}
    about = dict(AUTOMATION) | {"runbook": "https://a.example/run", "trigger": trigger}
    call = World().call(firing=firing(window_us=(NOW - HOUR, NOW)), automation=lambda: about)
    assert usual_body(call).splitlines() == [
        "nothing came",
        "What for: Too late.",
        "Expected: table.updated by 0 9 * * 1-5 (Europe/Berlin)",
        "Due: 2026-05-28 22:16:40+02:00",
        "Since: 2026-05-28 21:26:40+02:00",
        "Judged: 2026-05-28 22:26:40+02:00",
        "Severity: high",
        "Owner: team/sales",
        "Runbook: https://a.example/run",
    ]


def test_what_there_is_nothing_to_say_about_is_left_out() -> None:
    fired = firing(verdict=Verdict.FIRED, due_us=None)
    call = World().call(firing=fired, arrivals={1: placed()}, automation=lambda: None)
    assert usual_body(call).splitlines() == [
        "nothing came",
        "Since: 2026-05-28 20:26:39+00:00",
        "Judged: 2026-05-28 20:26:40+00:00",
        "Severity: medium",
    ]


def test_what_a_dead_mans_switch_expects_is_told() -> None:
    call = World().call(automation=lambda: dict(AUTOMATION) | {"trigger": HEARTBEAT})
    assert "Expected: 3 times beat or ping within 5m of up" in usual_body(call)


def test_a_single_name_is_said_as_it_is_written_without_a_list_around_it() -> None:
    trigger = HEARTBEAT | {"expect": "beat", "after": "up", "threshold": 1}
    call = World().call(automation=lambda: {"name": "late", "trigger": trigger})
    assert "Expected: beat within 5m of up" in usual_body(call).splitlines()

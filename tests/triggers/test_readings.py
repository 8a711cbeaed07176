"""What the laws leave open, worked by hand: the judge and the model read it alike.

Each case is one of "Readings of the laws" in ARCHITECTURE.md, or a history on which the two once differed. Events are
written `NAME OCCURRED [RECEIVED] [id=KEY]`, firings (at, verdict, due), all in seconds from T0.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from tests.model import judge as model
from tests.model.notation import moment
from tests.triggers.campaign import at_once
from tests.triggers.scenario import T0, seconds
from tocsin.schemas.moments import from_micros

START = from_micros(T0)
JOBS = {"type": "absence", "after": "s", "expect": "x", "within": 70, "lateness": 5}
BEATS = {"type": "absence", "expect": "x", "within": 30}
Said = list[tuple[float, str, float | None]]


class Case(NamedTuple):
    """A trigger, what arrives, and what it fires."""

    trigger: dict[str, Any]
    events: list[str]
    said: Said
    outages: list[tuple[float, float]] = []  # noqa: RUF012 - never changed
    until: float = 400


CASES = {
    "o4 an after that found the window open opens none when what met it came out of reach": Case(
        JOBS, ["s 40 50", "s 95", "x 75 95"], []
    ),
    "o4 an after at the deadline opens the next though the window is met later, out of reach": Case(
        JOBS | {"grace": 10}, ["s 40", "s 110", "x 75 111"], [(190, "missed", 180)]
    ),
    "o4 an after that found the window open opens none when what closed it came out of reach": Case(
        JOBS | {"until": "u", "reopen": True}, ["s 40", "s 95", "u 75 95"], []
    ),
    "p1 a window ends at the time of the event that meets it, though others in it are newer": Case(
        {"type": "absence", "after": "x", "expect": "x", "within": 70, "grace": 20, "lateness": 15, "threshold": 2},
        ["x 200", "x 240", "x 200 260"],
        [(290, "missed", 270)],
    ),
    "o2 what met a window at its very end takes back the next, settled or not": Case(
        {"type": "absence", "after": "s", "expect": "x", "within": 10, "grace": 40, "lateness": 120},
        ["s 5", "x 5 25", "s -5 55"],
        [],
    ),
    "o4 a deadline that lies in what is settled, and is not the current one, is no window": Case(
        BEATS | {"threshold": 2}, ["x 15", "x 65", "x 5 70", "x 70"],
        [(30, "missed", 30), (70, "resolved", None), (95, "missed", 45)],
    ),
    "o4 what is watched stays watched when an event from settled time moves it": Case(
        BEATS | {"within": 70, "threshold": 2}, ["x 35 55", "x 15 80", "x 35 110"],
        [(70, "missed", 70), (80, "resolved", None), (170, "missed", 105)],
    ),
    "o4 a window that was closed is settled at its moment: what comes late makes it no late one": Case(
        BEATS | {"grace": 40, "on_late": "fire", "until": "u"}, ["u 60", "x 45 75"], [], until=200
    ),
    "p6 what arrives behind an until sets no deadline under p3, and so misses none": Case(
        {"type": "absence", "expect": "x", "within": 20, "grace": 40, "on_late": "fire", "until": "u"},
        ["x 35", "u 50", "x 5 55"],
        [],
    ),
    "p5 of the repeats that an outage kept waiting one is said": Case(
        BEATS | {"repeat": 40}, [], [(30, "missed", 30), (70, "missed", 30), (260, "missed", 30), (270, "missed", 30)],
        outages=[(80, 200)], until=300,
    ),
    "t1 times that a gap of the clock moves to its end are one": Case(
        {"type": "schedule", "timezone": "Europe/Berlin", "rrule": "DTSTART:20260329T013000\nRRULE:FREQ=MINUTELY"},
        [], [], until=60,
    ),
    "o3 a stored event is offered to due times for which its key is not judged": Case(
        {"type": "deadline", "expect": "x", "due": "2-5 8 * * *", "window": 200, "for_each": ["id"]},
        ["x -10 -5", "x 125"], [(240, "missed", 240), (300, "missed", 300)], until=310,
    ),
}  # fmt: skip


def happened(place: int, text: str) -> dict[str, Any]:
    """Read one event."""
    name, *words = text.split()
    times = [START + timedelta(seconds=float(word)) for word in words if "=" not in word]
    key = next((word.partition("=")[2] for word in words if "=" in word), "a")
    return {"id": f"{place}", "event": name, "resource": {"id": key}, "occurred": times[0].isoformat(),
            "received": times[-1].isoformat()}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_judge_and_the_model_say_what_was_worked_by_hand(case: Case) -> None:
    log = [happened(place, text) for place, text in enumerate(case.events)]
    until = START + timedelta(seconds=case.until)
    gaps = [(START + timedelta(seconds=start), START + timedelta(seconds=end)) for start, end in case.outages]
    firings = at_once((case.trigger, log, START, until), gaps).firings
    assert [(seconds(one.at_us), str(one.verdict), seconds(one.due_us)) for one in firings] == case.said
    rows = model(case.trigger, log, START, until=until, outages=gaps)
    assert [(_seconds(row["at"]), row["verdict"], _seconds(row["due"])) for row in rows] == case.said


def _seconds(written: Any) -> float | None:
    return None if written is None else (moment(written) - START) / timedelta(seconds=1)

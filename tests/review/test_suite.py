"""The `tests:` section on a virtual clock."""

from __future__ import annotations

import json
from typing import Any

from tocsin.review.suite import Outcome, run
from tocsin.schemas.document import parse

SILENT = {"name": "silent", "trigger": {"type": "absence", "expect": "beat", "for_each": ["id"], "within": "5m"}}
COUNT = {"name": "count", "trigger": {"expect": "beat", "threshold": 2, "within": "1h"}}


def beat(clock: str, id: str = "a", **more: Any) -> dict[str, Any]:
    return {"at": f"2026-03-02T{clock}+01:00", "event": "beat", "resource": {"id": id}, **more}


def missed(clock: str, **more: Any) -> dict[str, Any]:
    return {"verdict": "missed", "at": f"2026-03-02T{clock}+01:00", **more}


def document(*cases: dict[str, Any]) -> str:
    named = [{"name": f"case {number}", "automation": "silent", **case} for number, case in enumerate(cases)]
    return json.dumps({"automations": [SILENT, COUNT], "tests": named})


def outcome(**case: Any) -> Outcome:
    (only,) = run(parse(document(case)))
    return only


def test_a_case_passes_when_all_firings_are_as_expected() -> None:
    assert outcome(
        events=[beat("08:00:00"), beat("08:04:00", "b")], end="2026-03-02T09:00:00+01:00",
        firings=[missed("08:05:00", labels={"id": "a"}, due="2026-03-02T08:05:00+01:00"), missed("08:09:00")],
    ).passed  # fmt: skip


def test_what_a_case_leaves_out_is_not_compared() -> None:
    assert outcome(events=[beat("08:00:00")], end="2026-03-02T09:00:00Z", firings=[{"verdict": "missed"}]).passed


def test_firings_of_one_moment_may_be_written_in_any_order() -> None:
    events = [beat("08:00:00", "a"), beat("08:00:00", "b")]
    for order in (["a", "b"], ["b", "a"]):
        firings = [missed("08:05:00", labels={"id": name}) for name in order]
        assert outcome(events=events, end="2026-03-02T09:00:00Z", firings=firings).passed
    vague_first = [{"verdict": "missed"}, missed("08:05:00", labels={"id": "a"})]
    assert outcome(events=events, end="2026-03-02T09:00:00Z", firings=vague_first).passed


def test_firings_of_different_moments_have_their_order() -> None:
    events = [beat("08:00:00", "a"), beat("08:01:00", "b")]
    firings = [missed("08:06:00", labels={"id": "b"}), missed("08:05:00", labels={"id": "a"})]
    assert not outcome(events=events, end="2026-03-02T09:00:00Z", firings=firings).passed


def test_a_firing_too_many_too_few_and_a_different_one_are_told_apart() -> None:
    end = "2026-03-02T09:00:00Z"
    (extra,) = outcome(events=[beat("08:00:00")], end=end, firings=[]).rows
    assert (extra.expected, extra.right) == (None, False)
    lacking = outcome(events=[beat("08:00:00")], firings=[missed("08:05:00")]).rows[0]
    assert (lacking.actual, lacking.right) == (None, False)
    (other,) = outcome(events=[beat("08:00:00")], end=end, firings=[missed("08:06:00", labels={"id": "b"})]).rows
    assert other.differs == ("at", "labels")


def test_events_are_known_by_their_ids_and_a_repeated_one_counts_once() -> None:
    """E2."""
    events = [beat("08:00:00", id="a"), beat("08:01:00"), beat("08:02:00")]
    for event, name in zip(events, ("1", "1", "2"), strict=True):
        event["id"] = name
    assert outcome(automation="count", events=events, firings=[{"verdict": "fired", "events": ["2", "1"]}]).passed


def test_start_arms_before_the_first_event() -> None:
    trigger = {"type": "absence", "expect": "beat", "within": "5m"}
    case = {"name": "c", "automation": "a", "start": "2026-03-02T08:00:00Z", "end": "2026-03-02T08:05:00Z"}
    text = json.dumps({"automations": [{"name": "a", "trigger": trigger}], "tests": [{**case, "firings": []}]})
    (only,) = run(parse(text))
    assert [row.actual.verdict for row in only.rows if row.actual] == ["missed"]

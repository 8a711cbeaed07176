"""Events: judged time, identity, labels (laws E1, E2, E4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tocsin.schemas.event import Event, arrival, label_text
from tocsin.schemas.moments import HOUR, to_micros

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NOW_US = to_micros(NOW)


def event(**more: Any) -> Event:
    return Event.model_validate({"event": "table.updated", "resource": {"id": "table/sales"}} | more)


@pytest.mark.parametrize(
    ("label", "written"),
    [("x", "x"), ("", ""), (1, "1"), (-2.5, "-2.5"), (1.0, "1.0"), (1e30, "1e+30"), (True, "true"), (False, "false")],
)
def test_e4_labels_are_written_as_json_writes_them(label: Any, written: str) -> None:
    assert event(resource={"id": "a", "k": label}).resource["k"] == written
    assert event(related=[{"id": "b", "role": "r", "k": label}]).related[0]["k"] == written


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (None, "is null"), ([], "is a list"), ({}, "is an object"), (float("nan"), "is not a finite number"),
        (float("inf"), "is not a finite number"), ("a\0b", "contains a NUL character"),
    ],
)  # fmt: skip
def test_e4_other_labels_are_refused(label: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        event(resource={"id": "a", "k": label})
    with pytest.raises(ValueError, match=says):
        label_text("k", label)


@pytest.mark.parametrize("resource", [{}, {"id": ""}, {"name": "x"}, None, "x", [], {"id": "a", 1: "x"}, {"id": None}])
def test_e4_a_resource_has_an_id_and_labels_have_names(resource: Any) -> None:
    with pytest.raises(ValidationError):
        event(resource=resource)


@pytest.mark.parametrize("related", [{"id": "a"}, {"role": "r"}, {"id": "", "role": "r"}, {"id": "a", "role": ""}])
def test_e4_what_is_related_has_an_id_and_a_role(related: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"needs the label `(id|role)`, not empty"):
        event(related=[{"id": "a", "role": "r"}, related])


def test_e4_what_was_written_for_prefect_loses_its_prefix() -> None:
    given = {"prefect.resource.id": "flow/1", "prefect.resource.name": "etl", "prefect.other": "x"}
    assert event(resource=given).resource == {"id": "flow/1", "name": "etl", "prefect.other": "x"}
    role = {"prefect.resource.id": "a", "prefect.resource.role": "flow"}
    assert event(related=[role]).related == [{"id": "a", "role": "flow"}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": ""}, {"event": None}, {"id": ""}, {"id": "x" * 256}, {"id": "a\0"}, {"source": "x" * 256},
        {"event": "a\0b"},
        {"follows": ""}, {"follows": "a\0"}, {"occurred": "2026-03-02T08:00:00"}, {"occurred": datetime(2026, 3, 2)},  # noqa: DTZ001
        {"occurred": 5}, {"unknown": 1}, {"payload": object()}, {"related": {}},
    ],
)  # fmt: skip
def test_what_is_not_an_event_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        event(**wrong)


def test_an_event_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event().event = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("occurred", "judged_us"),
    [(None, NOW_US), (NOW, NOW_US), (NOW - timedelta(hours=1), NOW_US - HOUR), (NOW + timedelta(hours=1), NOW_US)],
)
def test_e1_nothing_happens_after_it_was_received(occurred: datetime | None, judged_us: int) -> None:
    placed = arrival(event(occurred=occurred), seq=1, received_us=NOW_US)
    assert placed.time_us == judged_us
    assert placed.document()["occurred"] == ("2026-03-02T07:00:00Z" if judged_us < NOW_US else "2026-03-02T08:00:00Z")


def test_an_event_is_shown_with_its_place_and_times() -> None:
    placed = arrival(event(id="e1", source="shop", payload={"n": 1}), seq=7, received_us=NOW_US)
    assert placed.document() == {
        "id": "e1", "event": "table.updated", "resource": {"id": "table/sales"}, "related": [], "payload": {"n": 1},
        "occurred": "2026-03-02T08:00:00Z", "received": "2026-03-02T08:00:00Z", "source": "shop", "follows": None,
        "seq": 7,
    }  # fmt: skip

"""Check-ins: what a call of `/ping/KEY` says."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.errors import InvalidEvent, NotFound
from tocsin.schemas.event import Event
from tocsin.schemas.source import CheckinSource
from tocsin.sources.checkin import checkin
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request

SPEC = CheckinSource.model_validate({"name": "nightly-backup", "type": "checkin", "key": "4f1c"})
PARSER = NativeParser(Limits())


def ping(signal: str = "", **parts: Any) -> Event:
    (event,) = checkin(SPEC, signal, Request(source=SPEC.name, **parts), parser=PARSER)
    return event


@pytest.mark.parametrize(
    ("signal", "name", "payload"),
    [
        ("", "checkin.ok", {}),
        ("start", "checkin.started", {}),
        ("fail", "checkin.failed", {}),
        ("0", "checkin.ok", {"exit_status": 0}),
        ("1", "checkin.failed", {"exit_status": 1}),
        ("255", "checkin.failed", {"exit_status": 255}),
    ],
)
def test_a_check_in_says_how_it_went(signal: str, name: str, payload: dict[str, int]) -> None:
    event = ping(signal)
    assert (event.event, event.payload, event.source) == (name, payload, "nightly-backup")
    assert event.resource == {"id": "checkin/4f1c", "name": "nightly-backup"}


@pytest.mark.parametrize("signal", ["256", "1000", "-1", "\u0663", "ok", "start/x"])
def test_any_other_signal_is_not_found(signal: str) -> None:
    with pytest.raises(NotFound, match="is no check-in"):
        ping(signal)


def test_a_run_id_pairs_the_start_and_the_end_of_a_run() -> None:
    assert ping("start", query={"rid": "r1"}).resource["rid"] == ping(query={"rid": "r1"}).resource["rid"] == "r1"
    with pytest.raises(InvalidEvent, match="NUL"):
        ping(query={"rid": "a\0"})


def test_the_end_of_what_the_job_wrote_is_kept() -> None:
    payload = ping("1", body=b"x" * 20_000 + b"\0\xff disk full").payload
    assert isinstance(payload, dict)
    output = payload["output"]
    assert isinstance(output, str)
    assert output.endswith("\ufffd\ufffd disk full")
    assert len(output) == 10_000

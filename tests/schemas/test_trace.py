"""W3C Trace Context: what is read, and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.actions.doubles import firing, placed
from tocsin.schemas import trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the example of the standard


def test_a_traceparent_is_read_and_written() -> None:
    assert str(trace.read(PARENT)) == PARENT
    assert str(trace.read(f" {PARENT[:-1]}0 ")) == f"{PARENT[:-1]}0"


def test_what_a_later_version_adds_is_left_out() -> None:
    assert str(trace.read(f"cc{PARENT[2:]}-what-the-future-will-be-like")) == PARENT


@pytest.mark.parametrize(
    "text",
    [
        None, "", "00", PARENT.upper(), PARENT + "-x", "ff" + PARENT[2:], PARENT[:-1], PARENT.replace("0af", "0ax"),
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", "\u0660" * 55,
    ],
)  # fmt: skip
def test_what_is_wrong_is_as_if_it_were_missing(text: str | None) -> None:
    assert trace.read(text) is None


def test_a_firing_goes_on_in_the_trace_of_the_event_that_decided() -> None:
    events = {1: placed(1), 2: replace(placed(2), trace=PARENT)}
    decided = firing(events=(1, 2), trigger_event=2)
    judged = trace.of_firing(decided, events)
    assert (judged.trace_id, judged.flags) == ("0af7651916cd43dd8448eb211c80319c", 1)
    assert judged.span_id != "b7ad6b7169203331"
    assert judged == trace.of_firing(decided, events)


def test_a_verdict_about_silence_has_a_trace_of_its_own() -> None:
    silent = firing(trigger_event=None)
    span = trace.of_firing(silent, {1: replace(placed(), trace=PARENT)})
    assert span.trace_id == silent.id.replace("-", "")
    assert trace.read(str(span)) == span


def test_every_attempt_has_a_span_of_its_own() -> None:
    judged = trace.of_firing(firing(), {})
    spans = {trace.of_attempt(judged, intent, attempt) for intent in "ab" for attempt in (1, 2)}
    assert len(spans) == 4
    assert {span.trace_id for span in spans} == {judged.trace_id}

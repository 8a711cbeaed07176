"""Where something stands in a trace: W3C Trace Context, with ids that are derived from what is judged and done.

An event comes with the `traceparent` of its request. What it leads to has spans whose ids follow from the ids of the
firing and the action: so whoever judges and whoever acts, in one process or in many, before and after a restart, agree
on them without telling each other.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing

TRACEPARENT = "traceparent"
"""The header, and the attribute of CloudEvents."""

SAMPLED = 1
"""The flag that says that spans of the trace are kept."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Span(NamedTuple):
    """One place in a trace; `str` writes it as `traceparent` does."""

    trace_id: str
    span_id: str
    flags: int

    def __str__(self) -> str:
        """Return it as the header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self, *ids: object) -> Span:
        """Return the place of what is done within this span and known by these ids."""
        return Span(self.trace_id, _derived(*ids), self.flags)


def read(text: str | None) -> Span | None:
    """Return what a `traceparent` says; None if it is missing or wrong, as the standard wants it."""
    found = _TRACEPARENT.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Span(trace_id, span_id, int(flags, 16) & SAMPLED)


def of_firing(firing: Firing, arrivals: Mapping[int, Arrival]) -> Span:
    """Return the span of a firing: in the trace of the event that decided, or in one of its own."""
    cause = arrivals.get(firing.trigger_event) if firing.trigger_event is not None else None
    if cause is not None and (span := read(cause.trace)) is not None:
        return span.child("judge", firing.id)
    return Span(uuid.UUID(firing.id).hex, _derived("judge", firing.id), SAMPLED)


def of_attempt(firing: Span, intent: str, attempt: int) -> Span:
    """Return the span of an attempt at an action of a firing."""
    return firing.child("act", intent, attempt)


def _derived(*ids: object) -> str:
    return hashlib.blake2b("\0".join(map(str, ids)).encode(), digest_size=8).hexdigest()

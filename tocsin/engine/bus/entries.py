"""What an entry of the stream is, and what is read from it; nothing that stands in a stream makes this raise.

Ours have the one field that FastStream writes, with a header `tocsin` that names kind and version: `events/1`, a JSON
array of events with their ids, or `beat/1`, which has no body and says only that events could be received at its time.
Anybody else may add a native event, or an array of them, as JSON in a field `data` (and `traceparent`), or publish it
through FastStream; it is held to what `POST /api/events` asks for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from faststream.redis.message import bDATA_KEY
from faststream.redis.parser import BinaryMessageFormatV1
from pydantic import TypeAdapter

from tocsin.errors import TocsinError
from tocsin.schemas.event import RESERVED, Event, identified, read_deep
from tocsin.schemas.identity import uuid7_of
from tocsin.schemas.moments import Micros
from tocsin.sources.native import NativeParser

log = logging.getLogger(__name__)

EVENTS, BEAT = "events/1", "beat/1"
KIND_HEADER, TRACE_HEADER = "tocsin", "traceparent"
DATA_FIELD, TRACE_FIELD = b"data", b"traceparent"

Fields = Mapping[bytes, bytes]
"""The fields of an entry, as Redis has them."""

_EVENTS = TypeAdapter(list[Event])
_write = _EVENTS.serializer.to_json
_read = _EVENTS.validator.validate_json


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry is no event, and what came."""

    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that was read: events, a beat (no events), or something that is refused; `time_us` is the stream's."""

    id: bytes
    time_us: Micros
    events: list[Event] = field(default_factory=list)
    trace: str | None = None
    refused: Refused | None = None


def place_of(entry_id: bytes) -> tuple[int, int]:
    """Return an entry's id (`b"MILLISECONDS-NUMBER"`) as what can be compared."""
    millis, _, number = entry_id.partition(b"-")
    return int(millis), int(number or 0)


def time_of(entry_id: bytes) -> Micros:
    """Return the moment at which Redis took an entry, to the millisecond."""
    return place_of(entry_id)[0] * 1000


def written(events: Sequence[Event]) -> bytes:
    """Return the body of an entry with these events, which have ids."""
    return _write(events)


def headers_of(kind: str, trace: str | None = None) -> dict[str, str]:
    """Return the headers of an entry of ours."""
    # FastStream counts characters where it should count bytes, so nothing else than ASCII is given to it.
    return {KIND_HEADER: kind} if trace is None or not trace.isascii() else {KIND_HEADER: kind, TRACE_HEADER: trace}


def read_entry(entry_id: bytes, fields: Fields | None, parser: NativeParser) -> Entry:
    """Return what an entry says; `parser` knows what is taken from others. It never raises."""
    time_us = time_of(entry_id)
    fields = fields or {}
    packed = fields.get(bDATA_KEY)
    body, trace, kind = fields.get(DATA_FIELD), _text(fields.get(TRACE_FIELD)), None
    if packed is not None:
        body, headers = BinaryMessageFormatV1.parse(packed)
        if isinstance(headers, dict):
            kind, trace = headers.get(KIND_HEADER), headers.get(TRACE_HEADER)
    if kind == BEAT:
        return Entry(entry_id, time_us)
    if body is None:
        names = ", ".join(repr(_text(name)) for name in list(fields)[:10]) or "nothing"
        reason = f"has no field `data` with a JSON event, but {names}"
        return Entry(entry_id, time_us, refused=Refused(reason, _kept(fields)))
    trace = trace if isinstance(trace, str) and trace.isascii() else None
    if kind not in (EVENTS, None):
        reason = f"is of the kind {kind!r}, which this version does not know: run a newer recorder"
        return Entry(entry_id, time_us, refused=Refused(reason, body))
    try:
        events = _theirs(entry_id, body, parser) if kind is None else _ours(body)
    except (TocsinError, ValueError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, TocsinError) else "is not what it says that it is"
        return Entry(entry_id, time_us, refused=Refused(reason, body))
    except MemoryError:  # it is not the entry's fault: it stays in the stream for a process that has some
        raise
    except Exception:  # whatever it is, one entry does not take its batch along
        log.exception("the entry %s of the bus could not be read; it is kept as refused", entry_id.decode())
        return Entry(entry_id, time_us, refused=Refused("could not be read, see the log", body))
    return Entry(entry_id, time_us, events, trace)


def _ours(body: bytes) -> list[Event]:
    """Return events that a publisher has checked: its limits may have been other ones than those here."""
    try:
        events: list[Event] = _read(body)
    except ValueError:  # what was not parsed from JSON on its way in may be nested deeper than that parser goes
        events = [read_deep(document) for document in json.loads(body)]
    if any(event.id is None or event.event.startswith(RESERVED) for event in events):
        raise ValueError
    return events


def _theirs(entry_id: bytes, body: bytes, parser: NativeParser) -> list[Event]:
    """Return events that others have added; what comes without an id gets one that is always the same (law E2)."""
    events = parser.parse(body)
    if all(event.id is not None for event in events):
        return events
    digest = hashlib.sha256(entry_id + b" " + body)
    named = []
    for index, event in enumerate(events):
        if event.id is None:
            own = digest.copy()
            own.update(b"%d" % index)
            event = identified(event, uuid7_of(time_of(entry_id), own.digest()[:8]))  # noqa: PLW2901
        named.append(event)
    return named


def _kept(fields: Fields) -> bytes:
    return json.dumps({_text(name): _text(value) for name, value in fields.items()}).encode()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")

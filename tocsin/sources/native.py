"""Native events from bytes: one JSON object, a JSON array, or lines of JSON (laws E3, E4).

All or nothing: either every event of a body is right, or the error names what is wrong with which of them.
The work is pydantic-core's; what its schema can not say (limits that are settings, the engine's own names,
numbers and characters that a database can not keep) is checked afterwards, and costs little while all is well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json

from tocsin.errors import NotJSON, Problem, TooLarge
from tocsin.schemas.event import OWN_SOURCE, RESERVED, Event
from tocsin.sources.limits import Limits
from tocsin.sources.problems import explained, field_name, refused

_BOM = b"\xef\xbb\xbf"


class NativeParser:
    """Turns bodies into events; built once, since the limits are part of the compiled validators."""

    def __init__(self, limits: Limits) -> None:
        """Compile the validators."""
        self.limits = limits
        self._one = TypeAdapter(Event).validator.validate_json
        self._many = TypeAdapter(Annotated[list[Event], Field(max_length=limits.batch_events)]).validator.validate_json

    def parse(self, body: bytes) -> list[Event]:
        """Return the events of a JSON object or array.

        Raises:
            NotJSON: the body is not JSON, is nested too deeply, or holds half a surrogate pair.
            TooLarge: the body, an event or their number exceeds its limit.
            InvalidEvent: at least one event is wrong: its fields, a name that is the engine's own, a limit, or a
                payload that holds what can not be kept.
        """
        self._check_size(body)
        body = body.removeprefix(_BOM)
        if body.lstrip()[:1] == b"[":
            return self._admit(self._array(body), raw=body)
        return self._admit([self._object(body)], raw=body)

    def parse_lines(self, body: bytes) -> list[Event]:
        """Return the events of a body with one JSON object a line (NDJSON); empty lines do not count.

        Raises:
            NotJSON: a line is not JSON; the message names it.
            TooLarge, InvalidEvent: as in `parse`.
        """
        self._check_size(body)
        lines = [(number, line) for number, line in enumerate(body.removeprefix(_BOM).split(b"\n"), 1) if line.strip()]
        if len(lines) > self.limits.batch_events:
            raise self._too_many(len(lines))
        events: list[Event] = []
        problems: list[Problem] = []
        for index, (number, line) in enumerate(lines):
            try:
                events.append(self._one(line))
            except ValidationError as error:
                try:
                    problems += explained(error, index=index)
                except NotJSON as broken:
                    raise NotJSON(f"line {number}: {broken}") from None
        if problems:
            raise refused(problems)
        return self._admit(events, raw=body)

    def _admit(self, events: list[Event], *, raw: bytes) -> list[Event]:
        """Return the events when they may enter the log; `raw` is the JSON that they were read from."""
        if len(raw) > self.limits.event_bytes:
            self._check_events(events)
        found = [
            (index, field, message)
            for index, event in enumerate(events)
            for field, message in self._beyond_schema(event)
        ]
        if not _is_keepable(events, raw):
            found += [
                (index, field, message)
                for index, event in enumerate(events)
                for field, message in _unkeepable(event.payload, ("payload",))
            ]
        if found:
            raise refused([Problem(message, field, index) for index, field, message in found])
        return events

    def _object(self, body: bytes) -> Event:
        try:
            event: Event = self._one(body)
        except ValidationError as error:
            raise refused(explained(error, index=0)) from None
        return event

    def _array(self, body: bytes) -> list[Event]:
        try:
            events: list[Event] = self._many(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            if first["type"] == "too_long" and not first["loc"]:
                raise self._too_many(first["ctx"]["actual_length"]) from None
            raise refused(explained(error)) from None
        return events

    def _check_size(self, body: bytes) -> None:
        if len(body) > self.limits.batch_bytes:
            raise TooLarge(f"the body has {len(body)} bytes, at most {self.limits.batch_bytes} are taken: send several")

    def _check_events(self, events: Sequence[Event]) -> None:
        for index, event in enumerate(events):
            if (size := len(event.__pydantic_serializer__.to_json(event))) > self.limits.event_bytes:
                raise TooLarge(
                    f"event {index} has {size} bytes, at most {self.limits.event_bytes} are taken:"
                    " put what is large elsewhere and send where it is"
                )

    def _too_many(self, count: int) -> TooLarge:
        return TooLarge(f"the body has {count} events, at most {self.limits.batch_events} are taken: send several")

    def _beyond_schema(self, event: Event) -> list[tuple[str, str]]:
        """Return field and message of what the settings and law F5 forbid."""
        limits, found = self.limits, []
        if len(event.event) > limits.name_chars:
            found.append(("event", f"must not be longer than {limits.name_chars} characters"))
        if event.event.startswith(RESERVED):
            found.append(("event", f"names that start with `{RESERVED}` are the engine's own: choose another"))
        if event.source == OWN_SOURCE:
            found.append(("source", f"`{OWN_SOURCE}` is the engine's own: choose another"))
        if len(event.resource) > limits.labels:
            found.append(("resource", _too_many_labels(event.resource, limits)))
        if event.related:
            if len(event.related) > limits.related:
                found.append(("related", f"has {len(event.related)} resources, at most {limits.related} are taken"))
            found += [
                (f"related[{position}]", _too_many_labels(labels, limits))
                for position, labels in enumerate(event.related)
                if len(labels) > limits.labels
            ]
        return found


def _too_many_labels(labels: dict[str, str], limits: Limits) -> str:
    return f"has {len(labels)} labels, at most {limits.labels} are taken"


def _is_keepable(events: Sequence[Event], raw: bytes) -> bool:
    """Return whether nothing looks like a NUL, a NaN or an infinity (which is what 1e999 was read as)."""
    written = to_json([event.payload for event in events], inf_nan_mode="constants")
    return not (b"\\u0000" in raw or b"NaN" in written or b"Infinity" in written)


def _unkeepable(value: JsonValue, place: tuple[int | str, ...]) -> list[tuple[str, str]]:
    """Return field and message of every value below that a database or a JSON reader would not take back."""
    if isinstance(value, str):
        return [(field_name(place), "contains a NUL character: remove it")] if "\0" in value else []
    if isinstance(value, float) and not math.isfinite(value):
        return [(field_name(place), "is not a finite number: JSON knows neither NaN nor infinity")]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _unkeepable(item, (*place, index))]
    if isinstance(value, dict):
        names = [
            (field_name(place), f"has the key {key!r} with a NUL character: remove it") for key in value if "\0" in key
        ]
        return names + [found for key, item in value.items() for found in _unkeepable(item, (*place, key))]
    return []

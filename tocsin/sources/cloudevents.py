"""CloudEvents over HTTP, in all three content modes.

`source` -> source, `id` -> id, `type` -> event, `subject` -> resource.id (else `source`), `time` -> occurred, `data` ->
payload; what is left (`dataschema` and extension attributes) become labels of the resource, and so does `source`, to
match by. `traceparent` (the extension "Distributed Tracing") is where the event stands in a trace, and no label.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, .../formats/json-format.md and
.../bindings/http-protocol-binding.md, .../extensions/distributed-tracing.md
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from pydantic_core import to_json

from tocsin.errors import InvalidEvent, NotJSON, Problem
from tocsin.schemas.event import Event
from tocsin.sources.native import NativeParser
from tocsin.sources.problems import refused
from tocsin.sources.request import Request, read_json

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
VERSION = "specversion"

_PREFIX = "ce-"
_NUL = "\0"  # no text that an event may carry, and in UTF-8 all the same
_REQUIRED = ("id", "source", "type")
_TRACE = ("traceparent", "tracestate")
_NOT_LABELS = frozenset({VERSION, "id", "type", "subject", "time", "datacontenttype", "data", "data_base64", *_TRACE})
_ATTRIBUTES: Mapping[str, str] = {
    "event": "type",
    "resource.id": "subject",
    "occurred": "time",
    "payload": "data",
}


def is_cloudevent(media_type: str, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request is a CloudEvent; `media_type` is its content type without parameters."""
    return media_type in (STRUCTURED, BATCHED) or b"ce-specversion" in headers


def parse(request: Request, parser: NativeParser) -> tuple[list[Event], str | None]:
    """Return the events of a request in binary, structured or batched mode, and the `traceparent` that they share.

    Events of one batch that stand in different traces have none in common: then it is None, as when they have none.

    Raises:
        NotJSON: the body is not what its content type says.
        TooLarge: an event or their number exceeds its limit.
        InvalidEvent: at least one is not a CloudEvent 1.0; problems name its attributes.
    """
    if request.media_type == BATCHED:
        batch = read_json(request.body)
        if not isinstance(batch, list):
            raise refused([Problem("a batch of CloudEvents is a JSON array")])
    elif request.media_type == STRUCTURED:
        batch = [read_json(request.body)]
    else:
        batch = [_binary(request)]
    problems = [problem for index, item in enumerate(batch) for problem in _missing(item, index)]
    if problems:
        raise refused(problems)
    traces = {str(item.get(_TRACE[0]) or "") for item in batch}
    try:
        events = parser.parse(to_json([_event(item) for item in batch], inf_nan_mode="constants"))
    except InvalidEvent as error:
        raise InvalidEvent([_in_their_words(problem) for problem in error.problems]) from None
    return events, (traces.pop() or None) if len(traces) == 1 else None


def _binary(request: Request) -> dict[str, Any]:
    """Return the attributes that stand in headers, percent-encoded, and the body as `data`."""
    attributes: dict[str, Any] = {
        name.removeprefix(_PREFIX): unquote(value)
        for name, value in request.headers.items()
        if name.startswith(_PREFIX)
    }
    if request.body:
        attributes["data"] = _data(request.body, request.media_type)
    return attributes


def _data(body: bytes, media_type: str) -> Any:
    """Return JSON as what it says, text as a string, and anything else in base64."""
    if not media_type or media_type.endswith(("/json", "+json")):
        return read_json(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = _NUL
    return {"data_base64": base64.b64encode(body).decode()} if _NUL in text else text


def _missing(item: Any, index: int) -> list[Problem]:
    if not isinstance(item, dict):
        return [Problem("a CloudEvent is a JSON object", index=index)]
    problems = [
        Problem("is required, and not empty", field=name, index=index) for name in _REQUIRED if not item.get(name)
    ]
    if item.get(VERSION) != "1.0":
        problems.append(Problem(f"is {item.get(VERSION)!r}: only '1.0' is known", field=VERSION, index=index))
    return problems


def _event(item: dict[str, Any]) -> dict[str, Any]:
    labels = {name: value for name, value in item.items() if name not in _NOT_LABELS and value is not None}
    event = {
        "event": item["type"],
        "source": item["source"],
        "id": item["id"],
        "resource": {**labels, "id": item.get("subject") or item["source"]},
        "occurred": item.get("time"),
    }
    if "data_base64" in item:
        event["payload"] = _decoded(item["data_base64"], str(item.get("datacontenttype") or ""))
    elif "data" in item:
        event["payload"] = item["data"]
    return event


def _decoded(text: Any, media_type: str) -> Any:
    try:
        body = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise NotJSON("`data_base64` is not base64") from None
    return _data(body, media_type.partition(";")[0].strip().lower() or "application/octet-stream")


def _in_their_words(problem: Problem) -> Problem:
    return Problem(problem.message, field=_ATTRIBUTES.get(problem.field, problem.field), index=problem.index)

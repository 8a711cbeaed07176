"""What is wrong with an event, in words for its sender."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tocsin.errors import InvalidEvent, NotJSON, Problem
from tocsin.schemas.event import Event

LISTED_MAX = 20
"""The most problems that one answer lists; how many more there are is said."""

_WORDS = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "dict_type": "must be an object of labels",
    "list_type": "must be a list",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "timezone_aware": "needs a zone, as in 2026-11-20T08:57:02Z or 2026-11-20T09:57:02+01:00",
    "datetime_type": "must be a time as ISO 8601 with a zone, as in 2026-11-20T08:57:02Z",
}


def refused(problems: Sequence[Problem]) -> InvalidEvent:
    """Return the error for these problems, listing the first of them and counting the others."""
    listed = list(problems[:LISTED_MAX])
    if more := len(problems) - len(listed):
        listed.append(Problem(f"and {more} more problem{'s' if more > 1 else ''}"))
    return InvalidEvent(listed)


def explained(error: ValidationError, *, index: int | None = None) -> list[Problem]:
    """Translate pydantic's findings about the event with this index, or about a list of events.

    Raises:
        NotJSON: the input is not JSON at all, or JSON that can not be kept.
    """
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        raise NotJSON(_not_json(details[0]["msg"]))
    return [_problem(detail, index) for detail in details]


def _not_json(message: str) -> str:
    reason = message.removeprefix("Invalid JSON: ")
    if "hex escape" in reason or "surrogate" in reason:
        reason += " (a \\uD800 to \\uDFFF escape needs its other half)"
    return f"the body is not JSON: {reason}"


def _problem(detail: ErrorDetails, index: int | None) -> Problem:
    place: Sequence[int | str] = detail["loc"]
    if index is None and place and isinstance(place[0], int):
        index, place = place[0], place[1:]
    inner = detail.get("ctx", {}).get("place", ())
    return Problem(_sentence(detail), field=field_name([*place, *inner]), index=index)


def _sentence(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return "is not a field of an event" + _nearest(str(detail["loc"][-1]))
    if kind == "string_too_long":
        return f"must not be longer than {context['max_length']} characters"
    if kind.startswith("datetime_") and kind != "datetime_type":
        return f"is not a time: {context.get('error', detail['msg'])}"
    return _WORDS.get(kind) or detail["msg"].removeprefix("Value error, ")


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, Event.model_fields, n=1)
    return f": did you mean `{near[0]}`?" if near else ": put what is your own into `payload`"


def field_name(place: Iterable[int | str]) -> str:
    """Return a place as people write it: `related[0].role`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")

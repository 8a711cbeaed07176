"""Requests of any shape to events, by JMESPath expressions that a definition gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.errors import Problem
from tocsin.schemas.expression import Expression, ExpressionFailed, compile_expression
from tocsin.schemas.source import EventMapping
from tocsin.sources.problems import refused
from tocsin.sources.request import Request
from tocsin.sources.times import moment

ITEMS_MAX = 10_000
"""The most items that `each` may find in one request."""

_SHOWN_CHARS = 80

Take = Callable[[Any], Any]
"""Brings what an expression found into the form of its field; the ValueError that it raises says what is needed."""


class Mapping:
    """A compiled `event:` of a webhook source."""

    def __init__(self, spec: EventMapping) -> None:
        """Compile the expressions."""
        self._each = compile_expression(spec.each) if spec.each is not None else None
        payload = spec.payload or ("body" if spec.each is None else "item")
        texts = {"event": spec.event, "payload": payload, "id": spec.id, "occurred": spec.occurred}
        self._fields = {name: compile_expression(text) for name, text in texts.items() if text is not None}
        self._resource = {name: compile_expression(text) for name, text in spec.resource.items()}
        self._related = [{name: compile_expression(text) for name, text in labels.items()} for labels in spec.related]

    def events(self, request: Request) -> list[dict[str, Any]]:
        """Return the events of a request as JSON that still has to be checked.

        Raises:
            InvalidEvent: an expression failed, or found what its field can not take.
            NotJSON, TooLarge: the body can not be read.
        """
        document = request.document()
        problems: list[Problem] = []
        if self._each is None:
            events = [self._event(_Reading(document, 0, problems))]
        else:
            items = _Reading(document, None, problems).take("each", self._each, _items) or []
            events = [
                self._event(_Reading({**document, "item": item}, index, problems)) for index, item in enumerate(items)
            ]
        if problems:
            raise refused(problems)
        return events

    def _event(self, reading: _Reading) -> dict[str, Any]:
        event = {name: reading.take(name, expression, _TAKES[name]) for name, expression in self._fields.items()}
        related = [reading.labels(labels, place=f"related[{at}]") for at, labels in enumerate(self._related)]
        event["resource"] = reading.labels(self._resource, place="resource")
        event["related"] = [labels for labels in related if "id" in labels]
        return {name: value for name, value in event.items() if value is not None or name == "payload"}


class _Reading:
    """One pass of the expressions over one document, collecting what goes wrong."""

    def __init__(self, document: dict[str, Any], index: int | None, problems: list[Problem]) -> None:
        self._document = document
        self._index = index
        self._problems = problems

    def labels(self, expressions: dict[str, Expression], *, place: str) -> dict[str, Any]:
        """Return labels; one for which nothing was found is left out."""
        found = {
            name: self.take(f"{place}.{name}", expression, _id if (place, name) == ("resource", "id") else _label)
            for name, expression in expressions.items()
        }
        return {name: value for name, value in found.items() if value is not None}

    def take(self, place: str, expression: Expression, take: Take) -> Any:
        """Return what an expression finds in the form of its field; None, and a problem, if that can not be."""
        try:
            found = expression.search(self._document)
        except ExpressionFailed as error:
            self._problems.append(Problem(str(error), field=place, index=self._index))
            return None
        try:
            return take(found)
        except ValueError as needed:
            message = f"`{expression.text}` gave {_shown(found)}: {needed} is needed"
            self._problems.append(Problem(message, field=place, index=self._index))
            return None


def _name(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError("a string")
    return found


def _identity(found: Any) -> str | None:
    if found is None or isinstance(found, str):
        return found
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError("a string or a number")
    return str(found)


def _occurred(found: Any) -> str | None:
    if found is None:
        return None
    text = moment(found)
    if text is None:
        raise ValueError("a time as ISO 8601 with a zone, or Unix time,")
    return text


def _label(found: Any) -> Any:
    if not (found is None or isinstance(found, str | int | float)):
        raise ValueError("a string, a number or a boolean")
    return found


def _id(found: Any) -> Any:
    if found is None or found == "":
        raise ValueError("the id of the resource")
    return _label(found)


def _items(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError("a list")
    if len(found) > ITEMS_MAX:
        raise ValueError(f"a list of at most {ITEMS_MAX} items")
    return found


def _shown(found: Any) -> str:
    shown = repr(found[:_SHOWN_CHARS] if isinstance(found, str | list) else found) if found is not None else "nothing"
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."


_TAKES: dict[str, Take] = {
    "event": _name,
    "payload": lambda found: found,
    "id": _identity,
    "occurred": _occurred,
}

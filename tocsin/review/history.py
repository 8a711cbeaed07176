"""Recorded events as arrivals: JSON lines in, the log's order out (laws E1, E2).

The order of the lines is the order of arrival. A `received` earlier than that of the line before is lifted to it, as
the log does; without one an event was received when it occurred. An identity that stood earlier is a duplicate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import AwareDatetime, Field, ValidationError

from tocsin.errors import InvalidEvent, NotJSON, Problem
from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.moments import Micros, to_micros
from tocsin.sources.problems import explained

BATCH = 2_000
"""How many arrivals are judged at once."""

_COLUMN = re.compile(r" at line 1 column (\d+)$")


class RecordedEvent(Event):
    """A native event with what the log added: when it was received, and its place there, which means nothing here."""

    received: AwareDatetime | None = None
    seq: int | None = Field(None, exclude=True)


class History:
    """Arrivals from JSON lines, read once and in batches.

    What is kept of an event once it was read is its id, by which firings name it and duplicates are known.
    """

    def __init__(self, lines: Iterable[bytes], *, file: str) -> None:
        """Read from `lines`; `file` is what errors call them."""
        self.duplicates = 0
        self.newest_us: Micros | None = None
        self._lines = enumerate(lines, 1)
        self._file = file
        self._ids: list[str] = []
        self._known: set[str] = set()

    def __len__(self) -> int:
        """Return how many arrivals there were so far."""
        return len(self._ids)

    def __iter__(self) -> Iterator[Arrival]:
        """Return the arrivals in their order; places in the log count from 1.

        Raises:
            InvalidEvent: a line is not an event, or has no time; the problem has its file, line and column.
        """
        for number, line in self._lines:
            if line.strip():
                event = self._event(line, number)
                identity = f"{event.source}\0{event.id}" if event.source else event.id
                received_us = self._received_us(event, number)
                if identity is not None and identity in self._known:
                    self.duplicates += 1
                    continue
                if identity is not None:
                    self._known.add(identity)
                self._ids.append(event.id or f"line-{number}")
                yield arrival(event, seq=len(self._ids), received_us=received_us)

    def batches(self) -> Iterator[list[Arrival]]:
        """Return the arrivals in lists of up to `BATCH`."""
        arrivals = iter(self)
        while batch := list(islice(arrivals, BATCH)):
            yield batch

    def id_of(self, seq: int) -> str:
        """Return the id of the event at a place; one that came without an id is called after its line."""
        return self._ids[seq - 1]

    def _event(self, line: bytes, number: int) -> RecordedEvent:
        try:
            return RecordedEvent.model_validate_json(line)
        except ValidationError as error:
            try:
                problems = [self._problem(one.message, number, field=one.field) for one in explained(error)]
            except NotJSON as broken:
                message = str(broken).replace("the body", "the line", 1)
                column = _COLUMN.search(message)
                message = _COLUMN.sub("", message)
                problems = [self._problem(message, number, column=int(column[1]) if column else 1)]
            raise InvalidEvent(problems) from None

    def _received_us(self, event: RecordedEvent, number: int) -> Micros:
        moment = event.received or event.occurred
        if moment is None:
            message = "is required here, or `received`: a recorded event needs a time"
            raise InvalidEvent([self._problem(message, number, field="occurred")])
        self.newest_us = max(to_micros(moment), self.newest_us or to_micros(moment))
        return self.newest_us

    def _problem(self, message: str, line: int, *, field: str = "", column: int = 1) -> Problem:
        return Problem(message, field=field, file=self._file, line=line, column=column)

"""Random requests that bring a random log to a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from tocsin.schemas.event import Event
from tocsin.schemas.moments import Micros


def requests_of(log: Sequence[tuple[Micros, dict[str, Any]]], random: Random) -> Iterator[tuple[Micros, list[Event]]]:
    """Return requests of random size: events of the same arrival, or fewer."""
    left = log
    while left:
        at_us, size = left[0][0], random.randint(1, 4)
        batch = [raw for moment, raw in left[:size] if moment == at_us]
        left = left[len(batch) :]
        yield at_us, [_event(raw) for raw in batch]


def _event(raw: dict[str, Any]) -> Event:
    return Event.model_validate_json(json.dumps({name: raw[name] for name in raw if name != "received"}))

"""From entries of the bus to the log: what one transaction does with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tocsin.engine.bus.entries import Entry
from tocsin.engine.own_events import bus_refused
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import refusals
from tocsin.store.log import OWN_SOURCE, Draft, advance, append
from tocsin.store.writer import Transaction

BEATS_US = SECOND
"""A beat closer than this to both of its neighbours says nothing that they do not say; outages are far longer."""


@dataclass(slots=True)
class Recorded:
    """What became of entries: events that were new, events that were known, and the ids of the entries refused."""

    events: int = 0
    duplicates: int = 0
    refused: list[str] = field(default_factory=list)


def record(entries: Sequence[Entry], *, stream: str, tx: Transaction) -> Recorded:
    """Append what entries hold, in their order and at their times; repeats change nothing (law E2).

    An entry's time is Redis's, and never later than our now: where Redis's clock is ahead, ours decides.
    """
    recorded = Recorded()
    for step in _steps(entries, stream=stream, now_us=tx.now_us):
        if isinstance(step, int):
            advance(tx, step)
            continue
        appended = append(tx, [draft for draft, _ in step])
        recorded.events += len(appended.arrivals)
        recorded.duplicates += appended.duplicates
        turned_away = {draft.event.id: entry for draft, entry in step if draft.event.source == OWN_SOURCE}
        for placed in appended.arrivals if turned_away else ():
            if placed.event.source == OWN_SOURCE:
                entry = turned_away[placed.event.id]
                _keep(tx, entry, placed.received_us)
                recorded.refused.append(entry.id.decode())
    recorded.events -= len(recorded.refused)
    return recorded


def _steps(entries: Sequence[Entry], *, stream: str, now_us: Micros) -> Iterator[list[tuple[Draft, Entry]] | Micros]:
    """Yield drafts to append together, each with its entry, and moments to which the time of the log moves."""
    together: list[tuple[Draft, Entry]] = []
    for index, entry in enumerate(entries):
        at_us = min(entry.time_us, now_us)
        if entry.refused is not None:
            together.append((_about(entry, stream=stream, at_us=at_us), entry))
        elif entry.events:
            together += [(Draft(event, received_us=at_us, trace=entry.trace), entry) for event in entry.events]
        elif _tells(entries, index):
            if together:
                yield together
                together = []
            yield at_us
    if together:
        yield together


def _tells(entries: Sequence[Entry], index: int) -> bool:
    """Return whether a beat must be noted: it is at an end, or beside a gap."""
    if index in (0, len(entries) - 1):
        return True
    before, here, after = (entries[place].time_us for place in (index - 1, index, index + 1))
    return here - before >= BEATS_US or after - here >= BEATS_US


def _about(entry: Entry, *, stream: str, at_us: Micros) -> Draft:
    """Return our own event about an entry that is refused; of the same entry it has the same identity."""
    name = entry.id.decode()
    body = entry.refused.body if entry.refused is not None else b""
    digest = hashlib.sha256(body).hexdigest()[:16]
    reason = entry.refused.reason if entry.refused is not None else ""
    return bus_refused(f"bus/{stream}/{name}/{digest}", stream=stream, entry=name, reason=reason, received_us=at_us)


def _keep(tx: Transaction, entry: Entry, received_us: Micros) -> None:
    assert entry.refused is not None
    refusals.keep(
        tx, entry=entry.id.decode(), reason=entry.refused.reason, body=entry.refused.body, received_us=received_us
    )

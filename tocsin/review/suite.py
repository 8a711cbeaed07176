"""The `tests:` section: cases judged on a virtual clock, and what differs from what they expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from tocsin.review.backtest import Stretch, judged
from tocsin.schemas.automation import Automation
from tocsin.schemas.case import Case, ExpectedFiring
from tocsin.schemas.document import Document
from tocsin.schemas.event import Arrival, arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import MINUTE, Micros, to_micros


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison: what was expected, what happened, and the fields in which they differ.

    Without `actual` the firing did not happen; without `expected` nobody expected it.
    """

    expected: ExpectedFiring | None
    actual: Firing | None
    differs: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether a firing is as it was expected."""
        return self.expected is not None and self.actual is not None and not self.differs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case: its rows in order, and the ids of its events by their places, from 1."""

    case: Case
    rows: list[Row]
    ids: dict[int, str]

    @property
    def passed(self) -> bool:
        """Whether all firings are as they were expected, and no other happened."""
        return all(row.right for row in self.rows)


def run(document: Document, *, lateness_us: Micros = MINUTE) -> Iterator[Outcome]:
    """Judge every case of the document, in order; `lateness_us` is the default of triggers (law R3)."""
    automations = {one.name: one for one in document.automations}
    for case in document.tests:
        yield run_case(case, automations[case.automation], lateness_us=lateness_us)


def run_case(case: Case, automation: Automation, *, lateness_us: Micros = MINUTE) -> Outcome:
    """Judge the events of a case and compare every firing with what the case expects."""
    arrivals = _arrivals(case)
    ids = {one.seq: one.event.id or f"event {one.seq}" for one in arrivals}
    start_us = to_micros(case.start or case.events[0].at)
    until_us = to_micros(case.end or case.events[-1].at)
    stretch = Stretch(start_us, until_us, lateness_us=lateness_us)
    firings = list(judged([automation], [arrivals], stretch))
    return Outcome(case, _compare(case.firings, firings, ids), ids)


def _arrivals(case: Case) -> list[Arrival]:
    known: set[tuple[str, str]] = set()
    arrivals: list[Arrival] = []
    for item in case.events:
        if item.id is not None and (item.source, item.id) in known:
            continue
        known.add((item.source, item.id or ""))
        arrivals.append(arrival(item.native(), seq=len(arrivals) + 1, received_us=to_micros(item.at)))
    return arrivals


def _compare(expected: Sequence[ExpectedFiring], actual: Sequence[Firing], ids: dict[int, str]) -> list[Row]:
    """Put what was expected beside what happened, in order; among firings of one moment the order is free."""
    rows: list[Row] = []
    left = list(expected)
    for _, moment in groupby(actual, key=lambda firing: firing.at_us):
        firings = list(moment)
        rows += _of_moment(left[: len(firings)], firings, ids)
        del left[: len(firings)]
    return rows + [Row(one, None) for one in left]


def _of_moment(expected: list[ExpectedFiring], actual: list[Firing], ids: dict[int, str]) -> list[Row]:
    rows: list[Row] = []
    rest = list(actual)
    unmatched: list[ExpectedFiring] = []
    for one in sorted(expected, key=lambda wanted: -len(wanted.model_fields_set)):  # the most particular choose first
        found = next((firing for firing in rest if not _differs(one, firing, ids)), None)
        if found is None:
            unmatched.append(one)
        else:
            rest.remove(found)
            rows.append(Row(one, found))
    for wanted, firing in zip_longest(unmatched, rest):
        differs = _differs(wanted, firing, ids) if wanted is not None and firing is not None else ()
        rows.append(Row(wanted, firing, differs))
    return rows


def _differs(expected: ExpectedFiring, actual: Firing, ids: dict[int, str]) -> tuple[str, ...]:
    """Return the fields of an expected firing that say something else than what happened."""
    found = {
        "verdict": expected.verdict is actual.verdict,
        "at": expected.at is None or to_micros(expected.at) == actual.at_us,
        "due": expected.due is None or to_micros(expected.due) == actual.due_us,
        "labels": expected.labels is None or expected.labels == actual.labels,
        "events": expected.events is None or sorted(expected.events) == sorted(ids[seq] for seq in actual.events),
    }
    return tuple(name for name, same in found.items() if not same)

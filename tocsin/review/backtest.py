"""Backtest: what automations would have said about recorded events. The judge of the live engine; nothing is performed.

An automation is armed (T0) at the first event's arrival, or at `since_us`; events before that only prime (law O3).
What is due up to and including `until_us`, by default the last event's arrival, is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tocsin.review.history import History
from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import MINUTE, Micros, iso
from tocsin.triggers.judge import Armed, Judge
from tocsin.triggers.simulate import Memory

Progress = Callable[[int, Micros], None]
"""Is told how many events were judged, and up to which moment."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time that a backtest is about, and the default `lateness` of triggers, in microseconds."""

    since_us: Micros | None = None
    until_us: Micros | None = None
    lateness_us: Micros = MINUTE


def backtest(
    automations: Collection[Automation], history: History, stretch: Stretch, *, progress: Progress | None = None
) -> Iterator[Firing]:
    """Return the firings ordered by `at`, while the history is read.

    Raises:
        InvalidEvent: a line of the history is wrong.
        JudgeFailed: an automation could not judge an event.
    """
    batches = history.batches()
    if stretch.since_us is None:
        first = next(batches, None)
        if first is None:
            return
        stretch = Stretch(first[0].received_us, stretch.until_us, lateness_us=stretch.lateness_us)
        batches = chain([first], batches)
    yield from judged(automations, batches, stretch, progress=progress)


def needed_from(automations: Collection[Automation], since_us: Micros) -> Micros:
    """Return from when on events are needed to judge from `since_us` on: earlier, where a deadline is primed (O3)."""
    judge = Judge(Armed(one.name, one.trigger, since_us, 0) for one in automations)
    return min([since_us, *_reaches(judge, automations).values()])


def _reaches(judge: Judge, automations: Collection[Automation]) -> dict[str, Micros]:
    reaches = {one.name: judge.priming(one.name) for one in automations}
    return {name: reach_us for name, reach_us in reaches.items() if reach_us is not None}


def judged(
    automations: Collection[Automation],
    batches: Iterable[Sequence[Arrival]],
    stretch: Stretch,
    *,
    progress: Progress | None = None,
) -> Iterator[Firing]:
    """Return the firings of automations that are armed at `stretch.since_us`, ordered by `at`."""
    since_us, until_us = stretch.since_us or 0, stretch.until_us
    armed = [Armed(one.name, one.trigger, since_us, 0) for one in automations]
    memory = Memory(Judge(armed, lateness_us=stretch.lateness_us))
    opening = _Opening(memory, automations, since_us)
    count, now_us = 0, since_us
    for batch in batches:
        arrivals = [one for one in opening.admit(batch) if until_us is None or one.received_us <= until_us]
        count += len(arrivals)
        if arrivals:
            now_us = arrivals[-1].received_us
            yield from memory.run(arrivals, until_us=None).firings
            if progress is not None:
                progress(count, now_us)
        if until_us is not None and batch and batch[-1].received_us > until_us:
            break
    opening.arm()
    yield from memory.run([], until_us=now_us if until_us is None else until_us).firings


class _Opening:
    """The way up to T0: arrivals before it are kept as long as a deadline may count them (law O3)."""

    def __init__(self, memory: Memory, automations: Collection[Automation], since_us: Micros) -> None:
        self._memory = memory
        self._names = [one.name for one in automations]
        self._since_us = since_us
        self._before: list[Arrival] = []
        self._armed = False
        self._reaches = _reaches(memory.judge, automations)

    def admit(self, batch: Sequence[Arrival]) -> Sequence[Arrival]:
        """Return the arrivals from T0 on; automations are armed before the first of them."""
        if self._armed:
            return batch
        from_us = min(self._reaches.values(), default=self._since_us)
        self._before += [one for one in batch if from_us <= one.received_us < self._since_us]
        admitted = [one for one in batch if one.received_us >= self._since_us]
        if admitted:
            self.arm()
        return admitted

    def arm(self) -> None:
        """Put in place what exists from T0 on."""
        if self._armed:
            return
        self._armed = True
        for name in self._names:
            self._memory.arm(name)
        for name, from_us in self._reaches.items():
            self._memory.run([one for one in self._before if one.received_us >= from_us], until_us=None, prime=name)
        self._before.clear()


def document(firing: Firing, history: History) -> dict[str, Any]:
    """Return a firing as the command prints it."""
    return {
        "at": iso(firing.at_us),
        "automation": firing.automation,
        "verdict": firing.verdict.value,
        "labels": firing.labels,
        "events": [history.id_of(seq) for seq in firing.events],
        "due": iso(firing.due_us),
        "reason": firing.reason,
    }

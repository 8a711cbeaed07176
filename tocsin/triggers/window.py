"""Windows of silence, and what a key's events add up to (laws P1-P7).

A `Window` is a time in which something has to happen. A `Fold` holds those of a key that are not settled, in order,
as the events folded so far have left them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import Micros
from tocsin.triggers.machine import Counted, Seen


@dataclass(slots=True)
class Window:
    """A time in which something has to happen. `end_us` is `due_us` unless it was met or closed before.

    `setter` is the event that set its deadline, and `listed` says that firings list it: it is the one that opened the
    window (P1). `counted` are those that count for it; `beat` says that the opener was a heartbeat. `outcome` is None
    while it is unmet; `closer` is the place of the `until` event that closed it.
    """

    opened_us: Micros
    due_us: Micros
    received_us: Micros
    end_us: Micros
    counted: list[Counted]
    setter: Counted | None = None
    listed: bool = False
    beat: bool = False
    outcome: Outcome | None = None
    closer: int | None = None

    def close(self, seen: Seen) -> None:
        """Let an `until` event end it."""
        self.outcome, self.closer = Outcome.CLOSED, seen.seq
        self.end_us = max(self.opened_us, min(self.due_us, seen.time_us))

    @property
    def is_met(self) -> bool:
        """Whether enough events in time count for it."""
        return self.outcome is Outcome.MET

    def copy(self) -> Window:
        """Return an independent copy."""
        return Window(self.opened_us, self.due_us, self.received_us, self.end_us, list(self.counted), self.setter,
                      self.listed, self.beat, self.outcome, self.closer)  # fmt: skip

    @property
    def events(self) -> list[Counted]:
        """What a firing about this window lists (law F3)."""
        return [self.setter, *self.counted] if self.listed and self.setter else self.counted

    def dump(self) -> list[Any]:
        """Return JSON values for `load`."""
        return [self.opened_us, self.due_us, self.received_us, self.end_us, self.counted, self.setter,
                self.listed, self.beat, self.outcome, self.closer]  # fmt: skip

    @classmethod
    def load(cls, values: list[Any]) -> Window:
        """Return the window that was dumped."""
        opened_us, due_us, received_us, end_us, counted, setter, listed, beat, outcome, closer = values
        window = cls(opened_us, due_us, received_us, end_us, [Counted(*one) for one in counted])
        window.setter = Counted(*setter) if setter else None
        window.listed, window.beat, window.closer = listed, beat, closer
        window.outcome = Outcome(outcome) if outcome else None
        return window


def holds_back(until: Counted, seen: Seen) -> bool:
    """Return whether an `until` event keeps an event, wherever that is placed, from opening anything (law P6)."""
    return until.time_us >= seen.time_us and until.seq < seen.seq


class Fold:
    """What a key's events add up to: its windows that are not settled, in order, and where settled time ends.

    `until_us` is the newest time of an `until` event that was folded, and `untils` are those that arrived, whether
    folded yet or not (law P6): what is not later than one and arrived behind it opens nothing.
    """

    __slots__ = ("end_us", "until_us", "untils", "windows")

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.end_us: Micros | None = None
        self.until_us: Micros | None = None
        self.untils: list[Counted] = []

    def is_closed(self, seen: Seen) -> bool:
        """Return whether an `until` event keeps an event from opening or arming anything."""
        time_us = seen.time_us
        if self.until_us is not None and time_us <= self.until_us:
            return True
        return any(holds_back(until, seen) for until in self.untils)

    def copy(self) -> Any:
        """Return an independent copy."""
        fold = type(self)()
        fold.windows = [window.copy() for window in self.windows]
        fold.end_us, fold.until_us, fold.untils = self.end_us, self.until_us, self.untils
        return fold

    def dump(self) -> list[Any]:
        """Return JSON values for `load`."""
        return [[window.dump() for window in self.windows], self.end_us, self.until_us, self.untils]

    def load(self, values: list[Any]) -> None:
        """Put back what was dumped."""
        windows, self.end_us, self.until_us, untils = values
        self.untils = [Counted(*one) for one in untils]
        self.windows = [Window.load(window) for window in windows]

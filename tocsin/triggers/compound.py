"""Several triggers that fire together, in any order (law C2), while others have not (law C4).

Each child keeps its newest firing that was not consumed. One that arrives, and is its child's newest, fires the
compound with the newest of the others that lie, with it, at most `within` apart. Then all that is kept is consumed,
but what children of `not` fired.

Rule 1: when a compound fires is decided in this file.
Rule 2: both ends of `within` count. A `not` looks back from the newest of the set: `(newest - within, newest]`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tocsin.schemas.moments import Micros
from tocsin.schemas.trigger import CompoundTrigger
from tocsin.triggers.composite import Absent, Composite, CompositeState, Kept, insert
from tocsin.triggers.machine import Ledger, Node, Seen, State

ABSENT_MAX = 1_000
"""How many firings of a `not` with a `within` are remembered, the newest ones; without, the oldest one says it all."""


class Compound(Composite):
    """A compound."""

    __slots__ = ("required",)

    def __init__(self, node: Node, trigger: CompoundTrigger, written: Sequence[int]) -> None:
        super().__init__(node, trigger, written)
        self.required = trigger.required

    def keep(self, state: CompositeState, place: int, kept: Kept) -> None:
        child = state.kept[place]
        absent = self.absent.get(place)
        if absent is None:
            state.kept[place] = [max([*child, kept])]
        elif absent.within_us is None:
            state.kept[place] = [min([*child, kept])]
        else:
            insert(child, kept, ABSENT_MAX)

    def complete(self, state: CompositeState, kept: Kept, ledger: Ledger, *, place: int, at_us: Micros,
                 seen: Seen | None) -> bool:  # fmt: skip
        if state.kept[place] != [kept]:
            return False
        found = self._newest_with(kept, [state.kept[other][0] for other in self.positive if state.kept[other]])
        if found is None or not all(self._holds(state, absent, found[0].time_us) for absent in self.absent.values()):
            return False
        for other in self.positive:
            state.kept[other] = []
        self.fire_set(state, sorted(found), ledger, at_us=at_us, seen=seen)
        return True

    def _newest_with(self, kept: Kept, everything: list[Kept]) -> list[Kept] | None:
        """Return the newest set of as many as are required, this one among them, newest first."""
        newest_first = sorted(everything, reverse=True)
        for place, top in enumerate(newest_first):
            if top < kept or not self._are_near(kept, top):
                continue
            near = [one for one in newest_first[place:] if one != kept and self._are_near(one, top)]
            if len(near) >= self.required - 1:
                return sorted([*near[: self.required - 1], kept], reverse=True)
        return None

    def _are_near(self, one: Kept, top: Kept) -> bool:
        return self.within_us is None or top.time_us - one.time_us <= self.within_us

    def _holds(self, state: CompositeState, absent: Absent, newest_us: Micros) -> bool:
        times = [one.time_us for one in state.kept[absent.place]]
        last = bisect_right(times, newest_us) - 1
        return last < 0 or (absent.within_us is not None and times[last] <= newest_us - absent.within_us)

    def sentence(self, count: int) -> str:
        return f"{count} of {len(self.positive)} triggers fired together"

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Do nothing: a compound waits for no moment."""

    def rearm(self, state: State) -> None:
        state.wake_us = None

"""Several triggers that fire one after another (law C3), with silence in front, between or behind (law C4).

A set is found from its end: the newest firing of the last child, before it the newest of the child before whose
time is not later and whose completing event is another, and so on. It fires when the last is at most `within` after
the first, and every `not` holds; then every child's firings up to the time of its last one are consumed. Behind a
`not` at the end the set waits until `within` after its first, or for the arrivals of this instant if that has
passed; it fires then, unless it was consumed before.

Rule 1: when a sequence fires is decided in this file.
Rule 2: equal times are in order. Silence between two firings, and in front of the first, excludes their times;
silence at the end excludes the last one's time and includes the moment at which it is decided.
"""

from __future__ import annotations

from tocsin.schemas.moments import Micros
from tocsin.schemas.trigger import SequenceTrigger
from tocsin.triggers.composite import Absent, Composite, CompositeState, Kept, insert
from tocsin.triggers.machine import Ledger, Node, Seen, State

KEPT_MAX = 100
"""How many firings of each child are kept without a `within` (law C3)."""

KEPT_MAX_WITHIN = 1_000
"""The same with one: a bound on memory only."""


class Sequence(Composite):
    """A sequence."""

    __slots__ = ("at_end", "before", "most")

    def __init__(self, node: Node, trigger: SequenceTrigger) -> None:
        super().__init__(node, trigger, range(len(trigger.triggers)))
        self.most = KEPT_MAX if self.within_us is None else KEPT_MAX_WITHIN
        last = self.positive[-1]
        self.at_end = [absent for absent in self.absent.values() if absent.place > last]
        self.before = [absent for absent in self.absent.values() if absent.place < last]

    def keep(self, state: CompositeState, place: int, kept: Kept) -> None:
        insert(state.kept[place], kept, self.most)

    def complete(self, state: CompositeState, kept: Kept, ledger: Ledger, *, place: int, at_us: Micros,
                 seen: Seen | None) -> bool:  # fmt: skip
        found = self._find(state)
        if found is None or not all(self._holds(state, absent, found) for absent in self.before):
            return False
        if self.at_end:
            assert self.within_us is not None, "a definition without it is refused"
            moment_us, ids = found[0].time_us + self.within_us, [one.id for one in found]
            if not any(ids == waiting for _, waiting in state.waiting):
                state.waiting.append((moment_us, ids))
            return False
        return self._decide(state, found, ledger, at_us=at_us, seen=seen)

    def _find(self, state: CompositeState) -> list[Kept] | None:
        found: list[Kept] = []
        for place in reversed(self.positive):
            used = {one.by for one in found if one.by is not None}
            before = (one for one in reversed(state.kept[place])
                      if (not found or one.time_us <= found[-1].time_us) and one.by not in used)  # fmt: skip
            newest = next(before, None)
            if newest is None:
                return None
            found.append(newest)
        found.reverse()
        if self.within_us is not None and found[-1].time_us - found[0].time_us > self.within_us:
            return None
        return found

    def _holds(self, state: CompositeState, absent: Absent, found: list[Kept]) -> bool:
        """Return whether no firing of a `not` lies in the open interval that its place asks about."""
        behind = sum(place < absent.place for place in self.positive)
        until_us = found[behind].time_us
        if behind:
            from_us: Micros | None = found[behind - 1].time_us
        else:
            from_us = None if absent.within_us is None else until_us - absent.within_us
        return not any(one.time_us < until_us and (from_us is None or one.time_us > from_us)
                       for one in state.kept[absent.place])  # fmt: skip

    def _decide(self, state: CompositeState, found: list[Kept], ledger: Ledger, *, at_us: Micros,
                seen: Seen | None) -> bool:  # fmt: skip
        """Fire a set and consume it, unless something happened where nothing should."""
        last_us = found[-1].time_us
        end_us = found[0].time_us + (self.within_us or 0)
        if not all(self._holds(state, absent, found) for absent in self.before):
            return False
        if any(last_us < one.time_us <= end_us for absent in self.at_end for one in state.kept[absent.place]):
            return False
        for place in self.positive:
            state.kept[place] = [one for one in state.kept[place] if one.time_us > last_us]
        self.fire_set(state, found, ledger, at_us=at_us, seen=seen)
        return True

    def wake(self, state: State, at_us: Micros, ledger: Ledger) -> None:
        """Decide the sets that have waited for silence long enough."""
        assert isinstance(state, CompositeState)
        state.seen_us = at_us
        due = [one for one in state.waiting if ledger.outages.moved(one[0]) <= at_us]
        state.waiting = [one for one in state.waiting if one not in due]
        for _, ids in sorted(due, key=lambda one: one[0]):
            found = self._still_kept(state, ids)
            if found is not None:
                self._decide(state, found, ledger, at_us=at_us, seen=None)
        self.rearm(state)

    def _still_kept(self, state: CompositeState, ids: list[str]) -> list[Kept] | None:
        found = [next((one for one in state.kept[place] if one.id == id_), None)
                 for place, id_ in zip(self.positive, ids, strict=True)]  # fmt: skip
        return [one for one in found if one is not None] if None not in found else None

    def rearm(self, state: State) -> None:
        assert isinstance(state, CompositeState)
        state.wake_us = min((moment_us for moment_us, _ in state.waiting), default=None)

    def sentence(self, count: int) -> str:
        return f"{count} triggers fired in order"

"""Which windows a key's history makes, recomputed from all of it: laws P1 to P4, P6, P7.

Both functions replay the history in the order of O4 and return the windows that are not settled yet,
in their order. `settled` are those that a verdict, or its moment, has made a fact (law O4).
"""

from collections.abc import Sequence
from datetime import datetime

from tests.model.notation import LONG_AGO, Event
from tests.model.silence import Rule, Window


def _shut_out(event: Event, untils: Sequence[Event], passed: Sequence[Event], *, reopen: bool) -> bool:
    """Law P6: whether an `until` that arrived before the event, or has its place before it, keeps it out."""
    return any(
        (until.place < event.place or until in passed) and (not reopen or event.t <= until.t) for until in untils
    )


def _close(windows: Sequence[Window], until: Event, *, reopen: bool) -> None:
    """Law P6: what is open or awaits its verdict unmet ends `closed`."""
    for window in windows:
        if window.outcome == "open" and (not reopen or window.opening <= until.t):
            window.finish("closed", min(window.deadline, max(window.opening, until.t)))
            window.ended_by = until


def windows_with_after(history: Sequence[Event], rule: Rule, settled: Sequence[Window]) -> list[Window]:
    """P1 and P2: an `after` opens `[a, a + W]`, N `expect` events meet it, `grace` lets late ones meet it (P7)."""
    reopen = bool(rule.trigger.get("reopen"))
    untils = [event for event in history if rule.plays("until", event)]
    passed: list[Event] = []
    floor = max((window.end for window in settled), default=LONG_AGO)
    taken = {event for window in settled for event in [*window.events, *window.late]}
    openers = {window.opener for window in settled}
    windows: list[Window] = []
    for place, event in enumerate(history):
        if event in untils:
            _close(windows, event, reopen=reopen)
            passed.append(event)
        if rule.plays("expect", event) and event not in taken:
            _count(event, windows, rule)
            in_reach = all(one.t <= event.t for one in history[:place])
            met = [window for window in windows if window.ended_by is event and window.outcome == "met"]
            if in_reach and any(event.t == window.deadline for window in met):
                # It was still open when what came before at this time opened the next (O2).
                windows = [window for window in windows if window.opening < event.t]
        if not rule.plays("after", event) or event in openers:
            continue
        if any(_was_open(window, history, place) for window in settled):
            continue
        last_end = max([floor, *(_end_so_far(window) for window in windows)])
        if event.t >= last_end and not _shut_out(event, untils, passed, reopen=reopen):
            windows.append(Window(event.t, event.t + rule.within, event.received, opener=event))
    return windows


def _was_open(window: Window, history: Sequence[Event], place: int) -> bool:
    """O2, O4: whether a settled window was still open when the event at this place was judged.

    What ended it has its place behind that: it came later with the same time, or it was out of reach.
    """
    if window.ended_by is None or window.opener not in history[:place] or window.ended_by not in history[place + 1 :]:
        return False
    event, last = history[place], window.ended_by
    in_reach = all(one.t <= last.t for one in history[: history.index(last)])
    return event.t == last.t if in_reach else window.opening <= event.t < window.deadline


def _end_so_far(window: Window) -> datetime:
    return window.deadline if window.waits else window.end


def _count(event: Event, windows: Sequence[Window], rule: Rule) -> None:
    """An event counts for one window, the earliest that it can meet (P1, P7)."""
    for window in windows:
        if not window.waits or event.t < window.opening or event is window.opener:
            continue
        if event.t <= window.deadline:
            window.events.append(event)
            if len(window.events) == rule.threshold:
                window.finish("met", event.t)  # of the N-th as they are judged, should it be out of reach (O4)
                window.ended_by = event
        elif event.t <= window.deadline + rule.grace and window.outcome == "open":
            window.late.append(event)
        else:
            continue
        if window.outcome == "open" and len(window.events) + len(window.late) >= rule.threshold:
            window.finish("late", window.deadline)
        return


class _Deadlines:
    """P3 and P4: one deadline that every event moves, replayed."""

    def __init__(self, rule: Rule, settled: Sequence[Window]) -> None:
        self.rule = rule
        self.windows: list[Window] = []
        self.enders = {window.ended_by for window in settled if window.ended_by is not None}
        self.current: Window | None = None
        self.since = LONG_AGO
        self.counted: list[Event] = []
        self.floor = max((window.end for window in settled), default=LONG_AGO)
        self.last_due = max((window.deadline for window in settled), default=LONG_AGO)

    def arm(self, since: datetime, received: datetime, mover: Event | None) -> None:
        self.since = since
        self.counted = []
        self._set(Window(since, since + self.rule.within, received, mover=mover), since)

    def disarm(self) -> None:
        self.current = None

    def move(self, event: Event, *, opens: bool) -> None:
        """One `expect` event at its place: D is the time of the N-th newest, plus W.

        What an `until` shuts out opens no window (P6), though it is there, and meets what is open.
        """
        assert self.current is not None
        self.counted = sorted([*self.counted, event], key=lambda one: (one.t, one.place))
        newest = self.counted[-self.rule.threshold :]
        if len(newest) < self.rule.threshold:
            self.current.events = newest
            return
        old, deadline = self.current, newest[0].t + self.rule.within
        if event not in newest:
            return
        if deadline == old.deadline:
            old.events = newest
            return
        if event.t <= old.deadline:
            old.finish("met", event.t)
            old.ended_by = event
        elif event.t <= old.deadline + self.rule.grace:
            old.late.append(event)
            old.finish("late", old.deadline)
            old.ended_by = event
        self._set(Window(newest[0].t, deadline, event.received, mover=event, events=newest), event.t, opens=opens)

    def _set(self, window: Window, moved: datetime, *, opens: bool = True) -> None:
        """Take the deadline, moved at that time; it is a window unless it was settled, or lies in what was (O4).

        What lies there can only move the current deadline: one that is watched, or one that was still to come when its
        events were all there.
        """
        self.current = window
        known = max([window.received, *(event.received for event in window.events)])
        is_current = bool(self.windows) or window.mover in self.enders or window.deadline + self.rule.grace > known
        if opens and window.deadline > self.last_due and (moved >= self.floor or is_current):
            self.windows.append(window)


def windows_without_after(
    history: Sequence[Event], rule: Rule, settled: Sequence[Window], *, armed: bool
) -> list[Window]:
    """P3 and P4; `armed`: at the automation's T0, else by the first `expect` event."""
    reopen = bool(rule.trigger.get("reopen"))
    untils = [event for event in history if rule.plays("until", event)]
    passed: list[Event] = []
    replay = _Deadlines(rule, settled)
    if armed:
        replay.arm(rule.armed, rule.armed, None)
    for event in history:
        if event in untils:
            _close(replay.windows, event, reopen=reopen)
            passed.append(event)
            if replay.current is not None and (not reopen or replay.current.opening <= event.t):
                replay.disarm()
        if not rule.plays("expect", event):
            continue
        shut_out = _shut_out(event, untils, passed, reopen=reopen)
        if shut_out and (replay.current is None or any(event.t <= until.t for until in passed)):
            continue
        if replay.current is None:
            replay.arm(event.t, event.received, event)
        if event.t >= replay.since:
            replay.move(event, opens=not shut_out)
    return replay.windows

"""Pictures of laws: each case of `laws.yaml` is judged by the engine's own judge and drawn as a small SVG.

A lane is a key (with `for_each`), a kind of event (in a composite), or everything. A circle is an event at its judged
time, filled when it counted for a firing; what arrived later than it happened has a line to its arrival. A bar is a
window, a broken line a deadline, and the last lane holds the verdicts at their moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from html import escape
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from tocsin.review.suite import Outcome, run
from tocsin.schemas.automation import Automation
from tocsin.schemas.case import CaseEvent
from tocsin.schemas.document import parse
from tocsin.schemas.event import Arrival, arrival
from tocsin.schemas.firing import Firing, Verdict
from tocsin.schemas.moments import DAY, MINUTE, Micros, duration_us, from_micros, to_micros
from tocsin.schemas.trigger import DeadlineTrigger, EventTrigger

WIDTH = 760
LEFT = 118
RIGHT = 26
TOP = 26
LANE = 44
LETTER = 7
"""About the width of a letter."""
TICK_ROOM = 52
"""Times on the axis that are nearer than so many pixels are left out."""

COLOURS: Mapping[Verdict, str] = {
    Verdict.FIRED: "#b45309", Verdict.MISSED: "#b91c1c", Verdict.LATE: "#b45309", Verdict.UNKNOWN: "#7e22ce",
    Verdict.RESOLVED: "#15803d",
}  # fmt: skip
EVENT = "#1d4ed8"
WINDOW = "#bfdbfe"
FAINT = "#9ca3af"
TEXT = "#111827"


def pictures(path: Path) -> dict[str, str]:
    """Return the picture of each case by the law that its name starts with, in lower case.

    Raises:
        AssertionError: a case does not come out as it says, or two cases are of one law.
    """
    document = parse(path.read_text(encoding="utf-8"), file=path.name)
    automations = {one.name: one for one in document.automations}
    drawn: dict[str, str] = {}
    for outcome in run(document):
        law = outcome.case.name.partition(" ")[0].lower()
        assert outcome.passed, f"{outcome.case.name}: not as expected"
        assert law not in drawn, f"{outcome.case.name}: {law} has its picture already"
        drawn[law] = _Picture(outcome, automations[outcome.case.automation]).svg()
    return drawn


@dataclass(frozen=True, slots=True)
class _Dot:
    """An event of the case in its lane."""

    event: CaseEvent
    time_us: Micros
    received_us: Micros
    counted: bool
    lane: str


class _Picture:
    """One case, drawn."""

    def __init__(self, outcome: Outcome, automation: Automation) -> None:
        self._case = outcome.case
        self._trigger = automation.trigger
        self._firings = [row.actual for row in outcome.rows if row.actual is not None]
        self._dots = list(self._placed({seq for firing in self._firings for seq in firing.events}))
        self._lanes = list(dict.fromkeys([*(dot.lane for dot in self._dots), *map(self._lane_of, self._firings)]))
        moments = [dot.time_us for dot in self._dots] + [dot.received_us for dot in self._dots]
        moments += [to_micros(time) for time in (self._case.start, self._case.end) if time is not None]
        moments += [firing.at_us for firing in self._firings]
        self._first, self._last = min(moments), max(*moments, min(moments) + 1)
        self._floor = TOP + LANE * len(self._lanes)

    def _placed(self, counted: set[int]) -> Iterator[_Dot]:
        """Return the events in order; a repeated one has no place in the log of its own (law E2)."""
        known: set[tuple[str, str]] = set()
        seq = 0
        for event in self._case.events:
            repeated = event.id is not None and (event.source, event.id) in known
            known.add((event.source, event.id or ""))
            seq += not repeated
            at = arrival(event.native(), seq=seq, received_us=to_micros(event.at))
            yield _Dot(event, at.time_us, at.received_us, seq in counted and not repeated, self._lane(at))

    def _keyed(self) -> bool:
        return isinstance(self._trigger, EventTrigger | DeadlineTrigger) and bool(self._trigger.for_each)

    def _lane(self, event: Arrival) -> str:
        if self._keyed():
            return event.event.resource["id"]
        return "" if isinstance(self._trigger, EventTrigger | DeadlineTrigger) else event.event.event

    def _lane_of(self, firing: Firing) -> str:
        if self._keyed():
            return next(iter(firing.labels.values()))
        return self._dots[0].lane if self._dots else ""

    def svg(self) -> str:
        height = self._floor + 64
        parts = [*self._grounds(), *self._windows(), *self._axis(), *self._verdicts(), *self._events()]
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">'
        )
        title = f"<title>{escape(self._case.name)}</title>"
        frame = f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>'
        return "\n".join([head, title, frame, *parts, "</svg>"])

    def _x(self, moment_us: Micros) -> float:
        share = (moment_us - self._first) / (self._last - self._first)
        return round(LEFT + 14 + share * (WIDTH - LEFT - RIGHT - 28), 1)

    def _y(self, lane: str) -> int:
        return TOP + LANE * self._lanes.index(lane) + 22

    def _grounds(self) -> Iterator[str]:
        for lane in self._lanes:
            y = self._y(lane)
            yield _line(LEFT, y, WIDTH - RIGHT, y, FAINT)
            yield _text(12, y + 4, lane)
        yield _text(12, self._floor + 22, "verdicts", FAINT)

    def _windows(self) -> Iterator[str]:
        """Draw the windows of firings, and those that `after` events open."""
        for firing in self._firings:
            if firing.window_us is not None and firing.verdict is not Verdict.RESOLVED:
                leaf = isinstance(self._trigger, EventTrigger | DeadlineTrigger)
                for lane in [self._lane_of(firing)] if leaf else self._lanes:
                    yield self._bar(*firing.window_us, lane=lane)
            if firing.due_us is not None and firing.due_us != firing.at_us:
                yield _line(self._x(firing.due_us), TOP - 6, self._x(firing.due_us), self._floor, FAINT, broken=True)
                yield _text(self._x(firing.due_us), TOP - 10, "due", FAINT, anchor="middle")
        if isinstance(self._trigger, EventTrigger) and self._trigger.after and self._trigger.within:
            for dot in self._dots:
                if dot.event.event in self._trigger.after and not self._in_a_window(dot):
                    yield self._bar(dot.time_us, self._met(dot, self._trigger), lane=dot.lane)

    def _met(self, opening: _Dot, trigger: EventTrigger) -> Micros:
        """Return when the window that an event opened was met or called off, or else its end."""
        ends = {*trigger.expect, *(trigger.until or ())}
        met = [dot.time_us for dot in self._dots if dot.event.event in ends and dot.time_us > opening.time_us]
        assert trigger.within is not None
        return min([opening.time_us + duration_us(trigger.within), *met])

    def _in_a_window(self, dot: _Dot) -> bool:
        windows = [one.window_us for one in self._firings if one.window_us and self._lane_of(one) == dot.lane]
        return any(start <= dot.time_us <= end for start, end in windows)

    def _bar(self, start_us: Micros, end_us: Micros, *, lane: str) -> str:
        start, end = (self._x(min(max(edge, self._first), self._last)) for edge in (start_us, end_us))
        y = self._y(lane) - 7
        return f'<rect x="{start}" y="{y}" width="{round(end - start, 1)}" height="14" rx="3" fill="{WINDOW}"/>'

    def _axis(self) -> Iterator[str]:
        y = self._floor + 34
        yield _line(LEFT, y, WIDTH - RIGHT, y, TEXT)
        important = [edge for one in self._firings for edge in (one.at_us, one.due_us) if edge is not None]
        told: list[float] = []
        for moment in [*dict.fromkeys(important), *sorted({dot.time_us for dot in self._dots})]:
            x = self._x(moment)
            yield _line(x, y - 3, x, y + 3, TEXT)
            if all(abs(x - other) >= TICK_ROOM for other in told):
                told.append(x)
                yield _text(x, y + 17, self._clock(moment), anchor="middle")

    def _clock(self, moment_us: Micros) -> str:
        local = from_micros(moment_us).astimezone(self._zone())
        moments = [dot.time_us for dot in self._dots] + [one.at_us for one in self._firings]
        clock = "%H:%M:%S" if any(moment % MINUTE for moment in moments) else "%H:%M"
        return local.strftime(f"%a {clock}" if self._last - self._first > DAY else clock)

    def _zone(self) -> tzinfo:
        return ZoneInfo(getattr(self._trigger, "timezone", "UTC"))

    def _verdicts(self) -> Iterator[str]:
        for before, firing in pairwise([None, *self._firings]):
            assert firing is not None
            x, colour = self._x(firing.at_us), COLOURS[firing.verdict]
            again = before is not None and before.at_us == firing.at_us
            whom = " ".join(firing.labels.values()) if len(self._lanes) > 1 and firing.labels else ""
            words = f"{firing.verdict.value} {whom}".strip()
            low = self._floor + (30 if again else 16)
            if not again:
                yield _line(x, TOP, x, self._floor + 34, colour)
            side = "end" if x + 5 + LETTER * len(words) > WIDTH - 4 else "start"
            yield _text(x - 5 if side == "end" else x + 5, low, words, colour, anchor=side, bold=True)

    def _events(self) -> Iterator[str]:
        for dot in self._dots:
            x, y = self._x(dot.time_us), self._y(dot.lane)
            if dot.received_us != dot.time_us:
                arrived = self._x(dot.received_us)
                yield f'<path d="M{x} {y + 6} Q{x} {y + 15} {arrived} {y + 15}" fill="none" stroke="{EVENT}"/>'
                yield f'<path d="M{arrived} {y + 11} v8" stroke="{EVENT}"/>'
                yield _text(arrived + 4, y + 19, "arrives", FAINT)
            fill = EVENT if dot.counted else "#ffffff"
            yield f'<circle cx="{x}" cy="{y}" r="5" fill="{fill}" stroke="{EVENT}" stroke-width="2"/>'
            more = [value for name, value in dot.event.resource.items() if name != "id"]
            about = " ".join(more) if dot.lane == dot.event.event else dot.event.event
            decides = any(one.at_us == dot.time_us for one in self._firings)  # a line goes through it
            yield _text(x - 6 if decides else x, y - 12, about, anchor="end" if decides else "middle")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, broken: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if broken else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashes}/>'


def _text(x: float, y: float, text: str, colour: str = TEXT, *, anchor: str = "start", bold: bool = False) -> str:
    more = f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{colour}"{more}>{escape(text)}</text>'

"""The model on its own random histories: what must hold whatever the reading of a law."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.model import judge
from tests.model.absence import Absence
from tests.model.deadline import Deadline
from tests.model.histories import COMPOSITES, LEAVES, START, STEP, History, histories, random_history, random_outages
from tests.model.judge import Setting, run
from tests.model.notation import moment, span
from tests.model.silence import Outages

OUTCOMES = {"met", "late", "missed", "unknown", "closed"}
SILENCE = ("P1", "P2", "P3", "P4", "D1")
MINUTE = timedelta(minutes=1)
SEEDS = st.integers(min_value=0, max_value=1_000_000)


def _run(history: History) -> tuple[list[Any], Any]:
    trigger, events, armed, until = history
    setting = Setting(armed, MINUTE, Outages())
    return run(trigger, events, setting=setting, until=until)


def _event(name: str, occurred: int, received: int | None = None, *, number: int) -> dict[str, Any]:
    return {
        "id": f"{number}",
        "event": name,
        "resource": {"id": "a"},
        "occurred": (START + timedelta(seconds=occurred)).isoformat(),
        "received": (START + timedelta(seconds=occurred if received is None else received)).isoformat(),
    }


def _short(firings: list[dict[str, Any]]) -> list[tuple[float, str, list[str]]]:
    return [((firing["at"] - START).total_seconds(), firing["verdict"], firing["events"]) for firing in firings]


def _gap(start: int, end: int) -> tuple[datetime, datetime]:
    return START + timedelta(seconds=start), START + timedelta(seconds=end)


@given(SEEDS)
def test_one_seed_is_one_history_and_one_judgement(seed: int) -> None:
    assert random_history(seed) == random_history(seed)
    trigger, events, armed, until = random_history(seed)
    assert judge(trigger, events, armed, until=until) == judge(trigger, events, armed, until=until)


def test_composites_are_nested_and_stand_under_a_not() -> None:
    """C1, C4: rarely, and the histories that are not nested further are most of them."""
    shapes = Counter(_shape(random_history(seed, COMPOSITES)[0]) for seed in range(300))
    assert sum(count for (deep, _), count in shapes.items() if deep > 2) > 10
    assert sum(count for (_, forbidden), count in shapes.items() if forbidden) > 10
    assert sum(count for (deep, forbidden), count in shapes.items() if deep <= 2 and not forbidden) > 200


def _shape(trigger: dict[str, Any], *, under_not: bool = False) -> tuple[int, bool]:
    """How many composites stand in one another, and whether one does under a `not`."""
    if trigger.get("type") == "not":
        return _shape(trigger["trigger"], under_not=True)
    if "triggers" not in trigger:
        return 0, False
    inside = [_shape(child) for child in trigger["triggers"]]
    return 1 + max(deep for deep, _ in inside), under_not or any(forbidden for _, forbidden in inside)


@given(histories())
def test_arrivals_never_go_back_and_start_with_t0(history: History) -> None:
    _, events, armed, until = history
    arrivals = [moment(event["received"]) for event in events]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] == armed
    assert arrivals[-1] <= until


@given(histories(stored=True))
def test_firings_come_in_order_between_t0_and_the_end(history: History) -> None:
    """O1."""
    trigger, events, armed, until = history
    moments = [firing["at"] for firing in judge(trigger, events, armed, until=until)]
    assert moments == sorted(moments)
    assert all(armed <= at <= until for at in moments)


@given(histories(LEAVES))
def test_no_two_firings_of_one_trigger_are_equal(history: History) -> None:
    """F1. Two misses of one moment may be resolved by one event (P5): what each resolves is not written here."""
    trigger, events, armed, until = history
    said = [firing for firing in judge(trigger, events, armed, until=until) if firing["verdict"] != "resolved"]
    assert all(count == 1 for count in Counter(map(str, said)).values())


@given(histories(SILENCE))
def test_a_verdict_waits_for_its_grace_and_a_resolve_for_its_miss(history: History) -> None:
    """P5, P7, D2."""
    grace = span(history[0].get("grace", 0))
    open_misses: Counter[Any] = Counter()
    for firing in _run(history)[0]:
        if firing.verdict == "resolved":
            assert open_misses[firing.labels] > 0
            open_misses[firing.labels] = 0
        else:
            assert firing.at >= firing.due + grace
            open_misses[firing.labels] += firing.verdict == "missed"


@given(histories(("P1", "P2", "P3", "P4")))
def test_each_window_ends_in_one_outcome_and_an_event_counts_once(history: History) -> None:
    """S3, P1."""
    _, node = _run(history)
    assert isinstance(node, Absence)
    for key in [*node.keys.values(), *node.forgotten]:
        assert {window.outcome for window in key.settled} <= OUTCOMES
        deadlines = [window.deadline for window in key.settled]
        assert deadlines == sorted(deadlines)
        for earlier, later in zip(key.settled, key.settled[1:], strict=False):
            assert earlier.end <= later.end
        if "after" in node.rule.trigger:
            counted = Counter(event for window in key.settled for event in [*window.events, *window.late])
            assert all(count == 1 for count in counted.values())
            assert len({window.opener for window in key.settled}) == len(key.settled)


@given(histories(("P1",)))
def test_each_missed_window_of_an_after_fires_once_besides_its_repeats(history: History) -> None:
    """S3, P5."""
    history[0].pop("repeat", None)
    firings, node = _run(history)
    said = Counter((firing.labels, firing.due) for firing in firings if firing.verdict == "missed")
    settled = Counter(
        (labels, window.deadline)
        for labels, key in node.keys.items()
        for window in key.settled
        if window.outcome == "missed"
    )
    assert said == settled


@given(histories(("D1",), stored=True))
def test_every_due_time_of_a_key_is_judged_once(history: History) -> None:
    """D2, D3, S3."""
    _, node = _run(history)
    assert isinstance(node, Deadline)
    over = history[3] - node.rule.grace
    for key in node.keys.values():
        judged = [window.deadline for window in key.settled]
        assert key.judged_after is not None
        assert judged == [due for due in key.calendar.up_to(over) if due > key.judged_after]
        assert {window.outcome for window in key.settled} <= OUTCOMES - {"closed"}


@given(histories(("P1", "P2", "P4")), st.randoms(use_true_random=False))
def test_silence_does_not_care_in_which_order_events_arrived_before_the_verdict(history: History, random: Any) -> None:
    """O4: everything arrives at one instant, in any order; no two events have one time."""
    trigger, events, armed, _ = history
    for field in ("until", "reopen", "subjects", "lateness"):
        trigger.pop(field, None)
    together = (armed + 60 * STEP).isoformat()
    log = []
    for number, event in enumerate(events[1:]):
        occurred = armed + 55 * STEP - number * timedelta(seconds=2)
        log.append({**event, "id": str(number), "occurred": occurred.isoformat(), "received": together})
    shuffled = random.sample(log, len(log))
    until = armed + 120 * STEP
    one, other = (judge(trigger, each, armed, until=until, lateness=60 * STEP) for each in (log, shuffled))
    assert one == other


@given(SEEDS)
def test_an_outage_moves_verdicts_behind_it_and_calls_none_missed_that_it_touched(seed: int) -> None:
    """S2."""
    history = random_history(seed, SILENCE)
    trigger, _, armed, until = history
    events, outages = random_outages(seed, history)
    within = trigger.get("within")
    for firing in judge(trigger, events, armed, until=until + 24 * STEP, outages=outages):
        if firing["verdict"] == "resolved":
            continue
        assert not any(start < firing["at"] < end + MINUTE for start, end in outages)
        if firing["verdict"] == "missed" and within is not None and "repeat" not in trigger:
            assert not any(firing["due"] - span(within) < end and start < firing["due"] for start, end in outages)


# Worked by hand

HEARTBEAT = {"type": "absence", "expect": "x", "within": "10s"}


def test_a_verdict_in_an_outage_waits_until_it_has_settled() -> None:
    """S2: the window [0, 10] overlaps the outage, the verdict comes a minute after its end."""
    firings = judge(HEARTBEAT, [], START, until=START + 3 * MINUTE, outages=[_gap(5, 20)])
    assert _short(firings) == [(80, "unknown", [])]


def test_what_is_delivered_again_before_the_outage_has_settled_is_no_silence() -> None:
    """S2, P5: the beat of second 8 arrives at 70; the next deadline, 18, had its verdict at 80 as well."""
    beat = _event("x", 8, 70, number=1)
    firings = judge(HEARTBEAT, [beat], START, until=START + 3 * MINUTE, outages=[_gap(5, 20)])
    assert _short(firings) == [(80, "unknown", ["1"])]


def test_an_outage_after_the_deadline_moves_only_the_verdict() -> None:
    """S2: with a grace of 30 the window lasts until its verdict at 40, so the outage is in it."""
    trigger = {**HEARTBEAT, "grace": 30}
    assert _short(judge(trigger, [], START, until=START + 3 * MINUTE, outages=[_gap(35, 50)])) == [(110, "unknown", [])]
    assert _short(judge(trigger, [], START, until=START + 3 * MINUTE, outages=[_gap(41, 50)])) == [(40, "missed", [])]


def test_unknown_is_not_said_when_the_trigger_skips_it() -> None:
    """S2."""
    trigger = {**HEARTBEAT, "on_unknown": "skip"}
    assert judge(trigger, [], START, until=START + 3 * MINUTE, outages=[_gap(5, 20)]) == []


def test_schedule_times_in_an_outage_follow_catch_up() -> None:
    """T2: of 20, 40 and 60 the last, all or none; 80 is as ever."""
    for catch_up, expected in (("last", [60, 80]), ("all", [20, 40, 60, 80]), ("none", [80])):
        trigger = {"type": "schedule", "every": 20, "catch_up": catch_up}
        firings = judge(trigger, [], START, until=START + timedelta(seconds=80), outages=[_gap(10, 70)])
        assert [at for at, _, _ in _short(firings)] == expected


def test_what_came_late_for_the_time_before_t0_does_not_count_for_the_next() -> None:
    """O3, D5: T0 is 35 seconds behind 08:00; the stored event of second 30 is late for 08:00, that of 20 took it."""
    trigger = {"type": "deadline", "expect": "x", "due": "*/10 * * * *", "grace": "1m"}
    armed = START + timedelta(seconds=35)
    late = _event("x", 30, number=1)
    assert _short(judge(trigger, [late], armed, until=START + 11 * MINUTE)) == [(660, "missed", [])]
    both = [_event("x", 20, number=2), late]
    assert judge(trigger, both, armed, until=START + 11 * MINUTE) == []


def test_an_after_event_that_came_before_the_one_that_met_the_window_opens_none_later() -> None:
    """Laws O2, P1: at equal times the order of arrival decides, also when the window is settled."""
    trigger = {"type": "absence", "after": "start", "expect": "end", "within": 10}
    events = [_event(*one, number=number) for number, one in enumerate([("start", 0), ("start", 5), ("end", 5)])]
    assert judge(trigger, events, START, until=START + MINUTE) == []
    events[1:] = reversed(events[1:])
    assert _short(judge(trigger, events, START, until=START + MINUTE)) == [(15.0, "missed", ["1"])]

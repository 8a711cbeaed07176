"""Random triggers with random logs, on a coarse grid of times: ties, edges and late arrivals are frequent.

One generator serves both: `random_history` with a seed, `histories` as a hypothesis strategy that shrinks.
Every trigger is valid by the laws. No event plays two roles of one trigger, but where the law is about
that (R4, P2).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

Trigger = dict[str, Any]
History = tuple[Trigger, list[dict[str, Any]], datetime, datetime]
"""A trigger, its log, T0, and the last moment to judge."""

LEAVES = ("R1", "R4", "P1", "P2", "P3", "P4", "D1")
COMPOSITES = ("C2", "C3")
KINDS = (*LEAVES, *COMPOSITES, "T1")

NAMES = ("a", "b", "c")
RESOURCES = ("p", "q")
STEP = timedelta(seconds=5)
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
CHANGES = (datetime(2026, 3, 29, 0, 58, tzinfo=UTC), datetime(2026, 10, 25, 0, 58, tzinfo=UTC))
"""Shortly before Berlin's clocks are changed."""


def random_history(seed: int, kinds: Sequence[str] = KINDS, *, stored: bool = False) -> History:
    """The history of this seed; with `stored`, some events were received before T0 (law O3)."""
    return history(Random(seed), kinds, stored=stored)


def histories(kinds: Sequence[str] = KINDS, *, stored: bool = False) -> st.SearchStrategy[History]:
    """The same as a strategy."""
    return st.randoms(use_true_random=False).map(lambda random: history(random, kinds, stored=stored))


def random_outages(seed: int, history: History) -> tuple[list[dict[str, Any]], list[tuple[datetime, datetime]]]:
    """One or two outages in a history (law S2), and its log with nothing received in them but at their ends."""
    _, log, armed, until = history
    random = Random(seed)
    edges = sorted(random.sample(range(1, max(int((until - armed) / STEP), 8)), 4))
    moments = [armed + edge * STEP for edge in edges]
    gaps = [(moments[0], moments[1]), (moments[2], moments[3])][: random.randint(1, 2)]
    events = []
    for event in log:
        received = datetime.fromisoformat(event["received"])
        later = [end for start, end in gaps if start < received < end]
        events.append({**event, "received": max([received, *later]).isoformat()})
    return events, gaps


def history(random: Random, kinds: Sequence[str] = KINDS, *, stored: bool = False) -> History:
    """One trigger of one of the kinds (each named by its law) and a log for it."""
    kind = random.choice(list(kinds))
    trigger = MAKERS[kind](random)
    armed = START + random.choice([0, 0, 0, 1, 6]) * STEP
    if trigger.get("timezone") == "Europe/Berlin" and random.random() < 0.4:
        armed = random.choice(CHANGES)
    log = _log(random, armed, sparse=kind == "D1", stored=stored)
    last = datetime.fromisoformat(log[-1]["received"])
    until = last + random.choice([0, 1, 6, 20, 40, 60]) * STEP
    if kind in COMPOSITES and random.random() < 0.15:  # drawn last: the other histories stay what they are
        _nest(random, trigger)
    return trigger, log, armed, until


# Logs


def _log(random: Random, armed: datetime, *, sparse: bool, stored: bool) -> list[dict[str, Any]]:
    log = []
    if stored:
        log += _events(random, armed - random.choice([10, 24, 60]) * STEP, numbers=range(100, 106), until=armed)
    if not log:
        log.append(_event("scenario.start", {"id": "scenario"}, number=0, times=(armed, armed)))
    numbers = range(1, 2 + random.choice([3, 6, 10, 16, 24]))
    return log + _events(random, armed, numbers=numbers, sparse=sparse)


def _events(
    random: Random, start: datetime, *, numbers: range, sparse: bool = False, until: datetime | None = None
) -> list[dict[str, Any]]:
    gaps = [0, 1, 2, 3, 5, 9] if sparse else [0, 0, 1, 1, 2, 3, 4]
    received, log = start, []
    for number in numbers:
        received += random.choice(gaps) * STEP
        if until is not None and received >= until:
            break
        delay = random.choice([0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 12, 13, 20])
        occurred = received - delay * STEP
        if random.random() < 0.04:
            occurred = received + 2 * STEP
        again = random.randint(numbers[0], number) if random.random() < 0.06 else number
        event = _event(random.choice(NAMES), _resource(random), number=again, times=(None, received))
        if delay or random.random() < 0.8:
            event["occurred"] = occurred.isoformat()
        log.append(_with_more(random, event))
    return log


def _event(
    name: str, resource: dict[str, Any], *, number: int, times: tuple[datetime | None, datetime]
) -> dict[str, Any]:
    event: dict[str, Any] = {"id": f"00000000-0000-4000-8000-{number:012d}", "event": name, "resource": resource}
    if times[0] is not None:
        event["occurred"] = times[0].isoformat()
    return {**event, "received": times[1].isoformat()}


def _resource(random: Random) -> dict[str, Any]:
    resource: dict[str, Any] = {"id": random.choice(RESOURCES)}
    if random.random() < 0.6:
        resource["env"] = random.choice(["prod", "prod", "dev", 1, True])
    return resource


def _with_more(random: Random, event: dict[str, Any]) -> dict[str, Any]:
    if random.random() < 0.6:
        event["payload"] = {"n": random.choice([1, 2, "1", 2.5, None, [1]])}
    if random.random() < 0.5:
        owner = {"id": random.choice(["team/x", "team/y"]), "role": random.choice(["owner", "owner", "member"])}
        event["related"] = [owner]
    return event


# Fields


def _seconds(random: Random, choices: Sequence[int]) -> Any:
    """A duration in one of its spellings."""
    value = random.choice(list(choices))
    return random.choice([value, value, f"{value}s", f"PT{value}S"])


def _maybe(random: Random, trigger: Trigger, chance: float, **fields: Any) -> None:
    if random.random() < chance:
        trigger.update(fields)


def _names(random: Random, name: str, others: Sequence[str] = ()) -> Any:
    """A pattern that matches this name, and of `others` as many as it likes."""
    if others and random.random() < 0.15:
        return [name, random.choice(list(others))]
    return random.choice([name, name, name, [name]])


def _predicate(random: Random, trigger: Trigger) -> None:
    _maybe(random, trigger, 0.08, match={"env": random.choice(["prod", ["prod", "dev"], "!dev", "?rod", "[pd]*", "1"])})
    _maybe(random, trigger, 0.05, match_related={"id": random.choice(["team/*", "!team/x"])})
    _maybe(random, trigger, 0.05, where=random.choice(["payload.n", "payload.n > `1`", "resource.env == 'prod'"]))


def _keys(random: Random, trigger: Trigger, chance: float = 0.5) -> None:
    if random.random() < chance:
        wanted = [["id"], ["id"], ["id"], {"host": "id"}, ["id", "env"], ["payload:n"], ["related:owner:id"]]
        trigger["for_each"] = random.choice(wanted)


def _subjects(random: Random, trigger: Trigger) -> None:
    wanted = trigger.get("for_each")
    if wanted is None or random.random() < 0.5:
        return
    names = list(wanted)
    one: dict[str, list[Any]] = {"payload:n": [1, 7], "related:owner:id": ["team/x", "team/z"]}
    values = one.get(names[0], ["p", "r"])
    as_maps = len(names) > 1 or random.random() < 0.3
    rest = dict.fromkeys(names[1:], "prod")
    trigger["subjects"] = [{names[0]: value, **rest} if as_maps else value for value in values]


def _silence(random: Random, trigger: Trigger) -> None:
    """The fields that judge silence and have a meaning without keys too."""
    _maybe(random, trigger, 0.6, grace=_seconds(random, [5, 10, 20, 40]))
    _maybe(random, trigger, 0.7, on_late="fire")
    _maybe(random, trigger, 0.15, on_unknown="skip")
    _maybe(random, trigger, 0.4, lateness=_seconds(random, [5, 15, 120]))
    _maybe(random, trigger, 0.3, threshold=random.choice([2, 3]))


def _until(random: Random, trigger: Trigger, name: str) -> None:
    if random.random() < 0.35:
        trigger["until"] = name
        _maybe(random, trigger, 0.6, reopen=True)


# Triggers, by their law


def _three(random: Random) -> list[str]:
    names = list(NAMES)
    random.shuffle(names)
    return names


def _r1(random: Random) -> Trigger:
    first, second, _ = _three(random)
    trigger: Trigger = {"type": "event", "expect": _names(random, first, [second])}
    _maybe(random, trigger, 0.1, expect="*", match={"id": list(RESOURCES)})
    threshold = random.choice([1, 1, 2, 2, 3])
    _maybe(random, trigger, 0.8 if threshold == 1 else 1, threshold=threshold)
    if threshold > 1 or random.random() < 0.4:
        trigger["within"] = _seconds(random, [10, 20, 30, 90])
    _maybe(random, trigger, 0.4, lateness=_seconds(random, [5, 15]))
    _keys(random, trigger)
    if "match" not in trigger:
        _predicate(random, trigger)
    return trigger


def _r4(random: Random) -> Trigger:
    expect, after, _ = _three(random)
    trigger: Trigger = {"expect": _names(random, expect, [after]), "after": after}
    _maybe(random, trigger, 0.25, expect=after)
    _maybe(random, trigger, 0.85, within=_seconds(random, [10, 20, 30, 70]))
    _maybe(random, trigger, 0.4, threshold=random.choice([1, 2, 3]))
    _maybe(random, trigger, 0.4, lateness=_seconds(random, [5, 15]))
    _keys(random, trigger)
    _predicate(random, trigger)
    return trigger


def _absence(random: Random, **fields: Any) -> Trigger:
    trigger: Trigger = {"type": "absence"} if random.random() < 0.4 else {"posture": "Proactive"}
    trigger.update(fields, within=_seconds(random, [10, 10, 20, 30, 70]))
    _silence(random, trigger)
    _maybe(random, trigger, 0.3, repeat=_seconds(random, [15, 40]))
    _predicate(random, trigger)
    return trigger


def _p1(random: Random) -> Trigger:
    expect, after, until = _three(random)
    trigger = _absence(random, expect=_names(random, expect), after=_names(random, after))
    _keys(random, trigger)
    _until(random, trigger, until)
    return trigger


def _p2(random: Random) -> Trigger:
    beat, other, until = _three(random)
    names = _names(random, beat, [other])
    trigger = _absence(random, expect=names, after=names)
    _keys(random, trigger)
    _until(random, trigger, until)
    return trigger


def _p3(random: Random) -> Trigger:
    expect, other, until = _three(random)
    trigger = _absence(random, expect=_names(random, expect, [other]))
    _until(random, trigger, until)
    return trigger


def _p4(random: Random) -> Trigger:
    trigger = _p3(random)
    _keys(random, trigger, chance=1)
    _subjects(random, trigger)
    _maybe(random, trigger, 0.3, forget_after=_seconds(random, [30, 45, 100]))
    return trigger


def _d1(random: Random) -> Trigger:
    expect, other, _ = _three(random)
    due = random.choice(["* * * * *", "* * * * *", "*/2 * * * *", "*/2 * * * *", "*/5 * * * *", "0,1,30 * * * *"])
    trigger: Trigger = {"type": "deadline", "expect": _names(random, expect, [other]), "due": due}
    _silence(random, trigger)
    _maybe(random, trigger, 0.2, grace=_seconds(random, [60, 70, 130]))
    _maybe(random, trigger, 0.5, window=_seconds(random, [20, 40, 60, 100, 200]))
    _maybe(random, trigger, 0.7, timezone=random.choice(ZONES))
    _keys(random, trigger)
    _subjects(random, trigger)
    _predicate(random, trigger)
    return trigger


def _t1(random: Random) -> Trigger:
    trigger: Trigger = {"type": "schedule"}
    _maybe(random, trigger, 0.5, catch_up=random.choice(["last", "all", "none"]))
    kind = random.choice(["cron", "every", "rrule"])
    if kind == "every":
        trigger["every"] = _seconds(random, [5, 20, 70])
        anchors = [START, START + 3 * STEP, START - timedelta(days=1) + STEP]
        _maybe(random, trigger, 0.5, anchor=random.choice(anchors).isoformat())
    else:
        trigger["timezone"] = random.choice(ZONES)
        trigger[kind] = (
            "*/2 * * * *" if kind == "cron" else "DTSTART:20260301T000000\nRRULE:FREQ=HOURLY;BYMINUTE=0,1,2,5"
        )
    return trigger


# Composites


def _child(random: Random, depth: int, *, correlated: bool) -> Trigger:
    if depth > 0 and random.random() < 0.25:
        return _composite(random, random.choice(["compound", "sequence"]), depth - 1, correlated=correlated)
    if random.random() < 0.5:
        child: Trigger = {"expect": random.choice(NAMES)}
    else:
        silent = ["P4", "D1"] if correlated else ["P3", "D1", "T1"]
        child = MAKERS[random.choice(["R1", "R4", "P1", "P2", *silent])](random)
    child.pop("for_each", None)
    child.pop("subjects", None)
    if correlated:
        child["for_each"] = ["id"]
        if "posture" in child or child.get("type") in ("absence", "deadline"):
            _maybe(random, child, 0.0 if "after" in child else 0.3, subjects=["p", "r"])
    return child


def _composite(random: Random, kind: str, depth: int, *, correlated: bool) -> Trigger:
    children = [_child(random, depth, correlated=correlated) for _ in range(random.choice([1, 2, 2, 2, 3]))]
    counted = len(children)
    trigger: Trigger = {"type": kind, "triggers": children}
    _maybe(random, trigger, 0.75, within=_seconds(random, [10, 20, 40, 70]))
    for _ in range(random.choice([0, 0, 1, 1, 2]) if counted > 1 else 1):
        forbidden: Trigger = {"type": "not", "trigger": _child(random, depth - 1, correlated=correlated)}
        _maybe(random, forbidden, 0.6, within=_seconds(random, [5, 10, 30]))
        ends = kind == "compound" or "within" in trigger
        children.insert(random.randint(0, len(children) if ends else len(children) - 1), forbidden)
    if kind == "compound":
        _maybe(random, trigger, 0.9, require=random.choice(["all", "all", "any", random.randint(1, counted)]))
    if correlated:
        trigger["for_each"] = ["id"]
    return trigger


def _nest(random: Random, trigger: Trigger) -> None:
    """Put a composite, with others inside it where it likes, in the place of a child, or under a `not`."""
    children, depth = trigger["triggers"], random.choice([1, 2])
    place = random.randrange(len(children))
    made = _composite(random, random.choice(["compound", "sequence"]), depth, correlated="for_each" in trigger)
    if children[place].get("type") == "not":
        children[place]["trigger"] = made
    else:
        children[place] = made


def _c2(random: Random) -> Trigger:
    return _composite(random, "compound", 1, correlated=random.random() < 0.5)


def _c3(random: Random) -> Trigger:
    return _composite(random, "sequence", 1, correlated=random.random() < 0.5)


MAKERS: dict[str, Callable[[Random], Trigger]] = {
    "R1": _r1,
    "R4": _r4,
    "P1": _p1,
    "P2": _p2,
    "P3": _p3,
    "P4": _p4,
    "D1": _d1,
    "C2": _c2,
    "C3": _c3,
    "T1": _t1,
}

"""Explain: why an event did, or did not, make an automation fire.

What touched a key left a decision record, which is told as it is. For an event that did not match, each predicate of
each trigger is recomputed, and shown with the pattern beside the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Decision
from tocsin.schemas.moments import iso
from tocsin.schemas.trigger import ChildTrigger, DeadlineTrigger, EventTrigger, NotTrigger, ScheduleTrigger
from tocsin.triggers.match import Predicate
from tocsin.triggers.match import explain as predicates_of

_ROLES = frozenset({"expect", "after", "until"})


def explain(automation: Automation, arrival: Arrival, decisions: Iterable[Decision] = ()) -> dict[str, Any]:
    """Return what an event was to an automation, as the API shows it; `decisions` are those recorded with the event.

    `matched` says whether any trigger of the automation covers the event, `summary` is the answer in a sentence,
    `triggers` lists each trigger's predicates, `decisions` what the event did to which key.
    """
    own = [one for one in decisions if one.automation == automation.name]
    triggers = [_of_leaf(place, leaf, arrival) for place, leaf in _leaves(automation.trigger)]
    matched = any(one["matched"] for one in triggers)
    return {
        "automation": automation.name,
        "matched": matched,
        "summary": _summary(automation, triggers, own, matched=matched),
        "triggers": triggers,
        "decisions": [
            {"at": iso(one.at_us), "labels": one.labels, "outcome": str(one.outcome), "text": one.text,
             "firing": one.firing}
            for one in own
        ],
    }  # fmt: skip


def _leaves(trigger: ChildTrigger, place: str = "trigger") -> Iterator[tuple[str, EventTrigger | DeadlineTrigger]]:
    """Return the triggers that look at events themselves, with where they stand in the definition."""
    if isinstance(trigger, EventTrigger | DeadlineTrigger):
        yield place, trigger
    elif isinstance(trigger, NotTrigger):
        yield from _leaves(trigger.trigger, f"{place}.trigger")
    elif not isinstance(trigger, ScheduleTrigger):
        for index, child in enumerate(trigger.triggers):
            yield from _leaves(child, f"{place}.triggers[{index}]")


def _of_leaf(place: str, leaf: EventTrigger | DeadlineTrigger, arrival: Arrival) -> dict[str, Any]:
    predicates = predicates_of(leaf, arrival)
    roles = [one for one in predicates if one.name in _ROLES]
    others = all(one.passed for one in predicates if one.name not in _ROLES)
    return {
        "place": place,
        "matched": others and any(one.passed for one in roles),
        "predicates": [
            {"name": one.name, "pattern": one.pattern, "value": one.value, "passed": one.passed} for one in predicates
        ],
        "failed": [_failure(one) for one in _deciding(predicates)],
    }


def _deciding(predicates: list[Predicate]) -> Iterator[Predicate]:
    """Return the predicates that kept the event out: a role counts when no other role passed either."""
    any_role = any(one.passed for one in predicates if one.name in _ROLES)
    return (one for one in predicates if not one.passed and not (one.name in _ROLES and any_role))


def _failure(predicate: Predicate) -> str:
    wanted = predicate.pattern
    if isinstance(wanted, list | tuple):
        wanted = " or ".join(map(str, wanted))
    had = "there is none" if predicate.value is None else f"it is {predicate.value!r}"
    return f"{predicate.name} wants {wanted}, and {had}"


def _summary(
    automation: Automation, triggers: list[dict[str, Any]], decisions: list[Decision], *, matched: bool
) -> str:
    if decisions:
        return "; ".join(dict.fromkeys(one.text for one in decisions))
    if matched:
        kept_out = "" if automation.enabled else ", but the automation is disabled"
        return f"matches{kept_out}; nothing is recorded: it arrived before the automation was armed, or while paused"
    if not triggers:
        return "does not look at events: it fires by time"
    nearest = min(triggers, key=lambda one: len(one["failed"]))
    return f"does not match: {'; '.join(nearest['failed'])}"

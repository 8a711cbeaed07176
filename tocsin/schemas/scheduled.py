"""Schedules of flows: a flow that runs by itself is judged as an automation of its own, called `flow/NAME`.

Names of definitions have no `/`, so it is never taken for an automation that somebody wrote.
"""

from __future__ import annotations

from tocsin.schemas.action import RunFlow
from tocsin.schemas.automation import Automation
from tocsin.schemas.flow import Flow
from tocsin.schemas.trigger import ScheduleTrigger

_PREFIX = "flow/"


def judged_name(kind: str, name: str) -> str:
    """Return the name under which a definition of a kind is judged."""
    return f"{_PREFIX}{name}" if kind == "flow" else name


def written_name(judged: str) -> str:
    """Return the name of the definition that is judged under this name."""
    return judged.removeprefix(_PREFIX)


def schedule_of(flow: Flow) -> ScheduleTrigger | None:
    """Return the trigger that a flow's schedule is; None if it has no schedule."""
    if flow.schedule is None:
        return None
    return ScheduleTrigger(type="schedule", **flow.schedule.model_dump())


def automation_of(flow: Flow) -> Automation | None:
    """Return the automation that runs a flow by its schedule; None if it has no schedule."""
    trigger = schedule_of(flow)
    if trigger is None:
        return None
    run = RunFlow(type="run-flow", flow=flow.name)
    return Automation.model_construct(name=judged_name("flow", flow.name), trigger=trigger, actions=[run])

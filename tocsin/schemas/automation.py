"""Automations: what to wait for, and what to do then."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from tocsin.schemas.action import Action
from tocsin.schemas.spec import EntryName, Spec, Text
from tocsin.schemas.trigger import DeadlineTrigger, EventTrigger, Trigger


class Automation(Spec):
    """A trigger, and the actions that answer to its firings."""

    name: EntryName = Field(description="What it is called; no two automations share a name.")
    description: str = Field("", description="What it is for, in a sentence.")
    enabled: bool = Field(True, description="False: it is kept and judges nothing.")
    mode: Literal["live", "shadow"] = Field("live", description="shadow: judge and record, perform nothing.")
    severity: Literal["info", "low", "medium", "high", "critical"] = Field("medium", description="How grave it is.")
    owner: str = Field("", description="Who answers for it.")
    runbook: str = Field("", description="Where it is written what to do.")
    tags: list[Text] = Field(default_factory=list, description="Words to find it by.")
    trigger: Trigger = Field(description="What to wait for.")
    actions: list[Action] = Field(default_factory=list, description="What to do when it fires.")
    actions_on_resolve: list[Action] = Field(
        default_factory=list, description="What to do when something missed came after all (laws P5, D2)."
    )

    @field_validator("actions_on_resolve")
    @classmethod
    def _can_resolve(cls, actions: list[Any], info: ValidationInfo) -> list[Any]:
        trigger = info.data.get("trigger")
        if actions and trigger is not None and not resolves(trigger):
            raise ValueError("would never run: only `absence` and `deadline` triggers resolve; leave it out")
        return actions


def resolves(trigger: Trigger) -> bool:
    """Return whether firings of the trigger can be resolved by a later event (laws P5, D2)."""
    if isinstance(trigger, EventTrigger):
        return trigger.posture == "Proactive"
    return isinstance(trigger, DeadlineTrigger)

"""Flows and queues: what can be run, and how much of it at once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, JsonValue, model_validator

from tocsin.schemas.calendar import Cron, Recurrence, Zone
from tocsin.schemas.moments import Duration
from tocsin.schemas.run import DEFAULT_QUEUE
from tocsin.schemas.secret import TextOrSecret
from tocsin.schemas.spec import EntryName, Spec, Text

_ENTRYPOINT = re.compile(r".+:[^\W\d]\w*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an environment variable: use letters, digits and `_`")
    return name


Variable = Annotated[str, AfterValidator(_check_variable)]
"""The name of an environment variable."""


class Queue(Spec):
    """A line in which runs wait."""

    name: EntryName = Field(description="What flows and actions call it.")
    concurrency: int = Field(ge=1, le=10_000, description="How many of its runs go on at the same time.")


class FlowSchedule(Spec):
    """When a flow runs by itself (laws T1, D4): one of `cron`, `every` and `rrule`."""

    cron: Cron | None = Field(None, description="A cron expression of five fields.")
    every: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = Field(
        None, description="The time between two runs."
    )
    anchor: AwareDatetime | None = Field(None, description="A time that `every` counts from.")
    rrule: Recurrence | None = Field(None, description="A recurrence rule of RFC 5545.")
    timezone: Zone = Field("UTC", description="The zone in which `cron` and `rrule` are read.")
    catch_up: Literal["last", "all", "none"] = Field(
        "last", description="Which times that passed during a downtime, or a pause, run after it (law T2)."
    )

    @model_validator(mode="after")
    def _one_way(self) -> FlowSchedule:
        given = [name for name in ("cron", "every", "rrule") if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(f"`{name}`" for name in given) + " are given" if given else "none is given"
            raise ValueError(f"a schedule has one of `cron`, `every` and `rrule`; {what}: keep one")
        if self.anchor is not None and self.every is None:
            raise ValueError("`anchor` is where `every` counts from: leave it out, or write `every: 1h`")
        if self.every is not None and self.timezone != "UTC":
            raise ValueError("`every` is the same in all zones: leave `timezone` out, or write `cron`")
        return self


class Flow(Spec):
    """A program that can be run: a Python function, or a command."""

    name: EntryName = Field(description="What actions call it.")
    entrypoint: str | None = Field(
        None, description="A Python function as path.py:function, from the definitions' folder."
    )
    command: list[Text] | None = Field(None, min_length=1, description="A program and its arguments, without a shell.")
    queue: Text = Field(DEFAULT_QUEUE, description="The queue in which its runs wait.")
    schedule: FlowSchedule | None = Field(None, description="When it runs by itself.")
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="Parameters unless others are given.")
    retries: int = Field(0, ge=0, le=100, description="How often a failed run is started again.")
    retry_delay: Duration = Field(timedelta(seconds=10), description="The wait before that; it doubles each time.")
    timeout: Duration = Field(timedelta(hours=1), description="How long a run may take before it is ended.")
    env: dict[Variable, TextOrSecret] = Field(
        default_factory=dict, description="Environment variables of its process; a secret one is a reference."
    )
    working_directory: Text | None = Field(None, description="Where it runs; default the definitions' folder.")

    @model_validator(mode="before")
    @classmethod
    def _one_program(cls, value: Any) -> Any:
        if isinstance(value, dict) and (value.get("entrypoint") is None) == (value.get("command") is None):
            raise ValueError("a flow is one program: write `entrypoint: path.py:function` or `command: [program, ...]`")
        return value

    @model_validator(mode="after")
    def _check(self) -> Flow:
        if self.entrypoint is not None and not _ENTRYPOINT.fullmatch(self.entrypoint):
            raise ValueError(f"{self.entrypoint!r} is not an entrypoint: write path.py:function")
        if not self.timeout:
            raise ValueError("`timeout` is 0: give the run some time, for example 1h")
        return self

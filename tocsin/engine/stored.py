"""What is in force at a place of the log, read from the store as texts: a trigger is read when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from tocsin.schemas.action import Action
from tocsin.schemas.automation import Automation
from tocsin.schemas.flow import Flow
from tocsin.schemas.moments import Micros
from tocsin.schemas.scheduled import judged_name, schedule_of, written_name
from tocsin.schemas.trigger import ScheduleTrigger, Trigger
from tocsin.store import definitions, states
from tocsin.store.database import Connection
from tocsin.store.definitions import Pause, Version
from tocsin.triggers.judge import Armed, Judge
from tocsin.triggers.machine import Outage
from tocsin.triggers.sketch import Sketch, Unread, sketch

KINDS = ("automation", "flow")
"""The kinds of definitions that are judged: flows by their schedules."""

_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
_ACTIONS: TypeAdapter[list[Any]] = TypeAdapter(list[Action])
_FEW = 5_000  # up to so many names are looked up by name
_SCHEDULED = Sketch((), waits=True)
_MODE = Automation.model_fields["mode"].default
_SEVERITY = Automation.model_fields["severity"].default


class _Same(NamedTuple):
    """What makes two `Live` the same one."""

    active_seq: int
    created_us: Micros
    mode: str
    severity: str
    actions: bytes
    actions_on_resolve: bytes


class Live:
    """What is needed of an automation in force beside the judge's plan: which version it is, and its actions.

    Many automations differ in their triggers only; those share one of these. Actions are read when first asked for.
    """

    __slots__ = ("_read", "_said")

    def __init__(self, said: _Same) -> None:
        self._said = said
        self._read: tuple[tuple[tuple[str, str], ...], ...] | None = None

    @property
    def active_seq(self) -> int:
        """The place of the version in the log."""
        return self._said.active_seq

    @property
    def created_us(self) -> Micros:
        """When the version was put into force."""
        return self._said.created_us

    @property
    def mode(self) -> str:
        """`live` or `shadow`."""
        return self._said.mode

    @property
    def severity(self) -> str:
        """How grave it is."""
        return self._said.severity

    @property
    def actions(self) -> tuple[tuple[str, str], ...]:
        """Type and JSON text of each action."""
        return self._actions()[0]

    @property
    def actions_on_resolve(self) -> tuple[tuple[str, str], ...]:
        """Type and JSON text of each action on a resolve."""
        return self._actions()[1]

    def _actions(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        if self._read is None:
            self._read = tuple(map(_written, (self._said.actions, self._said.actions_on_resolve)))
        return self._read


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is judged. `only` is the one name that its events have, where a deadline has one: its stored
    events are then quickly found."""

    armed: Armed
    live: Live
    only: str | None


class Reader:
    """Reads what is in force; what many have in common is there once for each reader.

    `settle_us` is law S2's, `same` returns the text of a version: that one which is in memory already, if there is one.
    """

    def __init__(self, *, settle_us: Micros, same: Callable[[Version], str]) -> None:
        """Begin with nothing in common."""
        self._settle_us = settle_us
        self._same = same
        self._shared: dict[_Same, Live] = {}

    def found(
        self, connection: Connection, *, at_seq: int, shard: int | None = None, names: Collection[str] | None = None
    ) -> Iterator[Found]:
        """Yield what is judged behind a place of the log: in a shard, and under some names, if given."""
        few = None if names is None or len(names) > _FEW else {written_name(name) for name in names}
        pauses = _pauses(connection, at_seq, few)
        for kind in KINDS:
            for version in definitions.in_force(connection, at_seq=at_seq, kind=kind, names=few, shard=shard):
                name = judged_name(kind, version.name)
                if names is None or name in names:
                    one = self._one(version, name, pauses.get(name, ()))
                    if one is not None:
                        yield one

    def _one(self, version: Version, name: str, pauses: Sequence[Pause]) -> Found | None:
        text = self._same(version)
        data = from_json(text)
        trigger, only = Unread(_SCHEDULED, partial(_read_flow, text)), None
        if version.kind == "flow":
            if data.get("schedule") is None:
                return None
            actions, on_resolve = [{"type": "run-flow", "flow": version.name}], []
        else:
            actions, on_resolve = data.get("actions", []), data.get("actions_on_resolve", [])
            trigger, only = Unread(sketch(data["trigger"]), partial(_read, text)), _only_name(data["trigger"])
        said = _Same(
            version.active_seq, version.created_us, data.get("mode", _MODE), data.get("severity", _SEVERITY),
            to_json(actions), to_json(on_resolve),
        )  # fmt: skip
        live = self._shared.get(said)
        if live is None:
            live = self._shared[said] = Live(said)
        return Found(self._armed(version, trigger, name=name, pauses=pauses), live, only)

    def _armed(self, version: Version, trigger: Unread, *, name: str, pauses: Sequence[Pause]) -> Armed:
        return Armed(
            name=name,
            trigger=trigger,
            armed_us=version.armed_us,
            armed_seq=version.armed_seq,
            paused=any(pause.to_us is None for pause in pauses),
            outages=tuple(
                Outage(pause.from_us, pause.to_us, pause.to_us + self._settle_us)
                for pause in pauses
                if pause.to_us is not None and pause.to_us > version.armed_us
            ),
        )


@dataclass(frozen=True, slots=True)
class Judges:
    """Makes judges over a few automations from what is stored, for who has no evaluator at hand."""

    lateness_us: Micros
    settle_us: Micros

    def over(self, connection: Connection, names: Collection[str]) -> Judge:
        """Return a judge over these automations, those of them that are in force for what was judged last."""
        reader = Reader(settle_us=self.settle_us, same=_own_text)
        shards = definitions.shards_of(connection, {written_name(name) for name in names})
        found = (
            one
            for shard in sorted(shards)
            for one in reader.found(
                connection, at_seq=states.cursor_of(connection, shard).seq, shard=shard, names=names
            )
        )
        return Judge((one.armed for one in found), lateness_us=self.lateness_us)


def _own_text(version: Version) -> str:
    return version.document


def _pauses(connection: Connection, at_seq: int, names: Collection[str] | None) -> Mapping[str, list[Pause]]:
    """Return the pauses as they stand at a place of the log, by the name under which something is judged."""
    found: dict[str, list[Pause]] = {}
    for kind in (*KINDS, "enabled"):
        for pause in definitions.pauses_of(connection, kind, names=names):
            if pause.from_seq <= at_seq:
                over = pause.to_seq is not None and pause.to_seq <= at_seq
                pause_then = pause if over else replace(pause, to_seq=None, to_us=None)
                found.setdefault(judged_name(kind, pause.name), []).append(pause_then)
    return found


def _read(text: str) -> Trigger:
    return _TRIGGER.validate_python(from_json(text)["trigger"])


def _read_flow(text: str) -> ScheduleTrigger:
    trigger = schedule_of(Flow.model_validate_json(text))
    assert trigger is not None, "only flows with a schedule are found"
    return trigger


def _only_name(data: Mapping[str, Any]) -> str | None:
    expect = data.get("expect")
    if data.get("type") != "deadline" or not isinstance(expect, str) or "*" in expect:
        return None
    return expect


def _written(actions: bytes) -> tuple[tuple[str, str], ...]:
    return tuple((action.type, action.model_dump_json()) for action in _ACTIONS.validate_json(actions))

"""What can be told of a trigger without reading it properly: by what events reach it, and whether it waits for silence.

An automation that came from the store was checked when it was put there. To find it by an event takes no more than a
look at its text; it is read and compiled when the first event or moment concerns it. Of very many automations most are
never asked, and a start does not wait for them.

Rule 1: for what the store holds, a sketch says exactly what the trigger says (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.schemas.trigger import LeafTrigger, Trigger
from tocsin.triggers.match import literals_of, name_patterns


@dataclass(frozen=True, slots=True)
class Reach:
    """How a leaf is reached: its patterns of event names, and labels of the primary resource that have to equal
    one of some values."""

    names: tuple[str, ...]
    literals: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, trigger: LeafTrigger) -> Reach:
        """Return how a trigger that was read is reached."""
        names = {text for texts in name_patterns(trigger).values() for text in texts}
        return cls(access_names(names), literals_of(trigger.match))


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is known of a trigger that was not read: its leaves in the order in which they are compiled, and whether
    anything of it may have a state before the first event."""

    leaves: tuple[Reach, ...]
    waits: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """A trigger that is read when it is needed; `read` raises what there is to raise when it can not be."""

    sketch: Sketch
    read: Callable[[], Trigger]


def sketch(data: Mapping[str, Any]) -> Sketch:
    """Return the sketch of a trigger in the form in which it is stored: a dumped model as JSON data."""
    nodes = list(_nodes(data))
    leaves = tuple(_reach(node) for node in nodes if node.get("type") != "schedule")
    return Sketch(leaves, any(map(_waits, nodes)))


def access_names(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return names, and prefixes with a `*` behind, so that just one covers each name that a pattern covers."""
    patterns = set(patterns)
    if len(patterns) == 1 and "*" not in next(iter(patterns)):
        return tuple(patterns)
    prefixes = {pattern.partition("*")[0] for pattern in patterns if "*" in pattern}
    names = {pattern for pattern in patterns if "*" not in pattern}
    least = [name for name in prefixes | names if not any(name.startswith(other) for other in prefixes - {name})]
    return tuple(sorted(f"{name}*" if name in prefixes else name for name in least))


def _nodes(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what is not a composite, in the order in which it is compiled."""
    if data.get("type") == "not":
        data = data["trigger"]
    if "triggers" not in data:
        yield data
        return
    for child in data["triggers"]:
        yield from _nodes(child)


def _reach(node: Mapping[str, Any]) -> Reach:
    names = [name for role in ("expect", "after", "until") for name in _texts(node.get(role))]
    match = {label: _texts(patterns) for label, patterns in (node.get("match") or {}).items()}
    return Reach(access_names(names), literals_of(match))


def _texts(value: str | Sequence[str] | None) -> Sequence[str]:
    """Return patterns that are stored alone, in a list, or not at all."""
    return (value,) if isinstance(value, str) else value or ()


def _waits(node: Mapping[str, Any]) -> bool:
    if node.get("type") == "schedule":
        return True
    silent = node.get("type") == "deadline" or (node.get("posture") == "Proactive" and node.get("after") is None)
    return silent and (node.get("type") == "deadline" or not node.get("for_each") or bool(node.get("subjects")))

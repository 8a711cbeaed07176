"""What differs between two versions of a definition, and what of it lets a trigger begin anew (law S4)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.schemas.spec import Path
from tocsin.schemas.trigger import CALM, Trigger, fingerprint

_CHARS = 60
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs: where it stands, and what it was and is, as short JSON (empty: not there)."""

    path: Path
    before: str
    after: str

    def __str__(self) -> str:
        """Return `trigger.within: 10m -> 20m`."""
        return f"{_joined(self.path)}: {self.before or 'not set'} -> {self.after or 'not set'}"


def differences(before: Any, after: Any, *, path: Path = ()) -> Iterator[Difference]:
    """Return the smallest parts in which JSON data differ; lists of different lengths differ as a whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from differences(before.get(name, _ABSENT), after.get(name, _ABSENT), path=(*path, name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after) and _nested(before, after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, path=(*path, place))
    elif before != after:
        yield Difference(path, _shown(before), _shown(after))


def restarting(before: Trigger, after: Trigger, *, at: str = "trigger") -> list[str]:
    """Return what of a trigger's change lets it begin anew, in sentences; nothing when its windows are kept (law S4).

    `at` is the field in which the trigger stands.
    """
    if fingerprint(before) == fingerprint(after):
        return []
    old, new = (one.model_dump(mode="json", exclude_defaults=True) | {"type": one.type} for one in (before, after))
    found = [str(one) for one in differences(old, new, path=(at,)) if _field(one.path[1:]) not in CALM]
    return found or [f"{at}: the order of what it is made of"]


def _field(path: Path) -> str | int:
    """Return which field of a trigger, or of a child of it, a path leads to."""
    for step in path:
        if step not in ("triggers", "trigger") and not isinstance(step, int):
            return step
    return path[0]


def _nested(*lists: list[Any]) -> bool:
    return all(isinstance(item, Mapping) for items in lists for item in items)


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return ""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CHARS else f"{text[: _CHARS - 1]}…"


def _joined(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")

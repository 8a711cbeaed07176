"""What a change of definitions would do, before it is done: compared as `Definitions` compares, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tocsin.engine.entries import Key, Origin, Texts, foreign, leaving, parsed, trigger_of
from tocsin.schemas.difference import differences, restarting
from tocsin.schemas.document import SECTIONS
from tocsin.store import definitions
from tocsin.store.database import Connection
from tocsin.store.definitions import Version

What = Literal["added", "changed", "removed", "conflict"]
Windows = Literal["begin", "kept", "restarted", "closed"]


@dataclass(frozen=True, slots=True)
class Step:
    """What would become of one definition.

    `windows` says what happens to what its trigger waits for (None: it waits for nothing), `because` what of the
    trigger lets it begin anew (law S4), or who a conflict is with; `fields` are all the fields that differ.
    """

    change: What
    kind: str
    name: str
    windows: Windows | None = None
    because: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the step as JSON data."""
        return asdict(self)


def plan(connection: Connection, wanted: Texts, *, origin: Origin, keep: bool = False) -> list[Step]:
    """Return what would change if `wanted` came from `origin`, in place of what came from there before.

    With `keep`, what is not in it stays. A name that belongs to the other origin is a conflict.
    """
    present = {(one.kind, one.name): one for one in definitions.in_force(connection)}
    steps = [step for key, text in wanted.items() for step in _step(key, text, present.get(key), origin=origin)]
    for kind, name in [] if keep else leaving(present, wanted, origin):
        waits = trigger_of(parsed(kind, present[kind, name].document)) is not None
        steps.append(Step("removed", kind, name, "closed" if waits else None))
    order = list(SECTIONS.values())
    return sorted(steps, key=lambda step: (order.index(step.kind), step.name))


def _step(key: Key, text: str, before: Version | None, *, origin: Origin) -> Iterator[Step]:
    if before is None:
        yield Step("added", *key, "begin" if trigger_of(parsed(key[0], text)) is not None else None)
    elif before.origin != origin:
        yield Step("conflict", *key, because=[foreign(before)])
    elif before.document != text:
        was, now = (trigger_of(parsed(key[0], one)) for one in (before.document, text))
        fields = [str(one) for one in differences(json.loads(before.document), json.loads(text))]
        windows: Windows | None = None
        because: list[str] = []
        if was is None or now is None:
            windows = "begin" if now is not None else "closed" if was is not None else None
        else:
            because = restarting(was, now, at="trigger" if key[0] == "automation" else "schedule")
            windows = "restarted" if because else "kept"
        yield Step("changed", *key, windows, because, fields)

"""How automations and flows stand: what they are waiting for, for the API and the command line."""

from __future__ import annotations

import json
from typing import Any

from tocsin.engine.definitions import Definitions
from tocsin.engine.stored import Judges
from tocsin.errors import JudgeFailed
from tocsin.schemas.automation import Automation
from tocsin.schemas.scheduled import judged_name
from tocsin.schemas.trigger import label_names
from tocsin.store import definitions, firings, states
from tocsin.store.database import Connection

KEYS_MAX = 100
"""The most keys that are shown of one automation."""


def automations(
    connection: Connection, known: Definitions, *, start: int = 0, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return automations by name, in brief: definition, origin, whether paused or disabled, and the last firing."""
    entries = known.entries("automation")
    names = known.names("automation")[start : None if limit is None else start + limit]
    paused = definitions.open_pauses(connection, "automation", names=names)
    return [
        {
            "definition": json.loads(entry.text),
            "origin": entry.origin,
            "state": _state(entry.text, paused=name in paused),
            "paused": name in paused,
            "last_firing": firings.newest_of(connection, name),
        }
        for name, entry in ((name, entries[name]) for name in names if name in entries)
    ]


def automation(connection: Connection, known: Definitions, judges: Judges, *, name: str) -> dict[str, Any] | None:
    """Return one automation with its keys (100 at most): open windows, counts, next deadlines; and its last firing."""
    entry = known.entries("automation").get(name)
    if entry is None:
        return None
    paused = name in definitions.open_pauses(connection, "automation", names=[name])
    return {
        "definition": json.loads(entry.text),
        "origin": entry.origin,
        "state": _state(entry.text, paused=paused),
        "paused": paused,
        "labels": list(label_names(Automation.model_validate_json(entry.text).trigger)),
        "keys": _keys(connection, judges, name),
        "keys_max": KEYS_MAX,
        "last_firing": firings.newest_of(connection, name),
        "decisions": firings.notes_of(connection, name, limit=10),
    }


def flows(connection: Connection, known: Definitions, judges: Judges) -> list[dict[str, Any]]:
    """Return every flow: definition, origin, whether its schedule is paused, and the moment at which it runs next.

    That is None for a flow without a schedule, and while it is paused.
    """
    paused = definitions.open_pauses(connection, "flow")
    found = []
    for name, entry in sorted(known.entries("flow").items()):
        keys = [] if name in paused else _keys(connection, judges, judged_name("flow", name))
        following = keys[0].get("next") if keys else None
        found.append({"name": name, "definition": json.loads(entry.text), "origin": entry.origin,
                      "paused": name in paused, "next": following})  # fmt: skip
    return found


def _state(text: str, *, paused: bool) -> str:
    definition = json.loads(text)
    if not definition.get("enabled", True):
        return "disabled"
    return "paused" if paused else str(definition.get("mode", "live"))


def _keys(connection: Connection, judges: Judges, name: str) -> list[dict[str, Any]]:
    judge = judges.over(connection, [name])
    found: list[dict[str, Any]] = []
    stored = states.of_automation(connection, name, limit=KEYS_MAX)
    newest = firings.newest_of_keys(connection, name, stored)
    for key, blob in stored.items():
        try:
            state = judge.decode(key, blob)
        except JudgeFailed as error:
            found.append({"error": str(error)})
            continue
        if state is not None:
            fired = newest.get(key)
            last = None if fired is None else {part: fired[part] for part in ("id", "verdict", "at", "due", "open")}
            found.append(judge.describe(key, state) | {"last": last})
    return found

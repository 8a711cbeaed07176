"""How automations stand: what they are waiting for, for the API and the command line."""

from __future__ import annotations

import json
from typing import Any

from tocsin.engine.definitions import Definitions
from tocsin.engine.evaluator import Evaluator
from tocsin.errors import JudgeFailed
from tocsin.store import definitions, firings, states
from tocsin.store.database import Connection

KEYS_MAX = 100
"""The most keys that are shown of one automation."""


def automations(connection: Connection, known: Definitions) -> list[dict[str, Any]]:
    """Return every automation in brief: definition, origin, whether it is paused or disabled."""
    paused = definitions.open_pauses(connection, "automation")
    return [
        {
            "definition": json.loads(entry.text),
            "origin": entry.origin,
            "state": _state(entry.text, paused=name in paused),
            "paused": name in paused,
        }
        for name, entry in sorted(known.entries("automation").items())
    ]


def automation(connection: Connection, known: Definitions, evaluator: Evaluator, name: str) -> dict[str, Any] | None:
    """Return one automation with its keys (100 at most): open windows, counts, next deadlines; and its last firing."""
    entry = known.entries("automation").get(name)
    if entry is None:
        return None
    paused = name in definitions.open_pauses(connection, "automation")
    return {
        "definition": json.loads(entry.text),
        "origin": entry.origin,
        "state": _state(entry.text, paused=paused),
        "paused": paused,
        "keys": _keys(connection, evaluator, name),
        "last_firing": firings.newest_of(connection, name),
        "decisions": firings.notes_of(connection, name, limit=10),
    }


def _state(text: str, *, paused: bool) -> str:
    definition = json.loads(text)
    if not definition.get("enabled", True):
        return "disabled"
    return "paused" if paused else str(definition.get("mode", "live"))


def _keys(connection: Connection, evaluator: Evaluator, name: str) -> list[dict[str, Any]]:
    judge = evaluator.in_force.judge
    found = []
    for key, blob in states.of_automation(connection, name, limit=KEYS_MAX).items():
        try:
            state = judge.decode(key, blob)
        except JudgeFailed as error:
            found.append({"error": str(error)})
            continue
        if state is not None:
            found.append(judge.describe(key, state))
    return found

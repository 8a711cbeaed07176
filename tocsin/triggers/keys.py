"""How states are called: `automation`, node and key in one text, joined by a character that is in none of the first
two."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic_core import to_json

_LONGEST = 400
_SEPARATOR = "\x1f"


def state_key(automation: str, node: str, key: Sequence[str]) -> str:
    """Return the one name of a state; a key of more than 400 characters is given by its SHA-256."""
    text = to_json(key).decode()
    if len(text) > _LONGEST:
        text = hashlib.sha256(text.encode()).hexdigest()
    return f"{automation}{_SEPARATOR}{node}{_SEPARATOR}{text}"


def automation_of(key: str) -> str:
    """Return the name of the automation that a state belongs to."""
    return key.partition(_SEPARATOR)[0]


def node_of(key: str) -> tuple[str, str]:
    """Return the automation and the node that a state belongs to."""
    automation, node, _ = key.split(_SEPARATOR, 2)
    return automation, node

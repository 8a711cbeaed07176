"""Checking definitions without running them: `tocsin check`."""

from __future__ import annotations

from pathlib import Path

from tocsin.errors import InvalidDefinition, Problem
from tocsin.store.files import read_definitions


def check(path: Path) -> list[Problem]:
    """Return everything that is wrong with a definitions file or folder; empty: it is right."""
    try:
        read_definitions(path)
    except InvalidDefinition as error:
        return error.problems
    return []

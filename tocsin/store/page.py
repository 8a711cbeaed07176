"""Pages of a list, newest first, with opaque cursors."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from tocsin.errors import InvalidInput, Problem

LIMIT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a list, and the cursor of what follows (None: nothing does)."""

    items: list[dict[str, Any]]
    next: str | None


def encode_cursor(place: int) -> str:
    """Return the cursor that stands behind the row with this number."""
    return base64.urlsafe_b64encode(f"n{place}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> int:
    """Return the row's number in a cursor.

    Raises:
        InvalidInput: it is not a cursor that this server made.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        place = int(text.removeprefix("n"))
    except ValueError:
        place, text = -1, ""
    if not text.startswith("n") or not 0 <= place < 1 << 62:
        problem = Problem(message="is not a cursor: pass on the `next` of the answer before", field="cursor")
        raise InvalidInput([problem])
    return place


def page_of(rows: list[dict[str, Any]], *, limit: int, place: str) -> Page:
    """Make a page of `limit` rows from up to `limit + 1`; `place` names the field that numbers them."""
    more = len(rows) > limit
    items = rows[:limit]
    return Page(items=items, next=encode_cursor(items[-1][place]) if more and items else None)

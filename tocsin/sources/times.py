"""Times as other tools write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_MILLIS_FROM = 100_000_000_000  # as seconds it would be the year 5138


def moment(value: Any) -> str | None:
    """Return ISO 8601 with a zone, or Unix time in seconds or milliseconds, as ISO 8601; None if it is neither."""
    try:
        if isinstance(value, str):
            return value if datetime.fromisoformat(value).tzinfo is not None else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) >= _MILLIS_FROM else value
            return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        pass
    return None

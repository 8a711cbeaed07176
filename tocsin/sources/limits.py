"""How much one request may bring."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, all inclusive; the defaults are those of the settings with the same names."""

    event_bytes: int = 1 << 20
    batch_events: int = 10_000
    batch_bytes: int = 16 << 20
    name_chars: int = 1_024
    labels: int = 500
    related: int = 100

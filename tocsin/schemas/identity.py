"""Ids that are ordered by time."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tocsin.schemas.moments import Micros


def uuid7(now_us: Micros) -> str:
    """Return a UUIDv7 (RFC 9562) of this moment, with the fraction of the millisecond in the 12 bits behind it.

    Ids that are ordered by time fall on neighbouring pages of an index; random ones halve the rate of appends.
    """
    return next(uuid7s(now_us, 1))


def uuid7s(now_us: Micros, count: int) -> Iterator[str]:
    """Yield so many UUIDv7 of one moment, in no order among themselves, for the price of one look for randomness."""
    millis, fraction_us = divmod(max(now_us, 0), 1000)
    moment = f"{(millis & 0xFFFF_FFFF_FFFF) << 16 | 0x7 << 12 | fraction_us * 4096 // 1000:016x}"
    head = f"{moment[:8]}-{moment[8:12]}-{moment[12:]}"
    randomness = os.urandom(8 * count)
    for start in range(0, 8 * count, 8):
        tail = f"{0b10 << 62 | int.from_bytes(randomness[start : start + 8], 'big') >> 2:016x}"
        yield f"{head}-{tail[:4]}-{tail[4:]}"

"""Ids that are ordered by time, and the shard in which a name is judged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from zlib import crc32

from tocsin.schemas.moments import Micros


def uuid7(now_us: Micros) -> str:
    """Return a UUIDv7 (RFC 9562) of this moment, with the fraction of the millisecond in the 12 bits behind it.

    Ids that are ordered by time fall on neighbouring pages of an index; random ones halve the rate of appends.
    """
    return next(uuid7s(now_us, 1))


def uuid7s(now_us: Micros, count: int) -> Iterator[str]:
    """Yield so many UUIDv7 of one moment, in no order among themselves, for the price of one look for randomness."""
    head = _head(now_us)
    randomness = os.urandom(8 * count)
    for start in range(0, 8 * count, 8):
        yield f"{head}-{_tail(randomness[start : start + 8])}"


def uuid7_of(now_us: Micros, digest: bytes) -> str:
    """Return a UUIDv7 of a moment with 8 bytes of a digest for its randomness: of the same, always the same."""
    return f"{_head(now_us)}-{_tail(digest)}"


def _head(now_us: Micros) -> str:
    millis, fraction_us = divmod(max(now_us, 0), 1000)
    moment = f"{(millis & 0xFFFF_FFFF_FFFF) << 16 | 0x7 << 12 | fraction_us * 4096 // 1000:016x}"
    return f"{moment[:8]}-{moment[8:12]}-{moment[12:]}"


def _tail(eight: bytes) -> str:
    tail = f"{0b10 << 62 | int.from_bytes(eight, 'big') >> 2:016x}"
    return f"{tail[:4]}-{tail[4:]}"


def shard_of(name: str, count: int) -> int:
    """Return in which of so many shards an automation is judged that is judged under this name: always the same."""
    return crc32(name.encode()) % count

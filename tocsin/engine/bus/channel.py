"""The stream, its group of recorders, and what they look like from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from tocsin.engine.bus.entries import time_of
from tocsin.errors import TocsinError, Unavailable
from tocsin.schemas.moments import Micros

GROUP = "recorders"
_LOGIN = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Figures:
    """What is in the stream: entries in all, those delivered and not recorded yet, those not delivered yet.

    `oldest_us` is when the oldest entry was taken that is not recorded yet; None when all are.
    """

    length: int = 0
    pending: int = 0
    unread: int = 0
    oldest_us: Micros | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """What is delivered and not acknowledged: the `oldest` of all; one's own entries `before` this one are the oldest.

    Nothing stands in the way where `before` is None.
    """

    oldest: bytes | None = None
    before: bytes | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A stream of one Redis, by the client that knows it."""

    client: Any
    stream: str

    async def make_group(self) -> bool:
        """Make the group at the stream's beginning, so that nothing is left out; return whether it was missing.

        Raises:
            TocsinError: the key holds something else than a stream.
            RedisError: Redis does not answer, or refuses.
        """
        try:
            await self.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" in str(error):
                return False
            if "WRONGTYPE" in str(error):
                raise TocsinError(
                    f"the key {self.stream!r} of the bus is no stream: choose another by TOCSIN_BUS_STREAM"
                ) from None
            raise
        return True

    async def figures(self) -> Figures:
        """Return how much there is in the stream. Raises RedisError."""
        length = int(await self.client.xlen(self.stream))
        group = await self._group()
        if group is None:
            first = await self.client.xrange(self.stream, count=1)
            return Figures(length, 0, length, time_of(first[0][0]) if first else None)
        pending = await self.client.xpending(self.stream, GROUP)
        if pending["pending"]:
            oldest: bytes | None = pending["min"]
        else:
            unread = await self.client.xrange(self.stream, min=b"(" + group["last-delivered-id"], count=1)
            oldest = unread[0][0] if unread else None
        lag = group.get("lag")  # None when entries in the middle were deleted
        unread_entries = int(lag) if lag is not None else length - int(pending["pending"])
        return Figures(length, int(pending["pending"]), unread_entries, None if oldest is None else time_of(oldest))

    async def trim(self) -> int:
        """Drop what every recorder is done with; return how many entries. Raises RedisError."""
        # Where the group stands is read before what is pending: what is delivered in between is pending then.
        group = await self._group()
        if group is None:
            return 0
        pending = await self.client.xpending(self.stream, GROUP)
        done = pending["min"] or group["last-delivered-id"]
        return int(await self.client.xtrim(self.stream, minid=done, approximate=False))

    async def pending(self, me: str, *, most: int) -> Pending:
        """Return whose the oldest pending entries are, as one moment saw it. Raises RedisError."""
        summary = await self.client.xpending(self.stream, GROUP)
        if not summary["pending"]:
            return Pending()
        if [consumer["name"] for consumer in summary["consumers"]] == [me.encode()]:
            return Pending(summary["min"])
        found = await self.client.xpending_range(self.stream, GROUP, "-", "+", most)
        oldest = found[0]["message_id"] if found else None
        for one in found:
            if one["consumer"] != me.encode():
                return Pending(oldest, before=one["message_id"])
        # What lies behind what was asked for may be anybody's.
        return Pending(oldest, before=found[-1]["message_id"] if len(found) == most else None)

    async def _group(self) -> Mapping[str, Any] | None:
        groups: Sequence[Mapping[str, Any]] = await self.client.xinfo_groups(self.stream)
        return next((group for group in groups if group["name"] == GROUP.encode()), None)


def stream_is_gone(error: Exception) -> bool:
    """Return whether the stream or its group is not there (any more)."""
    return isinstance(error, ResponseError) and ("NOGROUP" in str(error) or "no such key" in str(error))


def away(shown: str, error: BaseException) -> Unavailable:
    """Say in one sentence that the bus does not do its work, without its login."""
    what = _LOGIN.sub("//", str(error)).split("\n")[0] or type(error).__name__
    verb = "refuses" if isinstance(error, ResponseError) else "does not answer"
    return Unavailable(f"the bus at {shown} {verb}: {what}")


BUS_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a client raises when Redis is away, too slow, or refuses."""

"""Whose turn it is, what was left behind, and what can be thrown away: the group's bookkeeping in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from redis.exceptions import ResponseError

from tocsin.engine.bus.channel import GROUP, Channel
from tocsin.engine.bus.entries import place_of
from tocsin.engine.bus.hands import Delivered, Hands

log = logging.getLogger(__name__)

CLAIM_ENTRIES = 500
"""How many entries one command claims, refreshes or acknowledges."""
TURN_ENTRIES = 500
"""How far it is looked whose turn it is, where there are several recorders."""
STRAY_MS = 2_000
"""An entry that is ours and not in hand for so long was in an answer that got lost, in milliseconds."""
HANDED_BACK_MS = 24 * 3600 * 1000
"""For how long what is handed back says that nobody was heard of, in milliseconds."""
GONE_S = 3600.0
"""A recorder that has nothing pending and was not heard of for so long is forgotten, in seconds."""

_FORGET = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local said = {}
  for i = 1, #consumer, 2 do said[consumer[i]] = consumer[i + 1] end
  if said['name'] ~= ARGV[2] and said['pending'] == 0 and said['idle'] > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], said['name'])
  end
end
"""
"""Forget consumers that are gone: in one step, since one that came back in between would lose what it was given."""


class Claims:
    """What one recorder asks of the group; its methods raise RedisError while Redis is away."""

    def __init__(self, channel: Channel, hands: Hands, *, consumer: str, claim_after_s: float) -> None:
        """Keep the channel, what is in hand, this recorder's name, and after how many seconds others are dead."""
        self.channel = channel
        self._hands = hands
        self._me = consumer
        self._claim_ms = int(claim_after_s * 1000)
        self._order = asyncio.Lock()
        self._tended = 0
        self._can_forget = True

    async def turn(self, *, entries: int, most_bytes: int) -> list[Delivered]:
        """Return the oldest entries in hand, as far as no recorder holds an older one; none if it is not our turn."""
        async with self._order:  # what is being claimed is not in hand yet, and may be older
            pending = await self.channel.pending(self._me, most=TURN_ENTRIES)
            oldest = self._hands.oldest()
            if oldest is None:
                return []
            if pending.oldest is not None and place_of(pending.oldest) < place_of(oldest):
                await self._take_strays(before=oldest)
            return self._hands.take(pending.before, entries=entries, most_bytes=most_bytes)

    async def acknowledge(self, done: Sequence[Delivered]) -> None:
        """Tell the group that entries are recorded."""
        for start in range(0, len(done), CLAIM_ENTRIES):
            ids = [entry_id for entry_id, _ in done[start : start + CLAIM_ENTRIES]]
            await self.channel.client.xack(self.channel.stream, GROUP, *ids)

    async def tend(self) -> None:
        """Refresh what is held, claim what others left, take what went astray, trim; about once a second."""
        await self._refresh()
        async with self._order:
            await self._take_strays(idle_ms=STRAY_MS)
            await self._claim()
        await self.channel.trim()
        self._tended += 1
        if self._tended % 60 == 1:
            await self._forget()

    async def _refresh(self) -> None:
        """Say that what is in hand is not left behind."""
        ids = self._hands.ids()
        for start in range(0, len(ids), CLAIM_ENTRIES):
            part = ids[start : start + CLAIM_ENTRIES]
            await self.channel.client.xclaim(self.channel.stream, GROUP, self._me, 0, part, justid=True)

    async def _take_strays(self, *, before: bytes | None = None, idle_ms: int | None = None) -> None:
        """Take in hand what was delivered to us in an answer that never came."""
        client, stream = self.channel.client, self.channel.stream
        start, until = b"-", b"+" if before is None else b"(" + before
        while True:
            found = await client.xpending_range(
                stream, GROUP, start, until, CLAIM_ENTRIES, consumername=self._me, idle=idle_ms
            )
            strays = [one["message_id"] for one in found if one["message_id"] not in self._hands]
            if strays:
                log.info("%d entries of the bus are taken up with which an answer of Redis was lost", len(strays))
                self._hands.add(await client.xclaim(stream, GROUP, self._me, 0, strays))
            if len(found) < CLAIM_ENTRIES:
                return
            start = b"(" + found[-1]["message_id"]

    async def _claim(self) -> None:
        """Take in hand what recorders hold that were not heard of for too long."""
        cursor, taken = b"0-0", 0
        while True:
            cursor, entries, *_ = await self.channel.client.xautoclaim(
                self.channel.stream, GROUP, self._me, self._claim_ms, cursor, count=CLAIM_ENTRIES
            )
            taken += sum(entry_id not in self._hands for entry_id, _ in entries)
            self._hands.add(entries)
            if cursor == b"0-0":
                break
        if taken:
            log.warning("%d entries of the bus are taken over from a recorder that was not heard of", taken)

    async def hand_back(self) -> None:
        """Let others claim at once what is still ours, in hand or astray; for who stops."""
        client, stream = self.channel.client, self.channel.stream
        start = b"-"
        while True:
            found = await client.xpending_range(stream, GROUP, start, b"+", CLAIM_ENTRIES, consumername=self._me)
            if found:
                ids = [one["message_id"] for one in found]
                await client.xclaim(stream, GROUP, self._me, 0, ids, idle=HANDED_BACK_MS, justid=True)
            if len(found) < CLAIM_ENTRIES:
                return
            start = b"(" + found[-1]["message_id"]

    async def _forget(self) -> None:
        if not self._can_forget:
            return
        try:
            await self.channel.client.eval(_FORGET, 1, self.channel.stream, GROUP, self._me, str(int(GONE_S * 1000)))
        except ResponseError as error:
            log.info("recorders that are gone stay in the bus's list of them, scripts are refused: %s", error)
            self._can_forget = False

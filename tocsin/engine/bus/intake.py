"""The intake: entries of the stream become events of the log, in the order of the stream, once each.

Rule 1: an entry is acknowledged after the commit that holds it, so whoever is killed in between leaves it to be done
again; identities make that harmless (law E2).
Rule 2: several recorders share the stream, and it is appended in its order all the same (law S1): Redis delivers in
order, so once no other recorder holds an older entry that is not acknowledged, everything older is in the log.
Rule 3: who is alive says so for what it holds; what was held for longer without a word is claimed by another, and the
dead one's older entries are appended before the claimer's younger ones.
Rule 4: FastStream recovers nothing: not what a dead consumer held, not an answer that was lost, not a group that is
gone, not its own subscriber. All of that is tended here. What reads never raises and what appends never gives up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from faststream import AckPolicy
from faststream.redis import StreamSub
from faststream.redis.message import RedisBatchStreamMessage

from tocsin.engine.bus.address import ANSWER_S, CONNECT_S, Address
from tocsin.engine.bus.appending import Recorded, record
from tocsin.engine.bus.channel import BUS_ERRORS, GROUP, Channel, Figures, away, stream_is_gone
from tocsin.engine.bus.claims import Claims
from tocsin.engine.bus.entries import Entry, Refused, read_entry, written
from tocsin.engine.bus.hands import Delivered, Hands
from tocsin.errors import TocsinError, Unavailable
from tocsin.sources.native import NativeParser
from tocsin.store.postgres import is_of_values
from tocsin.store.writer import Writer

log = logging.getLogger(__name__)

READ_ENTRIES = 64
"""How many entries one read brings; with several reads in hand an append gets far more."""
HELD_BYTES = 16 << 20
"""With so many bytes of entries in hand, no more are read."""
APPEND_ENTRIES, APPEND_BYTES = 2_000, 4 << 20
"""How many entries, or bytes of them, are appended in one transaction."""
BLOCK_MS = 1_000
"""How long a read waits for something new, in milliseconds."""
TEND_EVERY_S = 1.0
CLOSE_S = 5.0
"""How long the end may take to record what is in hand, in seconds."""
DEAF_TENDS = 5
"""After so many looks at entries that nobody reads, the subscriber is begun anew, and again after as many more."""
APART_BYTES = 64 << 10
"""More than so many bytes are parsed in a thread, so that the event loop goes on."""
TURN_S = (0.002, 0.01)
"""How long it waits for its turn before it looks again, in seconds: at first, and at most."""
AGAIN_S = (0.1, 2.0)
"""How long it waits before it tries again what has failed, in seconds: at first, and at most."""
DOUBLED_MOST = 5
"""So often that wait is doubled."""
SUSPECT_TRIES = 3
"""After so many failures of an append it is looked whether the database works without it."""


@dataclass(frozen=True, slots=True)
class Name:
    """Who records: the stream that is read, and this process's own name among its recorders, never used again."""

    stream: str
    consumer: str


class Intake:
    """Records what is in the stream; its methods are called in the event loop."""

    def __init__(
        self, address: Address, writer: Writer, *, name: Name, parser: NativeParser, claim_after_s: float = 10.0
    ) -> None:
        """Keep what it works with; nothing is opened yet.

        After `claim_after_s` seconds without a word from another recorder, what it holds is claimed.
        """
        self._address = address
        self._writer = writer
        self._name = name
        self._parser = parser
        self._broker = address.broker()
        self._hands = Hands(most_bytes=HELD_BYTES)
        self._claim_after_s = claim_after_s
        self._claims: Claims | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()
        self._leaving = False
        self._unheard = 0
        self._subscriber = self._subscribe()
        self.failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.problem = ""
        self.figures = Figures()
        self.recorded = 0
        self.duplicates = 0
        self.refused = 0

    async def start(self) -> None:
        """Connect, make the group where it is missing, and begin to record.

        Raises:
            Unavailable: Redis does not answer.
            TocsinError: the key of the stream holds something else.
        """
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                client = await self._broker.connect()
                channel = Channel(client, self._name.stream)
                await channel.make_group()
                await self._broker.start()
        except BaseException as error:
            await self._broker.stop()
            if isinstance(error, BUS_ERRORS):
                raise away(str(self._address), error) from None
            raise
        self._claims = Claims(channel, self._hands, consumer=self._name.consumer, claim_after_s=self._claim_after_s)
        for work in (self._append_forever, self._tend_forever):
            task = asyncio.create_task(work(self._claims), name=f"tocsin-bus-{work.__name__.strip('_')}")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def close(self) -> None:
        """Stop reading and record what is in hand, if that does not take long; what is left is for others to claim."""
        if self._leaving:
            return
        self._leaving = True
        self._hands.open()
        await self._subscriber.stop()
        try:
            async with asyncio.timeout(0 if self.failure.done() else CLOSE_S):
                await self._hands.empty.wait()
        except TimeoutError:
            log.warning("%d entries of the bus were not recorded before the end: others claim them", len(self._hands))
        self._closing.set()
        self._hands.changed.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._claims is not None:
            with suppress(*BUS_ERRORS):
                await self._claims.hand_back()
        await self._broker.stop()

    def _subscribe(self) -> Any:
        """Return FastStream's subscriber, with a parser of ours: no entry can spoil its batch."""

        async def parse(raw: Any) -> RedisBatchStreamMessage:
            client: Any = self._broker.config.broker_config.connection.client
            return RedisBatchStreamMessage(raw_message=raw, body=b"", consumer=client, group=GROUP)

        async def decode(message: RedisBatchStreamMessage) -> list[Delivered]:
            return list(zip(message.raw_message["message_ids"], message.raw_message["data"], strict=True))

        stream = StreamSub(
            self._name.stream,
            group=GROUP,
            consumer=self._name.consumer,
            batch=True,
            max_records=READ_ENTRIES,
            polling_interval=BLOCK_MS,
        )
        subscriber = self._broker.subscriber(
            stream=stream, ack_policy=AckPolicy.MANUAL, parser=parse, decoder=decode, no_reply=True
        )
        subscriber(self._deliver)
        return subscriber

    async def _deliver(self, delivered: list[Delivered]) -> None:
        """Take a batch in hand; the next one is read when there is room for it."""
        self._unheard = 0
        self._hands.add(delivered)
        await self._hands.room()

    async def _append_forever(self, claims: Claims) -> None:
        """Append what is in hand, whenever it is this recorder's turn."""
        pause_s = TURN_S[0]
        while not self._closing.is_set():
            if self._hands.oldest() is None:
                self._hands.changed.clear()
                await self._hands.changed.wait()
                continue
            try:
                taken = await claims.turn(entries=APPEND_ENTRIES, most_bytes=APPEND_BYTES)
            except BUS_ERRORS as error:
                if not stream_is_gone(error):
                    await self._away(error)
                    continue
                # The stream was thrown away with what it knew: what is in hand was acknowledged to its senders.
                taken = self._hands.take(None, entries=APPEND_ENTRIES, most_bytes=APPEND_BYTES)
            self._hands.in_turn(ours=bool(taken))
            if not taken:
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, TURN_S[1])
                continue
            pause_s = TURN_S[0]
            if await self._append(await self._read(taken)):
                await self._acknowledge(claims, taken)
            self._hands.drop(taken)

    async def _read(self, taken: Sequence[Delivered]) -> list[Entry]:
        def read() -> list[Entry]:
            return [read_entry(entry_id, fields, self._parser) for entry_id, fields in taken]

        size = sum(len(value) for _, fields in taken for value in (fields or {}).values())
        return read() if size <= APART_BYTES else await asyncio.to_thread(read)

    async def _append(self, entries: Sequence[Entry]) -> bool:
        """Append entries however long it takes; return False when it is closed before that.

        While the database can not store anything, whatever the reason, all of them wait. What it refuses for what it
        says is set apart, behind some tries: of several each by itself, and of one its events.
        """
        tries = 0
        while True:
            try:
                self._note(await self._writer.run(partial(_record, entries, self._name.stream)))
                return True
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing is acknowledged before it is recorded
                tries += 1
                self._say(f"what came over the bus can not be recorded: {error}", error)
                suspect = tries >= SUSPECT_TRIES and is_of_values(error)
            if suspect and len(entries) > 1:
                return await self._append_each(entries)
            if suspect and entries[0].refused is None:
                refused = Refused("could not be stored: see the log", written(entries[0].events))
                entries = [replace(entries[0], events=[], refused=refused)]
            if self._closing.is_set():
                return False
            await self._pause(min(AGAIN_S[0] * 2 ** min(tries, DOUBLED_MOST), AGAIN_S[1]))

    async def _append_each(self, entries: Sequence[Entry]) -> bool:
        for entry in entries:
            if not await self._append([entry]):
                return False
        return True

    def _note(self, recorded: Recorded) -> None:
        self.recorded += recorded.events
        self.duplicates += recorded.duplicates
        self.refused += len(recorded.refused)
        for entry in recorded.refused:
            log.warning("the entry %s of the bus is no event; it is kept, with the reason, as refused", entry)
        self._well()

    async def _acknowledge(self, claims: Claims, taken: Sequence[Delivered]) -> None:
        """Tell Redis what is recorded, until it knows: while it does not, nobody appends what is younger."""
        while True:
            try:
                return await claims.acknowledge(taken)
            except BUS_ERRORS as error:
                if stream_is_gone(error) or self._closing.is_set():
                    return None
                await self._away(error)

    async def _tend_forever(self, claims: Claims) -> None:
        """Keep the group and the subscriber alive, claim what is left behind, trim what is done with."""
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(CONNECT_S + 4 * ANSWER_S):
                    await self._tend(claims)
            except BUS_ERRORS as error:
                if not stream_is_gone(error):  # or else it is made anew at once
                    # By itself it would sleep for seconds, or ask in a hot loop.
                    await self._subscriber.stop()
                    await self._away(error)
                continue
            if not self._hands:
                self._well()
            await self._pause(TEND_EVERY_S)

    async def _tend(self, claims: Claims) -> None:
        if await claims.channel.make_group():
            log.warning("the stream %r of the bus was lost, and is begun anew", self._name.stream)
        await claims.tend()
        self.figures = await claims.channel.figures()
        if not self.figures.unread:
            self._unheard = 0
        elif not self._hands:  # or else it may wait for room, or for its turn
            self._unheard += 1
            if self._deaf:
                deaf = Unavailable("the bus has entries that are not read: its subscriber is begun anew")
                self._say(str(deaf), deaf)
                if self._unheard % DEAF_TENDS == 0:
                    await self._subscriber.stop()
        if not self._subscriber.running and not self._leaving:
            await self._subscriber.start()

    @property
    def _deaf(self) -> bool:
        return self._unheard >= DEAF_TENDS

    async def _away(self, error: BaseException) -> None:
        self._say(str(away(str(self._address), error)), error)
        await self._pause(AGAIN_S[0])

    def _say(self, problem: str, error: BaseException) -> None:
        """Say once what is wrong, and more about what nobody has foreseen."""
        if not self.problem:
            known = isinstance(error, (TocsinError, *BUS_ERRORS))
            log.warning("%s", problem, exc_info=None if known else error)
        self.problem = problem

    def _well(self) -> None:
        """Say that nothing is wrong any more, unless it hears nothing, or a part of it has ended for good."""
        if self.problem and not self._deaf and not self.failure.done():
            log.info("what comes over the bus is recorded again")
            self.problem = ""

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nothing is to end before it is closed: say that this process is of no use any more."""
        if self._closing.is_set() or self.failure.done():
            return
        error = None if task.cancelled() else task.exception()
        known = isinstance(error, TocsinError)
        self.problem = f"the intake of the bus has ended: {error if known else repr(error)}"
        log.error("%s", self.problem, exc_info=None if known else error)
        self.failure.set_result(self.problem)


def _record(entries: Iterable[Entry], stream: str, tx: Any) -> Recorded:
    return record(list(entries), stream=stream, tx=tx)

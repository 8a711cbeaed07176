"""Safeties that are taken away, one at a time, for the account to find out that they are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, update

from tocsin.engine.bus.claims import Claims
from tocsin.engine.bus.hands import Delivered
from tocsin.engine.evaluator import Evaluator
from tocsin.engine.recorder import Receipt, Recorder
from tocsin.schemas.event import Event, identified
from tocsin.schemas.identity import uuid7s
from tocsin.store import intents, leases, states
from tocsin.store.states import Cursor
from tocsin.store.tables import shards
from tocsin.store.writer import Transaction

_ANYHOW = (
    update(shards).where(shards.c.shard == bindparam("of")).values(cursor=bindparam("to"), judged_us=bindparam("to_us"))
)


def no_claim() -> None:
    """Nobody takes over what a process that is gone has held: actions, and entries of the bus."""

    async def claim(self: Claims) -> None:
        pass

    intents.reclaim = lambda *_, **__: 0
    Claims._claim = claim  # type: ignore[method-assign]


def no_fence() -> None:
    """Who has judged a shard goes on with it, whether it still owns it or not, and stores what it judged."""
    tend, known, begin = leases.tend, set[int](), Evaluator.__init__

    def move_cursor(connection: Connection, before: Cursor, after: Cursor, **_: object) -> None:
        connection.execute(_ANYHOW, {"of": before.shard, "to": after.seq, "to_us": after.judged_us})

    def mine_for_ever(tx: Transaction, *, owner: str, most: int) -> set[int]:
        known.update(tend(tx, owner=owner, most=most))
        return set(known)

    def unasked(self: Evaluator, **parts: Any) -> None:
        begin(self, **{**parts, "owner": None})

    states.move_cursor = move_cursor
    leases.tend = mine_for_ever
    Evaluator.__init__ = unasked  # type: ignore[method-assign]


def early_acknowledgement() -> None:
    """Acknowledge events before they are durable: to senders, and to the bus before the commit."""
    record, turn = Recorder.record, Claims.turn
    doing: set[asyncio.Task[Any]] = set()

    async def answered(self: Recorder, events: Sequence[Event], **more: Any) -> Receipt:
        fresh = uuid7s(0, len(events))
        named = [event if event.id is not None else identified(event, next(fresh)) for event in events]
        task = asyncio.ensure_future(record(self, named, **more))
        doing.add(task)
        task.add_done_callback(doing.discard)
        return Receipt(len(named), None, [str(event.id) for event in named])

    async def acknowledged(self: Claims, **more: Any) -> list[Delivered]:
        taken = await turn(self, **more)
        await self.acknowledge(taken)
        return taken

    Recorder.record = answered  # type: ignore[method-assign]
    Claims.turn = acknowledged  # type: ignore[method-assign]


CONTROLS: dict[str, Callable[[], None]] = {
    "no-claim": no_claim,
    "no-fence": no_fence,
    "early-acknowledgement": early_acknowledgement,
}

"""Safeties that are taken away, one at a time, for the account to find out that they are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import bindparam, update

from tocsin.engine.recorder import Receipt, Recorder
from tocsin.schemas.event import Event, identified
from tocsin.schemas.identity import uuid7s
from tocsin.store import intents, states
from tocsin.store.tables import shards

_ANYHOW = (
    update(shards).where(shards.c.shard == bindparam("of")).values(cursor=bindparam("to"), judged_us=bindparam("to_us"))
)


def no_claim() -> None:
    """Nobody takes over what a process that is gone has held."""
    intents.reclaim = lambda *_, **__: 0


def no_fence() -> None:
    """Who judged stores it, whether it still owns the shard or not."""

    def move_cursor(connection: Any, before: states.Cursor, after: states.Cursor) -> None:
        connection.execute(_ANYHOW, {"of": before.shard, "to": after.seq, "to_us": after.judged_us})

    states.move_cursor = move_cursor


def early_answer() -> None:
    """Acknowledge events before they are durable."""
    original = Recorder.record
    doing: set[asyncio.Task[Any]] = set()

    async def record(self: Recorder, events: Sequence[Event], **kwargs: Any) -> Receipt:
        fresh = uuid7s(0, len(events))
        named = [event if event.id is not None else identified(event, next(fresh)) for event in events]
        task = asyncio.ensure_future(original(self, named, **kwargs))
        doing.add(task)
        task.add_done_callback(doing.discard)
        return Receipt(len(named), 0, [str(event.id) for event in named])

    Recorder.record = record  # type: ignore[method-assign]


CONTROLS: dict[str, Callable[[], None]] = {
    "no-claim": no_claim,
    "no-fence": no_fence,
    "early-answer": early_answer,
}

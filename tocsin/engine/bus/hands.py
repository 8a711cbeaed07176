"""Entries that were delivered to this recorder and are not acknowledged yet, the oldest first."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Iterable

from tocsin.engine.bus.entries import Fields, place_of

Place = tuple[int, int]
Delivered = tuple[bytes, Fields | None]
"""An entry as Redis delivers it: its id and its fields (None: it was deleted since)."""

OPEN = 1 << 62
OVERHEAD_BYTES = 200  # what an entry costs beside its text, about


class Hands:
    """What is held, in the order of the stream; used in the event loop only."""

    def __init__(self, *, most_bytes: int) -> None:
        """Keep from how many bytes on there is no room for more."""
        self._most = most_bytes
        self._held: dict[Place, tuple[Delivered, int]] = {}
        self._waiting: list[Place] = []
        self._bytes = 0
        self.changed = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()
        self._room = asyncio.Event()
        self._room.set()
        self._turn = asyncio.Event()
        self._turn.set()

    def __contains__(self, entry_id: bytes) -> bool:
        """Return whether an entry is held, also while it is being appended."""
        return place_of(entry_id) in self._held

    def __len__(self) -> int:
        """Return how many entries are held."""
        return len(self._held)

    def add(self, delivered: Iterable[Delivered]) -> None:
        """Hold entries; one that is held already is not held twice."""
        for entry_id, fields in delivered:
            place = place_of(entry_id)
            if place in self._held:
                continue
            size = OVERHEAD_BYTES + sum(map(len, (fields or {}).values()))
            self._held[place] = ((entry_id, fields), size)
            self._bytes += size
            if self._waiting and place < self._waiting[-1]:
                insort(self._waiting, place)
            else:
                self._waiting.append(place)
        if self._bytes >= self._most:
            self._room.clear()
        if self._held:
            self.empty.clear()
            self.changed.set()

    async def room(self) -> None:
        """Wait until there is room for more, and it is our turn to append.

        Who waits for another one's append reads no further, or else what both hold would alternate entry by entry.
        """
        await self._room.wait()
        await self._turn.wait()

    def in_turn(self, *, ours: bool) -> None:
        """Note whether it is our turn to append."""
        if ours or self._most == OPEN:
            self._turn.set()
        else:
            self._turn.clear()

    def open(self) -> None:
        """Say that there is room, whatever is held: nobody is to wait any longer."""
        self._most = OPEN
        self._room.set()
        self._turn.set()

    def oldest(self) -> bytes | None:
        """Return the id of the oldest entry that is not being appended."""
        return self._held[self._waiting[0]][0][0] if self._waiting else None

    def take(self, before: bytes | None, *, entries: int, most_bytes: int) -> list[Delivered]:
        """Return the oldest entries, those before another one (None: all), at most so many; they stay held."""
        bound = None if before is None else place_of(before)
        taken: list[Delivered] = []
        size = 0
        for place in self._waiting:
            if len(taken) >= entries or size >= most_bytes or (bound is not None and place >= bound):
                break
            delivered, own = self._held[place]
            taken.append(delivered)
            size += own
        del self._waiting[: len(taken)]
        return taken

    def drop(self, delivered: Iterable[Delivered]) -> None:
        """Let go of entries that were taken and are done with."""
        for entry_id, _ in delivered:
            _, size = self._held.pop(place_of(entry_id))
            self._bytes -= size
        if self._bytes < self._most:
            self._room.set()
        if not self._held:
            self.empty.set()

    def ids(self) -> list[bytes]:
        """Return the ids of everything that is held."""
        return [delivered[0] for delivered, _ in self._held.values()]

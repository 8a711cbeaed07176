"""Large mappings of which changed copies are cheap: a snapshot of 100,000 things costs no more than what changes.

Keys are spread over many small dicts by their hash. A copy shares all of these; who writes copies the one that is
written to, once. So a snapshot and its successor differ in a list of pointers and in a few small dicts, where a copied
dict would hold everybody up for tens of milliseconds, and the garbage collector once more.

Source: path copying as in Driscoll et al., "Making Data Structures Persistent" (1989), with a tree of two levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from typing import TypeVar, overload

V = TypeVar("V")
D = TypeVar("D")

_FILL = 256  # so many keys a part are the most, on the average
_GROWTH = 8


class ForkingDict(MutableMapping[str, V]):
    """A dict with text for keys, in no order to rely on; `copy` is cheap, and copies do not see each other's changes.

    To be changed by one thread at a time; who only reads a copy that nobody changes needs no lock.
    """

    __slots__ = ("_mask", "_owned", "_parts", "_size")

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        self._parts: list[dict[str, V]] = [{}]
        self._owned: set[int] = {0}
        self._mask = 0
        self._size = 0
        for key, value in items:
            self[key] = value

    def copy(self) -> ForkingDict[V]:
        """Return a mapping with the same content; from now on both copy what they change."""
        twin: ForkingDict[V] = ForkingDict.__new__(ForkingDict)
        twin._parts, twin._mask, twin._size = self._parts[:], self._mask, self._size
        twin._owned, self._owned = set(), set()
        return twin

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: object) -> bool:
        return key in self._parts[hash(key) & self._mask]

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            yield from part

    def __getitem__(self, key: str) -> V:
        return self._parts[hash(key) & self._mask][key]

    @overload
    def get(self, key: str, /) -> V | None: ...
    @overload
    def get(self, key: str, /, default: D) -> V | D: ...
    def get(self, key: str, /, default: D | None = None) -> V | D | None:
        """Return what is under a key, or the default."""
        return self._parts[hash(key) & self._mask].get(key, default)

    def __setitem__(self, key: str, value: V) -> None:
        part = self._own(hash(key) & self._mask)
        before = len(part)
        part[key] = value
        self._size += len(part) - before
        if self._size > _FILL * len(self._parts):
            self._spread()

    def __delitem__(self, key: str) -> None:
        number = hash(key) & self._mask
        if key not in self._parts[number]:
            raise KeyError(key)
        del self._own(number)[key]
        self._size -= 1

    def _own(self, number: int) -> dict[str, V]:
        if number not in self._owned:
            self._parts[number] = self._parts[number].copy()
            self._owned.add(number)
        return self._parts[number]

    def _spread(self) -> None:
        count = _GROWTH * len(self._parts)
        parts: list[dict[str, V]] = [{} for _ in range(count)]
        self._mask = mask = count - 1
        for part in self._parts:
            for key, value in part.items():
                parts[hash(key) & mask][key] = value
        self._parts, self._owned = parts, set(range(count))

"""What the matching index is made of, and how a changed one is made without touching the old.

    Tables -- names ----------> Bucket -- labels, by value --> leaves
           |- prefixes: Trie -> Bucket   `- rest ------------> leaves
           `- unnamed --------> Bucket

Rule 1: an event finds a leaf on one path only: of a leaf's names and prefixes, those that another covers are left out.
Rule 2: what is published never changes. `Change` copies what is on the way to a change, once, and shares all else.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Protocol, Self, TypeAlias, TypeVar

from tocsin.triggers.forking import ForkingDict
from tocsin.triggers.match import Labels, Matcher
from tocsin.triggers.sketch import Reach

LeafId: TypeAlias = str

SPLIT_AT = 4
"""A bucket of so many leaves is searched one by one; only a larger one is worth tables of labels."""

LARGE = 512
"""A dict of so many keys is better changed as a `ForkingDict`."""


class Compiles(Protocol):
    """What makes the predicates of a leaf when it is first asked about."""

    def matcher(self) -> Matcher: ...


class Leaf:
    """A trigger in the index: its id, what decides, and by what it can be reached."""

    __slots__ = ("_source", "id", "literals", "matcher", "names")

    def __init__(self, leaf_id: LeafId, reach: Reach, source: Compiles) -> None:
        self.id = leaf_id
        self.names = reach.names
        self.literals = reach.literals
        self._source = source
        self.matcher: Matcher | None = None

    def compiled(self) -> Matcher:
        """Return what decides."""
        if self.matcher is None:
            self.matcher = self._source.matcher()
        return self.matcher


class Bucket:
    """Leaves that share a name, a prefix or no name at all: by label and value, and the rest."""

    __slots__ = ("labels", "rest")

    def __init__(self) -> None:
        self.labels: dict[str, MutableMapping[str, list[Leaf]]] = {}
        self.rest: list[Leaf] = []

    def copy(self) -> Bucket:
        """Return a bucket that may be changed; its tables are still shared."""
        twin = Bucket()
        twin.labels, twin.rest = self.labels, self.rest
        return twin

    def candidates(self, labels: Labels) -> list[Leaf]:
        """Return the leaves that a resource with these labels may concern; not to be changed."""
        found = self.rest
        for label, values in self.labels.items():
            leaves = values.get(labels.get(label, ""))
            if leaves:
                found = [*found, *leaves] if found else leaves
        return found


class Trie:
    """Prefixes of names: segments lead from node to node, what follows the last dot of a prefix is a stub."""

    __slots__ = ("children", "lengths", "stubs")

    def __init__(self) -> None:
        self.children: MutableMapping[str, Trie] = {}
        self.stubs: MutableMapping[str, Bucket] = {}
        self.lengths: tuple[int, ...] = ()

    def copy(self) -> Trie:
        """Return a node that may be changed; what is below it is still shared."""
        twin = Trie()
        twin.children, twin.stubs, twin.lengths = self.children, self.stubs, self.lengths
        return twin

    def candidates(self, name: str, labels: Labels) -> list[Leaf]:
        """Return the leaves under all prefixes of a name that a resource with these labels may concern."""
        found: list[Leaf] = []
        node: Trie | None = self
        start, size = 0, len(name)
        while node is not None:
            for length in node.lengths:
                end = start + length
                stub = node.stubs.get(name[start:end]) if end <= size else None
                if stub is not None:
                    found += stub.candidates(labels)
            dot = name.find(".", start)
            node = node.children.get(name[start:dot]) if dot >= 0 else None
            start = dot + 1
        return found


class Tables:
    """All leaves, by id and by what leads to them."""

    __slots__ = ("leaves", "names", "prefixes", "unnamed")

    def __init__(self) -> None:
        self.leaves: ForkingDict[Leaf] = ForkingDict()
        self.names: MutableMapping[str, Bucket] = {}
        self.prefixes = Trie()
        self.unnamed = Bucket()

    def copy(self) -> Tables:
        """Return tables that may be changed; what is in them is still shared."""
        twin = Tables()
        twin.leaves, twin.names, twin.prefixes, twin.unnamed = self.leaves, self.names, self.prefixes, self.unnamed
        return twin


class _Copyable(Protocol):
    def copy(self) -> Self: ...


_Part = TypeVar("_Part", bound=_Copyable)
_Value = TypeVar("_Value")


class Change:
    """Tables in the making: what is about to change is copied first, once, unless it is new itself."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables.copy()
        self.tables.leaves = tables.leaves.copy()
        self._owned: dict[int, object] = {}

    def put(self, leaf: Leaf) -> None:
        """Put a leaf in, in the place of one of the same id."""
        self.drop(leaf.id)
        self.tables.leaves[leaf.id] = leaf
        for name in leaf.names:
            self._put(name, leaf)

    def drop(self, leaf_id: LeafId) -> None:
        """Take out a leaf; none of that id is no error."""
        leaf = self.tables.leaves.pop(leaf_id, None)
        if leaf is not None:
            for name in leaf.names:
                self._take(name, leaf)

    def _own(self, part: _Part) -> _Part:
        if id(part) not in self._owned:
            part = part.copy()
            self._owned[id(part)] = part
        return part

    def _own_table(self, table: MutableMapping[str, _Value]) -> MutableMapping[str, _Value]:
        """Return a table to be changed: what is large by now is one whose next copy will be cheap."""
        if isinstance(table, dict) and len(table) >= LARGE:
            table = ForkingDict(table.items())
            self._owned[id(table)] = table
            return table
        assert isinstance(table, dict | ForkingDict)
        return self._own(table)

    def _part(self, table: MutableMapping[str, _Part], key: str, new: Callable[[], _Part]) -> _Part:
        """Return what is under `key` of an owned table, owned as well; without anything there, what `new` makes."""
        part = table[key] = self._own(table.get(key) or new())
        return part

    def _values(self, bucket: Bucket, label: str) -> MutableMapping[str, list[Leaf]]:
        """Return the table of a label in a bucket that owns its labels, owned as well."""
        table = bucket.labels[label] = self._own_table(bucket.labels.get(label, {}))
        return table

    def _nodes(self, prefix: str) -> list[Trie]:
        """Return the nodes on the way to a prefix, owned, the root first."""
        node = self.tables.prefixes = self._own(self.tables.prefixes)
        nodes = [node]
        for segment in prefix.split(".")[:-1]:
            node.children = self._own_table(node.children)
            node = self._part(node.children, segment, Trie)
            nodes.append(node)
        return nodes

    def _put(self, name: str, leaf: Leaf) -> None:
        if name == "*":
            bucket = self.tables.unnamed = self._own(self.tables.unnamed)
        elif name.endswith("*"):
            node, stub = self._nodes(name[:-1])[-1], name[:-1].rpartition(".")[2]
            node.stubs = self._own_table(node.stubs)
            bucket = self._part(node.stubs, stub, Bucket)
            node.lengths = tuple(sorted({*node.lengths, len(stub)}))
        else:
            self.tables.names = self._own_table(self.tables.names)
            bucket = self._part(self.tables.names, name, Bucket)
        self._insert(bucket, leaf)

    def _take(self, name: str, leaf: Leaf) -> None:
        if name == "*":
            self.tables.unnamed = self._own(self.tables.unnamed)
            self._remove(self.tables.unnamed, leaf)
        elif name.endswith("*"):
            self._take_prefix(name[:-1], leaf)
        else:
            names = self.tables.names = self._own_table(self.tables.names)
            if self._remove(self._part(names, name, Bucket), leaf):
                del names[name]

    def _take_prefix(self, prefix: str, leaf: Leaf) -> None:
        nodes = self._nodes(prefix)
        *segments, stub = prefix.split(".")
        node = nodes.pop()
        node.stubs = self._own_table(node.stubs)
        if self._remove(self._part(node.stubs, stub, Bucket), leaf):
            del node.stubs[stub]
            node.lengths = tuple(sorted({len(other) for other in node.stubs}))
        for parent, segment in zip(reversed(nodes), reversed(segments), strict=True):
            child = parent.children[segment]
            if not child.children and not child.stubs:
                del parent.children[segment]

    def _insert(self, bucket: Bucket, leaf: Leaf) -> None:
        if not leaf.literals or (not bucket.labels and len(bucket.rest) < SPLIT_AT):
            bucket.rest = self._own(bucket.rest)
            bucket.rest.append(leaf)
            return
        bucket.labels = self._own(bucket.labels)
        if not bucket.labels:
            for crowded in [other for other in bucket.rest if other.literals]:
                self._tabulate(bucket, crowded)
            bucket.rest = [other for other in bucket.rest if not other.literals]
        self._tabulate(bucket, leaf)

    def _tabulate(self, bucket: Bucket, leaf: Leaf) -> None:
        """Put a leaf under the label whose values have the fewest leaves by now, preferably the `id`."""

        def crowd(literal: tuple[str, tuple[str, ...]]) -> tuple[int, bool]:
            label, values = literal
            table = bucket.labels.get(label, {})
            return sum(len(table.get(value, ())) for value in values), label != "id"

        label, values = min(leaf.literals, key=crowd)
        table = self._values(bucket, label)
        for value in values:
            self._part(table, value, list).append(leaf)

    def _remove(self, bucket: Bucket, leaf: Leaf) -> bool:
        """Take a leaf out of an owned bucket; return whether the bucket is empty now."""
        if leaf in bucket.rest:
            bucket.rest = self._own(bucket.rest)
            bucket.rest.remove(leaf)
        else:
            bucket.labels = self._own(bucket.labels)
            for label, values in leaf.literals:
                for value in values:
                    if leaf in bucket.labels.get(label, {}).get(value, ()):
                        self._untabulate(bucket, leaf, label=label, value=value)
        return not bucket.rest and not bucket.labels

    def _untabulate(self, bucket: Bucket, leaf: Leaf, *, label: str, value: str) -> None:
        table = self._values(bucket, label)
        leaves = self._part(table, value, list)
        leaves.remove(leaf)
        if not leaves:
            del table[value]
        if not table:
            del bucket.labels[label]

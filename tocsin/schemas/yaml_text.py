"""YAML as definitions use it: read into plain data, with the places of keys and values when there is an error.

Values are resolved as in YAML 1.2's core schema, so that nothing is read as what it does not look like: `on`, `no`,
`9:00`, `2026-03-02` and `007` are text; `true`, `null`, `12`, `0x1F` and `1.5` are what they seem. Keys are text.
Merge keys (`<<: *defaults`) work. A key that stands twice, a tag, a second document and a reference to an anchor
that would blow the file up are errors.

The parser is PyYAML's, libyaml's where it is installed; its events are built into data without a tree of nodes,
which takes a third of the time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tocsin.errors import InvalidDefinition, Problem
from tocsin.schemas.spec import Path

DEPTH_MAX = 64
"""The most mappings and lists inside each other."""

ALIASED_MAX = 100_000
"""The most values that all aliases of a file together may repeat."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_REAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_MAYBE_NUMBER = frozenset("0123456789-+.")
_DIGITS_MAX = 300
_TEXT = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column of a file, both counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class _Open:
    """A mapping or list under construction; `key` is the key or position whose value comes next (None: a key does).

    `weight` counts the values in it and `height` the levels below; `merging` says that the key is `<<`, whose
    mappings wait in `merges`.
    """

    data: Any
    key: str | int | None
    anchor: str | None
    weight: int = 1
    height: int = 1
    merging: bool = False
    merges: list[dict[str, Any]] = field(default_factory=list)


def read_yaml(text: str, *, file: str = "") -> Any:
    """Return the data of one YAML document, None for an empty one.

    Raises:
        InvalidDefinition: it is not YAML, or uses what definitions do not; with the place.
    """
    return _Reader(file).read(text)


def places_of(text: str, wanted: Collection[Path]) -> Mapping[Path, tuple[Place, Place]]:
    """Return where the key and the value of each wanted path stand, for text that `read_yaml` takes.

    A position in a list has no key: both places are the value's. What came in by an alias or a merge key has no
    place of its own.
    """
    reader = _Reader("", wanted=frozenset(wanted))
    reader.read(text)
    return reader.places


def plain_scalar(text: str) -> Any:
    """Return what an unquoted scalar means in the core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _MAYBE_NUMBER or len(text) > _DIGITS_MAX:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return text


class _Reader:
    """Builds data from the parser's events; `places` learns where the `wanted` paths stand."""

    def __init__(self, file: str, *, wanted: frozenset[Path] = frozenset()) -> None:
        self.places: dict[Path, tuple[Place, Place]] = {}
        self._file = file
        self._wanted = wanted
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._aliased = 0
        self._documents = 0
        self._root: Any = None
        self._key_place: Place | None = None

    def read(self, text: str) -> Any:
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = " ".join(part for part in (error.problem, error.context) if part)
            raise self._wrong(_place(mark) if mark else Place(1, 1), f"this is not YAML: {what}") from None
        except yaml.reader.ReaderError as error:
            raise self._wrong(_place_in(text, error.position), f"this is not YAML: {error.reason}") from None
        except UnicodeEncodeError as error:
            raise self._wrong(_place_in(text, error.start), f"this is not Unicode: {error.reason}") from None
        return self._root

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._open(event, {}, None)
        elif kind is yaml.SequenceStartEvent:
            self._open(event, [], 0)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close(event)
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                raise self._refuse(event, "a file holds one document: remove `---`, or write two files")

    def _scalar(self, event: Any) -> None:
        value, plain = event.value, event.implicit[0]
        if not plain and event.tag not in (None, "!", _TEXT):
            raise self._refuse(event, f"tags are not used here: remove {_shown(event.tag)}")
        top = self._stack[-1] if self._stack else None
        if top is not None and top.key is None:
            self._key(event, top, merging=plain and value == "<<")
        else:
            if self._wanted:
                self._note(event)
            self._attach(plain_scalar(value) if plain else value, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (plain_scalar(value) if plain else value, 1, 0)

    def _key(self, event: Any, top: _Open, *, merging: bool) -> None:
        key = sys.intern(event.value)
        if key in top.data:
            raise self._refuse(event, f"the key `{key}` stands twice in this mapping: remove one of them")
        top.key, top.merging = key, merging
        if self._wanted:
            self._key_place = _place(event.start_mark)

    def _open(self, event: Any, data: Any, key: int | None) -> None:
        if self._stack and self._stack[-1].key is None:
            raise self._refuse(event, "a key is text, not a mapping or a list: put it in quotes")
        if event.tag not in (None, "!"):
            raise self._refuse(event, f"tags are not used here: remove {_shown(event.tag)}")
        if len(self._stack) >= DEPTH_MAX:
            raise self._refuse(event, f"this is nested more than {DEPTH_MAX} deep: flatten it")
        if self._wanted:
            self._note(event)
        self._stack.append(_Open(data, key, event.anchor))

    def _close(self, event: Any) -> None:
        done = self._stack.pop()
        for merged in done.merges:
            for key, value in merged.items():
                done.data.setdefault(key, value)
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.data, done.weight, done.height)
        self._attach(done.data, event, weight=done.weight, height=done.height)

    def _alias(self, event: Any) -> None:
        if self._stack and self._stack[-1].key is None:
            raise self._refuse(event, "a key is text, not an alias: write it out")
        if event.anchor not in self._anchors:
            name = event.anchor
            raise self._refuse(event, f"`*{name}` repeats what is not defined before it: write `&{name}` there")
        value, weight, height = self._anchors[event.anchor]
        self._aliased += weight
        if self._aliased > ALIASED_MAX:
            raise self._refuse(event, f"aliases repeat more than {ALIASED_MAX:,} values: write fewer")
        if len(self._stack) + height > DEPTH_MAX:
            raise self._refuse(event, f"this is nested more than {DEPTH_MAX} deep: flatten it")
        if self._wanted:
            self._note(event)
        self._attach(value, event, weight=weight, height=height)

    def _attach(self, value: Any, event: Any, *, weight: int = 1, height: int = 0) -> None:
        if not self._stack:
            self._root = value
            return
        top = self._stack[-1]
        top.weight += weight
        if height >= top.height:
            top.height = height + 1
        if isinstance(top.key, int):
            top.data.append(value)
            top.key += 1
            return
        if top.merging:
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(item, dict) for item in merged):
                raise self._refuse(event, "`<<` merges mappings: give it an alias of a mapping, or a list of them")
            top.merges.extend(merged)
        else:
            top.data[top.key] = value
        top.key = None

    def _note(self, event: Any) -> None:
        """Remember the place of a value that begins here, if it is among the wanted ones."""
        path: tuple[Any, ...] = tuple(level.key for level in self._stack)
        if path in self._wanted:
            place = _place(event.start_mark)
            in_mapping = bool(self._stack) and isinstance(self._stack[-1].key, str)
            self.places[path] = ((self._key_place if in_mapping else None) or place, place)

    def _refuse(self, event: Any, message: str) -> InvalidDefinition:
        return self._wrong(_place(event.start_mark), message)

    def _wrong(self, place: Place, message: str) -> InvalidDefinition:
        return InvalidDefinition([Problem(message, file=self._file, line=place.line, column=place.column)])


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _place_in(text: str, position: int) -> Place:
    before = text[:position]
    return Place(before.count("\n") + 1, position - before.rfind("\n"))


def _shown(tag: str) -> str:
    return "`" + tag.replace("tag:yaml.org,2002:", "!!") + "`"

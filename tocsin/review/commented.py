"""Definitions written out as YAML with comments, which no YAML library writes.

An `Entry` is an item of a list with the remarks that stand above it; without data only the remarks are left. What is
written reads back as the same data by `tocsin.schemas.yaml_text`, whatever the texts in it are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tocsin.schemas.yaml_text import plain_scalar

_WIDTH = 110
_UNFOLDED = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of a list, or the remarks in its place; a list in `data` may itself be one of entries."""

    data: Mapping[str, Any] | None
    remarks: tuple[str, ...] = ()


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would read as something else than text; writes long texts line by line."""

    def represent_data(self, data: Any) -> Any:
        if not isinstance(data, str):
            return super().represent_data(data)
        style = "|" if "\n" in data else None if plain_scalar(data or "''") == data else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's
        return super().increase_indent(flow, indentless=False)


def written(remarks: Iterable[str], sections: Mapping[str, Sequence[Entry]]) -> str:
    """Return a definitions file: remarks at its top, then the sections that have entries."""
    lines = list(_remarks(remarks, indent=0))
    for name, entries in sections.items():
        if entries:
            lines += ["", *_list(name, entries, indent=0)]
    return "\n".join(lines).strip("\n") + "\n"


def _list(name: str, entries: Sequence[Entry], *, indent: int) -> Iterator[str]:
    empty = all(entry.data is None for entry in entries)
    yield f"{' ' * indent}{name}:{' []' if empty else ''}"
    for place, entry in enumerate(entries):
        if place and not indent:
            yield ""
        yield from _remarks(entry.remarks, indent=indent + 2)
        if entry.data is not None:
            yield from _item(entry.data, indent=indent + 2)


def _item(data: Mapping[str, Any], *, indent: int) -> Iterator[str]:
    lead = " " * indent + "- "
    for name, value in data.items():
        nested = isinstance(value, list | tuple) and any(isinstance(one, Entry) for one in value)
        lines = list(_list(name, value, indent=indent + 2)) if nested else _dumped(name, value, indent=indent + 2)
        yield lead + lines[0][indent + 2 :]
        yield from lines[1:]
        lead = " " * (indent + 2)


def _dumped(name: str, value: Any, *, indent: int) -> list[str]:
    flow = None if isinstance(value, dict | list | tuple) else False
    text = yaml.dump(
        {name: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_UNFOLDED, default_flow_style=flow
    )
    return [" " * indent + line if line else "" for line in text.rstrip("\n").split("\n")]


def _remarks(remarks: Iterable[str], *, indent: int) -> Iterator[str]:
    """Return comment lines; no line break in a remark, of whatever kind, ends its comment."""
    lead = " " * indent + "# "
    for remark in remarks:
        text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in " ".join(remark.split()))
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=lead, subsequent_indent=lead + "  ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip

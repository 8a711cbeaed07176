"""Rows of measurements, and how they are printed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass

_INDENT = "    "
_WIDTH = 116


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: a value in a unit, and what the reference did in the same run (None: there is none).

    `note` says how it was measured, `bound` what keeps it from being better, as a profile showed. `low` and `high` are
    the worst and the best of the rounds, or for latencies the median and the maximum.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    note: str = ""
    target: float | None = None
    bound: str = ""
    spread: tuple[float, float] | None = None


def text(rows: Sequence[Row]) -> str:
    """Return the rows as a table, with the ratio of each value to its reference, and below each what is to be said."""
    head = ("what", "value", "unit", "min..max", "target", "reference", "ratio")
    lines = [head, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    said = ["", *map(_said, rows)]
    placed = ("  ".join(_placed(cell, width, column) for column, (cell, width) in
                        enumerate(zip(line, widths, strict=True))).rstrip() for line in lines)  # fmt: skip
    return "\n".join(part for line, words in zip(placed, said, strict=True) for part in (line, words) if part.strip())


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as lines of JSON."""
    return "\n".join(json.dumps(asdict(row)) for row in rows)


def _said(row: Row) -> str:
    words = ". ".join(filter(None, (row.note, row.bound)))
    return textwrap.fill(words, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _cells(row: Row) -> tuple[str, ...]:
    reference = "" if row.reference is None else _number(row.reference)
    ratio = "" if not row.reference else f"{row.value / row.reference:.2f}"
    target = "" if row.target is None else _number(row.target)
    spread = "" if row.spread is None else "..".join(map(_number, row.spread))
    return row.name, _number(row.value), row.unit, spread, target, reference, ratio


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def _placed(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column in (0, 2) else cell.rjust(width)

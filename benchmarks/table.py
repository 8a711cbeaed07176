"""Rows of measurements, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: a value in a unit, and what the reference did in the same run (None: there is none)."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    note: str = ""


def text(rows: Sequence[Row]) -> str:
    """Return the rows as a table, with the share of the reference that each value is."""
    head = ("what", "value", "unit", "reference", "share", "note")
    lines = [head, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(_placed(cell, width, column) for column, (cell, width) in
                               enumerate(zip(line, widths, strict=True))).rstrip() for line in lines)  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    reference = "" if row.reference is None else _number(row.reference)
    share = "" if not row.reference else f"{row.value / row.reference:.2f}"
    return row.name, _number(row.value), row.unit, reference, share, row.note


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def _placed(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column in (1, 3, 4) else cell.ljust(width)

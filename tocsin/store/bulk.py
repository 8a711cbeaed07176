"""One statement, executed for many rows, without what SQLAlchemy does for every value of every row.

The values here are plain numbers, texts and bytes, in the order in which the statement names them: there is nothing to
convert. For the log's rows that work was as much as the database's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bulk:
    """A statement with parameters of these names, in its order; one that it names twice is given twice.

    `write` makes it from the dialect's module, for its own `insert`.
    """

    names: tuple[str, ...]
    write: Callable[[Any], Executable]

    def execute(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Execute it for each row; return how many rows of the database it has changed."""
        if not rows:
            return 0
        text, positional = _compiled(self, connection.dialect)
        values: Any = rows if positional else [dict(zip(self.names, row, strict=True)) for row in rows]
        return connection.exec_driver_sql(text, values).rowcount


@lru_cache(maxsize=256)
def _compiled(bulk: Bulk, dialect: Dialect) -> tuple[str, bool]:
    """Return the statement's text, and whether its parameters go by place or by name."""
    statement = bulk.write(postgresql if dialect.name == "postgresql" else sqlite)
    compiled = statement.compile(dialect=dialect, column_keys=list(bulk.names))  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)
    if compiled.positional:
        assert compiled.positiontup == list(bulk.names), f"the statement names {compiled.positiontup}"
    return str(compiled), compiled.positional

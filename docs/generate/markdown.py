"""The few shapes of Markdown that generated pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MADE = "<!-- Made from the code by `make docs`: change the code, not this page. -->"


def page(title: str, *parts: str) -> str:
    """Return a page: its title, and its parts with an empty line between them."""
    return "\n\n".join([f"# {title}", MADE, *filter(None, parts)])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; without rows, nothing."""
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def code(text: object) -> str:
    """Return text as code."""
    return f"`{text}`"


def block(text: str, language: str) -> str:
    """Return text as a block of code."""
    return f"```{language}\n{text}\n```"


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets, as Python-Markdown makes it."""
    kept = "".join(one for one in heading.lower() if one.isalnum() or one in " -_")
    return "-".join(kept.split())

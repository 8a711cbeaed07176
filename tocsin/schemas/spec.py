"""What every part of a definition shares: frozen models that know their keys, names, and checked texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from tocsin.schemas.expression import compile_expression

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands in a definition: keys and positions, from the top."""

NAME_MAX = 200
"""The most characters of a name."""


_Labels = TypeVar("_Labels", bound=Mapping[str, str])
_Related = TypeVar("_Related", bound=Sequence[Mapping[str, str]])


class Spec(BaseModel):
    """A part of a definition: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


def _check_name(name: str) -> str:
    if name != name.strip():
        raise ValueError(f"{name!r} begins or ends with a space: remove it")
    if "/" in name:
        raise ValueError(f"{name!r} contains `/`: names stand in addresses, write `-` or `.` instead")
    if not name.isprintable():
        raise ValueError(f"{name!r} contains a character that can not be printed: remove it")
    return name


def _check_slug(name: str) -> str:
    if not (name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()):
        raise ValueError(f"{name!r} stands in an address: use letters, digits, `-`, `_` and `.` only")
    return name


def _check_expression(text: str) -> str:
    compile_expression(text)
    return text


def with_id(labels: _Labels) -> _Labels:
    """Require the label that says what an event is about.

    Raises:
        ValueError: there is no `id`, or it is empty.
    """
    if not labels.get("id"):
        raise ValueError("needs an `id` label that is not empty")
    return labels


def with_id_and_role(related: _Related) -> _Related:
    """Require of each related resource what it is and which part it has.

    Raises:
        ValueError: an item has no `id` or no `role`, or an empty one.
    """
    for position, labels in enumerate(related):
        for name in ("id", "role"):
            if not labels.get(name):
                raise ValueError(f"item {position} needs a `{name}` label that is not empty")
    return related


EntryName = Annotated[str, StringConstraints(min_length=1, max_length=NAME_MAX), AfterValidator(_check_name)]
"""The name of a definition: printable text without `/`, up to 200 characters."""

Slug = Annotated[str, StringConstraints(min_length=1, max_length=NAME_MAX), AfterValidator(_check_slug)]
"""A name that stands in an address as it is."""

Text = Annotated[str, StringConstraints(min_length=1)]
"""Text that is not empty."""

JMESPath = Annotated[str, AfterValidator(_check_expression)]
"""A JMESPath expression, checked when the definition is read."""

"""Python's garbage collector, kept from pausing a server that holds very much.

A full collection looks at everything that was made since the last `gc.freeze`, and holds up all threads meanwhile: a
second for some million objects. What lives for long is therefore frozen, again and again, so a full collection never
has much to look at. What is frozen is still freed when the last reference to it goes; only circles of references that
are frozen and die later are not, and nothing here that lives for long is made in circles.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_MANY = 50_000  # a collection of so many objects takes some ten milliseconds
_OLDEST = 2


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold collections back while much is made that stays; then let none look at it again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def short_collections() -> Iterator[None]:
    """Freeze what has outlived a full collection, whenever that is much, until the block ends.

    The first time is at once: what is there by now stays.
    """
    gc.freeze()
    gc.enable()
    gc.callbacks.append(_freeze_survivors)
    try:
        yield
    finally:
        gc.callbacks.remove(_freeze_survivors)


def _freeze_survivors(phase: str, info: Mapping[str, Any]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST and len(gc.get_objects(_OLDEST)) > _MANY:
        gc.freeze()

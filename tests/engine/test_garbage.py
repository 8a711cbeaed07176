"""The garbage collector: what lives for long is not looked at again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tocsin.engine import garbage
from tocsin.engine.garbage import short_collections, uncollected


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.collect()


def test_what_survives_a_full_collection_is_frozen_when_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    with short_collections():
        monkeypatch.setattr(garbage, "_MANY", 10_000)
        before = gc.get_freeze_count()
        few = [[number] for number in range(100)]
        gc.collect()
        assert gc.get_freeze_count() <= before
        many = [[number] for number in range(20_000)]
        gc.collect()
        assert gc.get_freeze_count() >= before + 20_000
        del few, many
    frozen = gc.get_freeze_count()
    kept = [[number] for number in range(20_000)]
    gc.collect()
    assert gc.get_freeze_count() <= frozen
    assert kept


def test_what_is_frozen_is_freed_when_nobody_knows_it_any_more() -> None:
    many = [[number] for number in range(20_000)]
    gc.freeze()
    before = gc.get_freeze_count()
    del many
    assert gc.get_freeze_count() <= before - 20_000


def test_what_is_made_while_collections_are_held_back_is_frozen() -> None:
    with uncollected():
        assert not gc.isenabled()
        kept = [[number] for number in range(1_000)]
    assert gc.isenabled()
    assert not any(one is kept for one in gc.get_objects())

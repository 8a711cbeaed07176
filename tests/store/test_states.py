"""The judge's states in the store: read and written in bulk, called at their moments, moved by one owner."""

from __future__ import annotations

import pytest

from tests.flows.opened import Opened
from tocsin.errors import Conflict
from tocsin.schemas.moments import Micros
from tocsin.store import states
from tocsin.store.states import Cursor, Saved


def save(store: Opened, *wakes: Micros | None, shard: int = 0) -> None:
    """Save states `k0`, `k1`, ... that want to be called at these moments."""
    saved = [Saved(f"k{number}", f"a{number % 2}", wake, b"%d" % number) for number, wake in enumerate(wakes)]
    store.do(lambda tx: states.save(tx.connection, shard, saved))


def due(store: Opened, until_us: Micros, limit: int = 100, *, together: str = "") -> tuple[list[str], Micros]:
    keys, complete_us = store.read(states.due, 0, until_us=until_us, limit=limit, together=together.__eq__)
    return sorted(keys), complete_us


def test_states_are_read_back_in_bulk(store: Opened) -> None:
    save(store, *[None] * 1_234)
    found = store.read(states.load, [f"k{number}" for number in range(2_000)])
    assert found == {f"k{number}": b"%d" % number for number in range(1_234)}
    assert store.read(states.load, []) == {}
    assert len(store.read(states.of_automation, "a0")) == 617
    assert len(store.read(states.of_automation, "a0", limit=10)) == 10


def test_a_state_is_replaced_and_removed(store: Opened) -> None:
    save(store, 5, 6)
    save(store, None)
    assert store.read(states.next_wake, 0) == 6
    store.do(lambda tx: states.remove(tx.connection, ["k1", "nowhere"]))
    store.do(lambda tx: states.remove(tx.connection, []))
    assert store.read(states.next_wake, 0) is None
    assert store.read(states.load, ["k0", "k1"]) == {"k0": b"0"}


def test_what_is_due_is_listed_up_to_a_moment(store: Opened) -> None:
    save(store, 10, 20, 20, 30, None)
    assert due(store, 9) == ([], 9)
    assert due(store, 20) == (["k0", "k1", "k2"], 20)
    assert store.read(states.due, 1, until_us=99, limit=9, together=bool) == ([], 99)


def test_a_long_list_is_cut_behind_a_whole_moment(store: Opened) -> None:
    save(store, 10, 20, 20, 20, 30)
    assert due(store, 99, limit=1) == (["k0"], 19)
    assert due(store, 99, limit=2) == (["k0"], 19)
    assert due(store, 99, limit=4) == (["k0", "k1", "k2", "k3"], 29)
    assert due(store, 99, limit=5) == (["k0", "k1", "k2", "k3", "k4"], 99)


def test_a_moment_that_is_too_large_is_cut_where_its_keys_need_not_stay_together(store: Opened) -> None:
    """Law C1: what one moment completes of a composite is judged together, however much it is."""
    save(store, 20, 20, 20, 20, 20, 30)
    keys, until_us = due(store, 99, limit=2)
    assert (len(keys), until_us) == (2, 20)
    store.do(lambda tx: states.remove(tx.connection, keys))
    rest, until_us = due(store, 99, limit=2)
    assert (len({*keys, *rest}), until_us) == (4, 20)
    save(store, 20, 20, 20, 20, 20, 30)
    keys, until_us = due(store, 99, limit=3, together="a0")
    assert {"k0", "k2", "k4"} <= {*keys}
    assert until_us == 20


def test_a_state_that_is_let_sleep_is_not_called_until_it_is_saved_again(store: Opened) -> None:
    save(store, 10, 20)
    store.do(lambda tx: states.let_sleep(tx.connection, ["k0"]))
    assert due(store, 99) == (["k1"], 99)
    assert store.read(states.load, ["k0"]) == {"k0": b"0"}
    save(store, 10)
    assert due(store, 99) == (["k0", "k1"], 99)


def test_only_the_owner_of_a_cursor_moves_it(store: Opened) -> None:
    """Law F2: who can not move the cursor stores nothing, also when somebody else judged moments only."""
    first = store.read(states.cursor_of, 0)
    second = Cursor(0, 0, 50, first.epoch)
    store.do(lambda tx: states.move_cursor(tx.connection, first, second))
    assert store.read(states.cursor_of, 0) == second
    for stale in (first, Cursor(0, 1, 50, 0), Cursor(0, 0, 50, 1), Cursor(1, 0, 50, 0)):
        with pytest.raises(Conflict, match="is judged by another process"):
            store.do(lambda tx, stale=stale: states.move_cursor(tx.connection, stale, Cursor(0, 9, 90, 0)))
    assert store.read(states.cursor_of, 0) == second

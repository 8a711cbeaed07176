"""Firings in the store: accepted once, open until resolved, found again (laws F1, F3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.opened import T0, Opened
from tocsin.errors import InvalidInput
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing, Verdict, firing_id
from tocsin.schemas.moments import SECOND
from tocsin.store import firings, log
from tocsin.store.firings import Judged
from tocsin.store.writer import Transaction


def firing(number: int = 0, **more: Any) -> Firing:
    values: dict[str, Any] = {
        "id": firing_id("test", number), "automation": "late", "node": "n", "state_key": "k", "labels": {"id": "a"},
        "verdict": Verdict.FIRED, "at_us": T0 + number * SECOND, "time_us": T0,
    }  # fmt: skip
    return Firing(**values | more)


def add(store: Opened, *given: Firing) -> set[str]:
    def unit(tx: Transaction) -> set[str]:
        known = log.by_seq(tx.connection, {seq for one in given for seq in one.events})
        return firings.add(tx.connection, [Judged(one, "live", "high") for one in given], known, decided_us=tx.now_us)

    return store.do(unit)


def test_f1_an_id_is_accepted_once(store: Opened) -> None:
    first, second = firing(1), firing(2)
    assert add(store, first) == {first.id}
    assert add(store, first, second, second) == {second.id}
    assert add(store, first) == set()
    assert [item["id"] for item in store.read(firings.page).items] == [second.id, first.id]
    assert add(store) == set()


def test_a_firing_comes_back_as_it_went_in(store: Opened) -> None:
    drafts = [log.Draft(Event(event="a", resource={"id": "a"}, id=f"e{number}")) for number in range(3)]
    store.do(log.append, drafts)
    given = firing(
        verdict=Verdict.LATE, due_us=T0, window_us=(T0, T0 + 5), events=(1, 3), trigger_event=3, reason="because",
        resolves=("x",), repeat=2, chain=("one", "two"), labels={"id": "\u00e4", "b": ""},
    )  # fmt: skip
    add(store, given)
    assert store.read(firings.by_id, [given.id, "nowhere"]) == {given.id: given}
    shown = store.read(firings.find, given.id)
    assert shown is not None
    assert (shown["events"], shown["due"], shown["window"]) == (
        ["e0", "e2"], "2025-06-15T15:06:40Z", ["2025-06-15T15:06:40Z", "2025-06-15T15:06:40.000005Z"],
    )  # fmt: skip
    assert (shown["severity"], shown["mode"], shown["reason"]) == ("high", "live", "because")
    assert store.read(firings.find, "nowhere") is None


def test_a_miss_is_open_until_it_is_resolved(store: Opened) -> None:
    """Several misses are resolved by one firing (law D2); repeats and other verdicts are not open."""
    missed = [firing(number, verdict=Verdict.MISSED) for number in range(3)]
    repeat = firing(7, verdict=Verdict.MISSED, repeat=1)
    add(store, *missed, repeat, firing(8, verdict=Verdict.UNKNOWN), firing(9, verdict=Verdict.LATE))
    assert store.read(firings.count_open) == 3
    resolved = firing(10, verdict=Verdict.RESOLVED, resolves=(missed[0].id, missed[2].id))
    add(store, resolved)
    [left] = store.read(firings.page, state="open").items
    assert left["id"] == missed[1].id
    assert (store.read(firings.find, missed[0].id) or {})["resolved_by"] == resolved.id


def test_a_miss_and_what_resolves_it_may_come_together(store: Opened) -> None:
    missed = firing(1, verdict=Verdict.MISSED)
    add(store, missed, firing(2, verdict=Verdict.RESOLVED, resolves=(missed.id,)))
    assert store.read(firings.count_open) == 0


def test_s4_an_automation_that_goes_leaves_nothing_open_and_nothing_resolved(store: Opened) -> None:
    add(store, firing(1, verdict=Verdict.MISSED), firing(2, verdict=Verdict.MISSED, automation="other"))
    store.do(lambda tx: firings.close_all(tx.connection, "late"))
    assert [item["automation"] for item in store.read(firings.page, state="open").items] == ["other"]
    assert all(item["resolved_by"] is None for item in store.read(firings.page).items)


def test_firings_are_found_by_filters_and_pages(store: Opened) -> None:
    for number in range(9):
        verdict = Verdict.MISSED if number % 2 else Verdict.FIRED
        add(store, firing(number, verdict=verdict, automation="other" if number > 5 else "late"))

    def found(**wanted: Any) -> list[int]:
        return [item["n"] - 1 for item in store.read(firings.page, **wanted).items]

    assert found(automation="late") == [5, 4, 3, 2, 1, 0]
    assert found(verdict="missed", automation="other") == [7]
    assert found(since_us=T0 + 6 * SECOND) == [8, 7, 6]
    page = store.read(firings.page, limit=4)
    assert found(limit=5, cursor=page.next) == [4, 3, 2, 1, 0]
    assert store.read(firings.page, limit=9).next is None
    assert (store.read(firings.newest_of, "late") or {})["n"] == 6
    assert store.read(firings.newest_of, "nobody") is None
    with pytest.raises(InvalidInput):
        found(cursor="nonsense")

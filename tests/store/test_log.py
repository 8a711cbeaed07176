"""The log: one order of arrivals in which time never goes back, and identities that are judged once (laws E1, E2)."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.flows.opened import T0, Opened
from tocsin.schemas.event import Event
from tocsin.schemas.moments import HOUR, SECOND, from_micros
from tocsin.store import log
from tocsin.store.log import Appended, Draft


def event(event_id: str | None = None, **more: Any) -> Event:
    return Event.model_validate({"event": "table.updated", "resource": {"id": "a"}, "id": event_id} | more)


def append(store: Opened, *events: Event) -> Appended:
    return store.do(log.append, [Draft(one) for one in events])


def test_e1_received_never_goes_back_when_the_clock_does(store: Opened) -> None:
    """An hour back, and forth again: places and times grow together."""
    for step in (0, -HOUR, SECOND, HOUR, -2 * HOUR, 3 * HOUR):
        store.clock.us += step
        append(store, event())
    received = [placed.received_us for placed in store.told()]
    assert received == sorted(received)
    assert [placed.seq for placed in store.told()] == [1, 2, 3, 4, 5, 6]
    assert received[0] == T0
    assert received[-1] == store.clock.us


def test_e1_nothing_happens_after_it_was_received(store: Opened) -> None:
    past, future = from_micros(T0 - HOUR), from_micros(T0 + HOUR)
    append(store, event(occurred=past), event(occurred=future), event())
    assert [placed.time_us for placed in store.told()] == [T0 - HOUR, T0, T0]


def test_an_event_comes_back_from_the_log_as_it_went_in(store: Opened) -> None:
    given_event = event(
        "e1", occurred=from_micros(T0 - 1), payload={"text": "\u00fc\0\U0001f514", "n": [1, 2.5, None, True, 10**30]},
        related=[{"id": "b", "role": "owner"}], source="shop", follows="e0",
    )  # fmt: skip
    [placed] = store.do(log.append, [Draft(given_event, ("one", "two"))]).arrivals
    [read] = store.told()
    assert read == placed
    assert read.event == given_event
    assert read.chain == ("one", "two")
    assert store.read(log.by_seq, [placed.seq, 99]) == {placed.seq: placed}


def test_an_event_without_an_id_gets_one_and_they_are_in_the_order_of_time(store: Opened) -> None:
    first = append(store, event())
    store.clock.us += 1_000
    second = append(store, event(), event())
    assert first.ids < second.ids
    assert len({*first.ids, *second.ids}) == 3


def test_e2_a_known_identity_is_dropped(store: Opened) -> None:
    """Within an append, across appends, and after a new start; other sources have identities of their own."""
    one = append(store, event("e1"), event("e2"), event("e1"))
    assert (one.duplicates, one.ids, [placed.seq for placed in one.arrivals]) == (1, ["e1", "e2", "e1"], [1, 2])
    two = append(store, event("e2"), event("e3"), event("e1", source="shop"))
    assert (two.duplicates, [placed.event.id for placed in two.arrivals]) == (1, ["e3", "e1"])
    assert append(store, event("e3"), event("e3")).arrivals == []
    assert [(placed.event.source, placed.event.id) for placed in store.told()] == [
        ("", "e1"), ("", "e2"), ("", "e3"), ("shop", "e1"),
    ]  # fmt: skip
    assert store.read(log.newest)[0] == store.told()[-1].seq


def test_e2_only_the_first_of_each_identity_is_kept(store: Opened) -> None:
    """Places that duplicates would have had are never given to two events, nor is one lost."""
    random, expected = Random(5), []
    for _ in range(300):
        keys = [(random.choice(["", "shop"]), f"e{random.randint(0, 250)}") for _ in range(random.randint(0, 5))]
        appended = append(store, *(event(name, source=source) for source, name in keys))
        fresh = [key for key in dict.fromkeys(keys) if key not in expected]
        assert [(one.event.source, one.event.id) for one in appended.arrivals] == fresh
        assert appended.duplicates == len(keys) - len(fresh)
        expected += fresh
    told = store.told()
    assert [(one.event.source, one.event.id) for one in told] == expected
    assert [one.seq for one in told] == sorted({one.seq for one in told})


def test_many_identities_are_looked_up_in_parts(store: Opened) -> None:
    append(store, *(event(f"e{number}") for number in range(1_300)))
    again = append(store, *(event(f"e{number}") for number in range(1_299, 1_400)))
    assert (again.duplicates, len(again.arrivals)) == (1, 100)


def test_an_event_is_found_by_its_id_the_newest_of_several_sources(store: Opened) -> None:
    append(store, event("e1"), event("e1", source="shop"))
    newest, own = store.read(log.find, "e1"), store.read(log.find, "e1", "")
    assert newest is not None
    assert own is not None
    assert (newest.event.source, own.event.source) == ("shop", "")
    assert store.read(log.find, "e2") is None


def test_the_next_place_is_the_one_that_the_next_event_gets(store: Opened) -> None:
    append(store, event("e1"), event("e1"))

    def unit(tx: Any) -> tuple[log.Place, Appended]:
        return log.next_place(tx), log.append(tx, [Draft(event("e2"))])

    place, appended = store.do(unit)
    [placed] = appended.arrivals
    assert (place.seq, place.received_us) == (placed.seq, placed.received_us)


def test_what_priming_needs_is_read_in_order_and_in_parts(store: Opened) -> None:
    """Law O3: received from a moment on, up to a place."""
    for number in range(5):
        append(store, event(f"e{number}"))
        store.clock.us += SECOND
    read = store.read(log.since, from_us=T0 + SECOND, to_seq=4, after_seq=0, limit=2)
    assert [placed.event.id for placed in read] == ["e1", "e2"]
    read = store.read(log.since, from_us=T0 + SECOND, to_seq=4, after_seq=read[-1].seq, limit=2)
    assert [placed.event.id for placed in read] == ["e3"]
    append(store, event("other", event="b"), event("e5"))
    read = store.read(log.since, from_us=T0 + SECOND, to_seq=99, after_seq=0, limit=9, name="b")
    assert [placed.event.id for placed in read] == ["other"]
    assert store.read(log.since, from_us=T0 + HOUR, to_seq=99, after_seq=0, limit=9) == []

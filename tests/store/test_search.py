"""Looking through the log: filters, pages that show everything once, counts."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.flows.opened import T0, Opened
from tests.model.matching import name_matches
from tocsin.errors import InvalidInput
from tocsin.schemas.event import Event
from tocsin.schemas.moments import DAY, HOUR
from tocsin.store import log, search
from tocsin.store.log import Draft
from tocsin.store.page import decode_cursor, encode_cursor
from tocsin.store.search import EventFilter


def send(store: Opened, *names: str, **more: Any) -> None:
    values = {"resource": {"id": "a"}} | more
    store.do(log.append, [Draft(Event.model_validate({"event": name, **values})) for name in names])


def names(store: Opened, **wanted: Any) -> list[str]:
    return [item["event"] for item in store.read(search.page, EventFilter(**wanted), limit=1000).items]


NAMES = ["a", "a.b", "A.b", "ab", "a.b.c", "a?b", "a[b]", "a[b", "[ab]", "a%b", "a_b", "axb", "b", "\u00e4.b", "a*b"]
PATTERNS = [*NAMES, "*", "a*", "*b", "a.*", "*.b", "a*b", "a?*", "[ab]*", "a[*", "*]", "a%*", "**", "*a*"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_m1_names_are_found_by_the_pattern_that_triggers_use(store: Opened, pattern: str) -> None:
    """Case matters, only `*` is special, and it stands for one or more characters."""
    send(store, *NAMES)
    assert sorted(names(store, event=pattern)) == sorted(name for name in NAMES if name_matches(pattern, name))


def test_filters_are_combined(store: Opened) -> None:
    send(store, "a", resource={"id": "x"}, payload={"text": "100% \u00fcber"})
    store.clock.us += HOUR
    send(store, "a", resource={"id": "y"})
    send(store, "b", resource={"id": "x"})
    assert names(store, resource="x") == ["b", "a"]
    assert names(store, resource="x", event="a") == ["a"]
    assert names(store, since_us=T0 + 1) == ["b", "a"]
    assert names(store, since_us=T0, until_us=T0 + HOUR) == ["a"]
    assert names(store, q="100% \u00fcb") == ["a"]
    assert names(store, q="%") == ["a"]
    assert names(store, q="nowhere") == []


def test_pages_show_everything_once_the_newest_first(store: Opened) -> None:
    """Also when events arrive while somebody turns the pages."""
    for part in range(7):
        send(store, *(f"e{part}-{number}" for number in range(part)))
    wanted = names(store)
    found: list[str] = []
    cursor: str | None = None
    random = Random(1)
    while True:
        page = store.read(search.page, EventFilter(), limit=random.randint(1, 4), cursor=cursor)
        found += [item["event"] for item in page.items]
        send(store, "later")
        if (cursor := page.next) is None:
            break
    assert found == wanted


def test_a_page_that_is_full_to_the_last_event_has_no_next(store: Opened) -> None:
    send(store, "a", "b")
    assert store.read(search.page, EventFilter(), limit=2).next is None
    assert store.read(search.page, EventFilter(), limit=1).next is not None
    assert store.read(search.page, EventFilter(event="c")).items == []


@pytest.mark.parametrize("number", [0, 1, 77, (1 << 62) - 1])
def test_a_cursor_leads_back_to_its_place(number: int) -> None:
    assert decode_cursor(encode_cursor(number)) == number


@pytest.mark.parametrize(
    "text", ["", "n1", "bjE$", "\u00fc", "bi0x", "eDE", "bm4x", "bm9wZQ", encode_cursor(1 << 62), "bjFf"]
)
def test_a_cursor_that_nobody_gave_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="cursor: is not a cursor"):
        decode_cursor(text)


def test_events_are_counted_altogether_and_in_groups(store: Opened) -> None:
    send(store, "a", "b", "a")
    store.clock.us += HOUR
    send(store, "a", resource={"id": "y"})
    store.clock.us += DAY
    send(store, "c")

    def count(by: Any = None, **wanted: Any) -> Any:
        return store.read(search.count, EventFilter(**wanted), by=by)

    assert count() == 5
    assert count(event="a") == 3
    assert count("event") == [{"value": "a", "count": 3}, {"value": "b", "count": 1}, {"value": "c", "count": 1}]
    assert count("resource", event="a") == [{"value": "a", "count": 2}, {"value": "y", "count": 1}]
    hours = count("hour")
    assert [(one["value"], one["count"]) for one in hours] == [
        ("2025-06-16T16:00:00Z", 1), ("2025-06-15T16:00:00Z", 1), ("2025-06-15T15:00:00Z", 3),
    ]  # fmt: skip
    assert [one["count"] for one in count("day")] == [1, 4]

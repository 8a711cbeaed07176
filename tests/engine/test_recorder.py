"""The recorder: all or nothing, durable, each request with its own receipt (laws E2, E3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from tests.engine.live import event
from tests.flows.opened import Opened
from tests.servers import BOTH
from tocsin.engine.recorder import Receipt, Recorder
from tocsin.errors import Overloaded, Unavailable
from tocsin.schemas.event import Event
from tocsin.store.writer import Transaction

DATABASES = BOTH


@pytest.fixture
async def store(url: str) -> AsyncIterator[Opened]:
    store = Opened(url)
    yield store
    await asyncio.to_thread(store.close)


@pytest.fixture
def recorder(store: Opened) -> Recorder:
    return Recorder(store.writer, queue_events=1_000)


async def at_once(store: Opened, recorder: Recorder, *requests: list[Event]) -> list[Any]:
    """Record requests that share one append: the writer is held until all of them are there."""
    go = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(tx: Transaction) -> None:
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)

    held = asyncio.create_task(store.writer.run(hold))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(recorder.record(request)) for request in requests]
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await held
    return results


def ids(store: Opened) -> list[str | None]:
    return [placed.event.id for placed in store.told()]


async def test_requests_that_come_together_share_an_append_and_each_has_its_own_receipt(
    store: Opened, recorder: Recorder
) -> None:
    commits = store.writer.commits
    first, second, third = await at_once(
        store, recorder, [event(id="e1"), event(id="e2")], [event(id="e2"), event(id="e3")], [event()]
    )
    assert first == Receipt(2, 0, ["e1", "e2"])
    assert second == Receipt(2, 1, ["e2", "e3"])
    assert (third.accepted, third.duplicates, len(third.ids)) == (1, 0, 1)
    assert store.writer.commits <= commits + 2
    assert ids(store) == ["e1", "e2", "e3", third.ids[0]]
    assert recorder.waiting == 0


async def test_e2_a_repeated_identity_is_accepted_and_counted_as_a_duplicate(store: Opened, recorder: Recorder) -> None:
    """Within a request, within a shared append, and later; under another source it is another event."""
    assert await recorder.record([event(id="e1"), event(id="e1")]) == Receipt(2, 1, ["e1", "e1"])
    again, other = await at_once(store, recorder, [event(id="e1")], [event(id="e1", source="shop")])
    assert (again.duplicates, other.duplicates) == (1, 0)
    after = Recorder(store.writer, queue_events=10)
    assert (await after.record([event(id="e1"), event(id="e1", source="shop")])).duplicates == 2
    assert [(placed.event.id, placed.event.source) for placed in store.told()] == [("e1", ""), ("e1", "shop")]


async def test_e2_each_request_is_told_its_own_duplicates(store: Opened, recorder: Recorder) -> None:
    """Many requests over few identities: receipts add up to what the log has, whoever was first."""
    random = Random(3)
    requests = [[event(id=f"e{random.randint(0, 30)}") for _ in range(random.randint(1, 5))] for _ in range(40)]
    receipts = await at_once(store, recorder, *requests)
    seen: set[str] = set()
    for request, receipt in zip(requests, receipts, strict=True):
        wanted = [str(one.id) for one in request]
        known = 0
        for one in wanted:
            known += one in seen
            seen.add(one)
        assert receipt == Receipt(len(wanted), known, wanted)
    assert sorted(map(str, ids(store))) == sorted(seen)


async def test_e3_a_request_that_poisons_a_shared_append_fails_alone(store: Opened, recorder: Recorder) -> None:
    """Half a surrogate pair can not be written; it fails its own request, all of it, and no other."""
    poison = [event(id="e2"), event(id="e3", payload="\ud800")]
    first, bad, last = await at_once(store, recorder, [event(id="e1")], poison, [event(id="e4")])
    assert isinstance(bad, Exception)
    assert (first.ids, last.ids) == (["e1"], ["e4"])
    assert ids(store) == ["e1", "e4"]
    assert recorder.waiting == 0


async def test_e3_requests_that_can_not_be_sent_alone_are_answered(
    store: Opened, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer stops between the shared append that failed and those that would take its place."""
    submit = store.writer.submit
    calls: list[object] = []

    def closing(unit: Any) -> Any:
        calls.append(unit)
        if len(calls) > 2:
            raise Unavailable("the server is stopping")
        return submit(unit)

    monkeypatch.setattr(store.writer, "submit", closing)
    results = await at_once(store, recorder, [event(id="e1")], [event(payload="\ud800")])
    assert [type(one) for one in results] == [Unavailable, Unavailable]
    assert ids(store) == []


async def test_more_than_may_wait_is_refused_and_nothing_of_it_kept(store: Opened, recorder: Recorder) -> None:
    small = Recorder(store.writer, queue_events=3)
    results = await at_once(store, small, [event(id="e1")], [event(id="e2")] * 3, [event(id="e3")])
    assert isinstance(results[1], Overloaded)
    assert results[1].retry_after_s > 0
    assert ids(store) == ["e1", "e3"]
    assert small.waiting == 0
    assert (await small.record([event(id=f"f{number}") for number in range(5)])).accepted == 5  # nothing waits: taken


async def test_a_sender_that_gives_up_leaves_nothing_waiting(store: Opened, recorder: Recorder) -> None:
    task = asyncio.create_task(recorder.record([event(id="e1")]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert recorder.waiting == 0
    assert (await recorder.record([event(id="e2")])).accepted == 1


async def test_a_request_without_events_is_answered(recorder: Recorder) -> None:
    assert await recorder.record([]) == Receipt(0, 0, [])


async def test_a_large_append_is_not_joined(store: Opened, recorder: Recorder) -> None:
    """An append takes requests until it is large, so that none waits for all the others."""
    big = Recorder(store.writer, queue_events=100_000)
    requests = [[event(id=f"{part}-{one}") for one in range(1_500)] for part in range(4)]
    receipts = await at_once(store, big, *requests)
    assert [receipt.accepted for receipt in receipts] == [1_500] * 4
    assert len(store.told()) == 1_000  # as many as are shown
    assert big.accepted == 6_000

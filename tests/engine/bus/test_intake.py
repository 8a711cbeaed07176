"""The intake on a real Redis and PostgreSQL: order, poison, what was left behind, what was lost, what is away."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing, suppress
from random import Random
from typing import Any

import pytest
from faststream.redis.parser import BinaryMessageFormatV1

from tests.engine.bus.desk import PATIENCE_S, Desk
from tests.engine.live import event
from tests.redis_servers import PrivateRedis
from tests.servers import Postgres
from tocsin.engine.bus import intake as intake_module
from tocsin.engine.bus.appending import record
from tocsin.engine.bus.channel import GROUP
from tocsin.engine.bus.claims import Claims
from tocsin.engine.bus.entries import BEAT, headers_of
from tocsin.engine.bus.intake import SUSPECT_TRIES
from tocsin.errors import TocsinError, Unavailable
from tocsin.schemas.event import Arrival
from tocsin.store import log, refusals

DATABASES = ("postgres",)
RESOURCE = {"id": "r"}


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [int(placed.event.id or "") for placed in arrivals]


async def packed_beat() -> bytes:
    return await BinaryMessageFormatV1.encode(
        message=b"", reply_to=None, headers=headers_of(BEAT), correlation_id="beat"
    )


async def until_done(desk: Desk) -> None:
    """Wait until nothing is pending and nothing unread."""

    def done() -> bool:
        with closing(desk.server.client()) as client:
            group = client.xinfo_groups(desk.stream)[0]
        return bool(group["pending"] == 0 and group["lag"] == 0)

    await desk.until(done)


async def test_poison_is_kept_apart_and_everything_around_it_is_recorded(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    good = [json.dumps({"event": "e", "resource": RESOURCE, "id": str(number)}) for number in range(3)]
    desk.add({"data": good[0]})
    bad = [
        desk.add({"data": b"\xff\xfe secret-content"}),
        desk.add({"something": "else"}),
        desk.add({"__data__": "{}"}),
        desk.add({"data": json.dumps({"event": "tocsin.x", "resource": RESOURCE})}),
    ]
    desk.add({"data": f"[{good[1]}, {good[2]}]"})
    intake = await desk.intake()
    assert numbers(await desk.until_recorded(3)) == [0, 1, 2]
    kept = await desk.read(refusals.newest, limit=10)
    assert [one.entry for one in reversed(kept)] == bad
    assert kept[-1].body == b"\xff\xfe secret-content"
    told = [placed for placed in await desk.arrivals(own=True) if placed.event.event == "tocsin.bus.refused"]
    assert [placed.event.resource["entry"] for placed in told] == bad
    assert (intake.refused, intake.recorded) == (4, 3)
    assert "secret-content" not in caplog.text
    assert all(entry in caplog.text for entry in bad)
    await until_done(desk)


async def test_a_refused_entry_that_is_delivered_again_is_refused_once(desk: Desk) -> None:
    desk.add({"data": "none"})
    first = await desk.intake()
    await desk.until(lambda: first.refused)
    await first.close()
    assert await desk.read(refusals.count) == 1
    with closing(desk.server.client()) as client:
        client.xgroup_setid(desk.stream, GROUP, "0")
        client.xadd(desk.stream, {"data": json.dumps({"event": "e", "resource": RESOURCE, "id": "1"})})
    again = await desk.intake()
    await desk.until_recorded(1)
    assert (await desk.read(refusals.count), again.refused) == (1, 0)


async def test_s1_two_recorders_append_in_the_order_of_the_stream(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "READ_ENTRIES", 7)
    first, second = await desk.intake(), await desk.intake()
    publisher = await desk.publisher()
    sent: list[str] = []
    for start in range(0, 1_500, 30):
        batch = [publisher.record([event(id=str(number))]) for number in range(start, start + 30)]
        sent += [receipt.ids[0] for receipt in await asyncio.gather(*batch)]
    arrivals = await desk.until_recorded(1_500)
    assert [placed.event.id for placed in arrivals] == sent
    assert [placed.seq for placed in arrivals] == sorted(placed.seq for placed in arrivals)
    await desk.until(lambda: first.recorded + second.recorded == 1_500)
    assert min(first.recorded, second.recorded) > 0


async def test_what_a_dead_recorder_held_is_claimed_and_comes_before_what_is_younger(desk: Desk) -> None:
    for number in range(5):
        desk.add_event(event="e", resource=RESOURCE, id=str(number))
    with closing(desk.server.client()) as client:
        client.xgroup_create(desk.stream, GROUP, id="0")
        client.xreadgroup(GROUP, "dead", {desk.stream: ">"}, count=3)
    await desk.intake(claim_after_s=0.5)
    assert numbers(await desk.until_recorded(5)) == [0, 1, 2, 3, 4]
    await until_done(desk)


async def test_control_without_claims_what_a_dead_recorder_held_is_not_recorded_nor_anything_younger(
    desk: Desk,
) -> None:
    for number in range(5):
        desk.add_event(event="e", resource=RESOURCE, id=str(number))
    with closing(desk.server.client()) as client:
        client.xgroup_create(desk.stream, GROUP, id="0")
        client.xreadgroup(GROUP, "dead", {desk.stream: ">"}, count=3)
    intake = await desk.intake(claim_after_s=3600)
    await desk.until(lambda: intake.figures.pending == 5)
    assert await desk.arrivals() == []


async def test_a_recorder_that_is_alive_and_slow_is_not_robbed(desk: Desk) -> None:
    slow = desk.recording(claim_after_s=1.5)
    held = asyncio.Event()
    loop = asyncio.get_running_loop()
    slow.writer.submit(lambda tx: asyncio.run_coroutine_threadsafe(held.wait(), loop).result(20))
    await slow.intake.start()
    desk.add_event(event="e", resource=RESOURCE, id="1")
    await desk.until(lambda: slow.intake.figures.pending == 1)
    other = await desk.intake(claim_after_s=1.5)
    desk.add_event(event="e", resource=RESOURCE, id="2")
    tended = 0

    def tended_thrice() -> bool:
        nonlocal tended
        with closing(desk.server.client()) as client:
            idle: Any = client.xpending_range(desk.stream, GROUP, "-", "+", 1)[0]
        tended += int(idle["time_since_delivered"]) < 100
        return tended > 20

    await desk.until(tended_thrice)
    assert await desk.arrivals() == []
    held.set()
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    await desk.until(lambda: slow.intake.recorded + other.recorded == 2)
    assert (slow.intake.duplicates, other.duplicates) == (0, 0)


async def test_an_answer_of_redis_that_got_lost_is_taken_up_again_and_in_order(desk: Desk) -> None:
    with closing(desk.server.client()) as client:
        client.xgroup_create(desk.stream, GROUP, id="0", mkstream=True)
        desk.add_event(event="e", resource=RESOURCE, id="1")
        client.xreadgroup(GROUP, "recorder-0", {desk.stream: ">"})
        desk.add_event(event="e", resource=RESOURCE, id="2")
    await desk.intake(claim_after_s=3600)
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    await until_done(desk)


async def test_what_is_recorded_is_trimmed_and_what_is_pending_is_not(desk: Desk) -> None:
    intake = await desk.intake()
    for number in range(50):
        desk.add_event(event="e", resource=RESOURCE, id=str(number))
    await desk.until_recorded(50)

    def length() -> int:
        with closing(desk.server.client()) as client:
            return int(client.xlen(desk.stream))

    await desk.until(lambda: length() <= 1)
    await intake.close()
    with closing(desk.server.client()) as client:
        desk.add_event(event="e", resource=RESOURCE, id="50")
        client.xreadgroup(GROUP, "dead", {desk.stream: ">"})
        desk.add_event(event="e", resource=RESOURCE, id="51")
    other = await desk.intake(claim_after_s=3600)
    await desk.until(lambda: other.figures.pending == 2)
    assert length() == 2
    assert other.figures.oldest_us is not None


async def test_a_clean_end_leaves_nothing_to_wait_for(desk: Desk, postgres: Postgres, url: str) -> None:
    first = await desk.intake()
    for number in range(200):
        desk.add_event(event="e", resource=RESOURCE, id=str(number))
    await first.close()
    await desk.intake()
    assert numbers(await desk.until_recorded(200)) == list(range(200))
    await until_done(desk)


async def test_after_flushall_the_stream_is_begun_anew_and_nothing_in_hand_is_lost(own_desk: Desk) -> None:
    desk = own_desk
    recording = desk.recording()
    publisher = await desk.publisher()
    held = asyncio.Event()
    loop = asyncio.get_running_loop()
    await recording.intake.start()
    recording.writer.submit(lambda tx: asyncio.run_coroutine_threadsafe(held.wait(), loop).result(20))
    await publisher.record([event(id="1")])
    await desk.until(lambda: len(recording.intake._hands) > 0)
    with closing(desk.server.client()) as client:
        client.flushall()
    await publisher.record([event(id="2")])
    held.set()
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    await publisher.record([event(id="3")])
    assert numbers(await desk.until_recorded(3)) == [1, 2, 3]
    assert recording.intake.problem == ""
    assert not recording.intake.failure.done()


async def test_a_group_that_was_deleted_is_made_again_at_the_beginning(desk: Desk) -> None:
    publisher = await desk.publisher()
    await desk.intake()
    await publisher.record([event(id="1")])
    await desk.until_recorded(1)
    with closing(desk.server.client()) as client:
        client.xgroup_destroy(desk.stream, GROUP)
    await publisher.record([event(id="2")])
    assert numbers(await desk.until_recorded(2)) == [1, 2]


async def test_while_the_database_is_away_the_stream_keeps_what_comes(desk: Desk, postgres: Postgres, url: str) -> None:
    intake = await desk.intake()
    publisher = await desk.publisher()
    await publisher.record([event(id="0")])
    await desk.until_recorded(1)
    postgres.cut(url)
    try:
        for number in range(1, 200):
            await publisher.record([event(id=str(number))])
        await desk.until(lambda: intake.problem)
    finally:
        postgres.cut(url, off=False)
    assert numbers(await desk.until_recorded(200)) == list(range(200))
    await desk.until(lambda: not intake.problem)
    await until_done(desk)


async def test_redis_is_killed_and_comes_back_with_everything_that_was_acknowledged(
    own_desk: Desk, own_redis: PrivateRedis
) -> None:
    desk = own_desk
    publisher, intake = await desk.publisher(), await desk.intake()
    acknowledged: set[str] = set()
    random = Random(7)
    stop = asyncio.Event()

    async def send(worker: int) -> None:
        number = 0
        while not stop.is_set():
            identity = f"{worker}-{number}"
            with suppress(Unavailable):
                await publisher.record([event(id=identity)])
                acknowledged.add(identity)
                number += 1
            await asyncio.sleep(random.random() / 100)

    workers = [asyncio.create_task(send(worker)) for worker in range(8)]
    for _ in range(3):
        before = len(acknowledged)
        await desk.until(lambda before=before: len(acknowledged) > before + 100)  # type: ignore[misc]
        own_redis.kill()
        await desk.until(lambda: publisher.problem and intake.problem)
        own_redis.start()
    before = len(acknowledged)
    await desk.until(lambda: len(acknowledged) > before + 100)
    stop.set()
    await asyncio.gather(*workers)
    arrivals = await desk.until_recorded(len(acknowledged))
    recorded = [placed.event.id for placed in arrivals]
    assert acknowledged <= set(recorded)
    assert len(recorded) == len(set(recorded))
    assert (publisher.problem, intake.problem) == ("", "")


async def test_what_the_database_refuses_is_set_aside_and_the_rest_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(entries, **more):  # type: ignore[no-untyped-def]
        if any(one.id == "bad" for entry in entries for one in entry.events):
            raise RuntimeError("this value, never")
        return record(entries, **more)

    monkeypatch.setattr("tocsin.engine.bus.intake.record", picky)
    for number in ("1", "bad", "2"):
        desk.add_event(event="e", resource=RESOURCE, id=number)
    await desk.intake()
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    (kept,) = await desk.read(refusals.newest, limit=10)
    assert b'"bad"' in kept.body


@pytest.mark.parametrize("sqlstate", ["53100", "25006", "42501"])
async def test_e3_a_database_that_can_not_store_now_condemns_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    """A full disk, one that only reads, a missing right: entries wait for it, and none is set aside."""
    tried, works = 0, asyncio.Event()

    def record_later(entries, *, tx, **more):  # type: ignore[no-untyped-def]
        nonlocal tried
        if not works.is_set():
            tried += 1
            tx.connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")
        return record(entries, tx=tx, **more)

    monkeypatch.setattr("tocsin.engine.bus.intake.record", record_later)
    monkeypatch.setattr("tocsin.engine.bus.intake.AGAIN_S", (0.001, 0.001))
    for number in ("1", "2"):
        desk.add_event(event="e", resource=RESOURCE, id=number)
    intake = await desk.intake()
    await desk.until(lambda: tried >= 4 * SUSPECT_TRIES)
    assert "can not be recorded" in intake.problem
    works.set()
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    assert await desk.read(refusals.newest, limit=10) == []


async def test_what_the_database_can_never_store_is_set_aside(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(entries, *, tx, **more):  # type: ignore[no-untyped-def]
        if any(one.id == "bad" for entry in entries for one in entry.events):
            tx.connection.exec_driver_sql("SELECT 1 / 0")
        return record(entries, tx=tx, **more)

    monkeypatch.setattr("tocsin.engine.bus.intake.record", picky)
    for number in ("1", "bad", "2"):
        desk.add_event(event="e", resource=RESOURCE, id=number)
    await desk.intake()
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    assert [b'"bad"' in one.body for one in await desk.read(refusals.newest, limit=10)] == [True]


async def test_a_key_that_is_no_stream_is_refused_at_the_start(desk: Desk) -> None:
    with closing(desk.server.client()) as client:
        client.set(desk.stream, "mine")
    with pytest.raises(TocsinError, match="is no stream"):
        await desk.intake()


@pytest.mark.parametrize("part", ["turn", "tend"])
async def test_what_nobody_foresaw_ends_the_intake_which_says_so_to_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A turn of appending, or of tending: the process is ready no more, also while its other part goes on."""

    async def fail(*_: object, **_more: object) -> None:
        raise RuntimeError("nobody foresaw this")

    intake = await desk.intake()
    assert (intake.problem, intake.failure.done()) == ("", False)
    monkeypatch.setattr(Claims, part, fail)
    desk.add_event(event="e", resource=RESOURCE, id="1")
    problem = await asyncio.wait_for(asyncio.shield(intake.failure), PATIENCE_S)
    assert problem == "the intake of the bus has ended: RuntimeError('nobody foresaw this')"
    if part == "tend":
        await desk.until(lambda: intake.recorded == 1)
    assert intake.problem == problem
    monkeypatch.undo()
    await intake.close()
    await desk.intake()
    assert numbers(await desk.until_recorded(1)) == [1]


async def test_a_subscriber_that_has_gone_deaf_is_begun_anew_and_a_problem_until_it_hears(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "TEND_EVERY_S", 0.02)
    intake = desk.recording(claim_after_s=0.1).intake
    begun, deaf, read = 0, True, intake._subscriber._get_msgs

    async def listen(*how: object) -> None:
        nonlocal begun
        if deaf:  # for good: it hangs, and believes that it is running
            begun += 1
            await asyncio.Event().wait()
        await read(*how)

    monkeypatch.setattr(intake._subscriber, "_get_msgs", listen)
    await intake.start()
    for number in ("1", "2"):
        desk.add_event(event="e", resource=RESOURCE, id=number)
    await desk.until(lambda: intake.problem)
    assert intake.problem == "the bus has entries that are not read: its subscriber is begun anew"
    await desk.until(lambda: begun >= 2)
    with closing(desk.server.client()) as client:
        client.xreadgroup(GROUP, "dead", {desk.stream: ">"}, count=1)
    await desk.until(lambda: intake.recorded)  # what is claimed is not heard
    before = begun
    await desk.until(lambda: begun >= before + 2)
    assert "not read" in intake.problem
    deaf = False
    assert numbers(await desk.until_recorded(2)) == [1, 2]
    await desk.until(lambda: not intake.problem)
    assert not intake.failure.done()


async def test_s2_when_no_receiver_could_receive_is_an_outage_whatever_recorders_did(own_desk: Desk) -> None:
    desk = own_desk
    with closing(desk.server.client()) as client:
        beat = await packed_beat()
        base = 1_763_700_000_000
        for after_ms in (0, 200, 400, 9_000, 9_200, 30_000):
            client.xadd(desk.stream, {"__data__": beat}, id=f"{base + after_ms}-0")
    await desk.intake()
    await until_done(desk)
    gaps = [
        ((start - base * 1000) // 1000, (end - base * 1000) // 1000) for start, end in await desk.read(log.outages_of)
    ]
    assert gaps == [(400, 9_000), (9_200, 30_000)]

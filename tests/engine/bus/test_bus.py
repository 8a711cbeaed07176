"""The bus from end to end, on a real Redis and PostgreSQL: nothing lost, nothing doubled, in order."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from tests.cli import served
from tests.engine.bus.desk import Desk
from tests.engine.live import event
from tests.redis_servers import Redis
from tocsin.store import log

DATABASES = ("postgres",)


async def test_what_is_published_is_recorded_once_in_order_with_its_trace_and_at_the_streams_times(desk: Desk) -> None:
    publisher, intake = await desk.publisher(), await desk.intake()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    first = await publisher.record([event(id="a"), event()], trace=trace)
    second = await publisher.record([event(id="b")])
    assert (first.accepted, first.duplicates, first.ids[0], second.ids) == (2, None, "a", ["b"])
    arrivals = await desk.until_recorded(3)
    assert [placed.event.id for placed in arrivals] == ["a", first.ids[1], "b"]
    assert [placed.trace for placed in arrivals] == [trace, trace, None]
    assert [placed.received_us for placed in arrivals] == sorted(placed.received_us for placed in arrivals)
    assert all(placed.received_us % 1000 == 0 for placed in arrivals)
    await desk.until(lambda: intake.recorded == 3)
    assert (publisher.accepted, publisher.waiting, intake.problem) == (3, 0, "")


async def test_e2_a_repeat_over_the_bus_is_dropped(desk: Desk) -> None:
    publisher, intake = await desk.publisher(), await desk.intake()
    for _ in range(3):
        await publisher.record([event(id="a")])
    await publisher.record([event(id="b")])
    assert [placed.event.id for placed in await desk.until_recorded(2)] == ["a", "b"]
    await desk.until(lambda: intake.duplicates == 2)


async def test_s2_the_time_of_the_log_moves_while_nothing_is_published(desk: Desk) -> None:
    await desk.publisher()
    await desk.intake()

    async def moments() -> int:
        head: log.Head = await desk.read(log.newest)
        return head.received_us

    start = 0

    async def moved() -> bool:
        return await moments() > start

    for _ in range(3):
        await desk.until(moved)
        start = await moments()
    assert await desk.read(log.outages_of) == []


async def test_what_was_published_before_any_recorder_is_recorded(desk: Desk) -> None:
    publisher = await desk.publisher()
    await asyncio.gather(*(publisher.record([event(id=str(number))]) for number in range(100)))
    await desk.intake()
    arrivals = await desk.until_recorded(100)
    assert sorted(int(placed.event.id or "") for placed in arrivals) == list(range(100))


def test_a_server_whose_intake_ends_ends_too_and_says_why(
    redis_url: Redis, stream: str, url: str, tmp_path: Path
) -> None:
    """Who watches over processes begins one anew that has failed, and none that stays and records nothing."""
    settings = {"TOCSIN_DATABASE": url, "TOCSIN_BUS": redis_url.url, "TOCSIN_BUS_STREAM": stream}
    with served.serving(tmp_path, **settings) as server:
        with closing(redis_url.client()) as client:
            client.set(stream, "somebody else's")
        assert server.process.wait(served.PATIENCE_S) == 1
    lines = (tmp_path / "server.log").read_text().splitlines()
    reason = f"the intake of the bus has ended: the key {stream!r} of the bus is no stream"
    said = f"tocsin: {reason}: choose another by TOCSIN_BUS_STREAM: this process ends"
    assert [line for line in lines if line.startswith("tocsin: ")] == [said]
    assert any("ERROR" in line and reason in line for line in lines)

"""The dispatcher and real sockets: targets that hang, refuse and talk nonsense, and processes that are killed (F4)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.engine.desk import OPTIONS, Desk, opened
from tests.engine.sink import Sink, raw, serving
from tests.servers import BOTH
from tocsin.engine.http import HttpClient
from tocsin.engine.ports import LogEvents
from tocsin.errors import Unavailable
from tocsin.schemas.channel import WebhookChannel
from tocsin.schemas.moments import MINUTE
from tocsin.store import intents
from tocsin.store.intents import LEASE_US
from tocsin.store.writer import Transaction

DATABASES = BOTH

RETRY = {"attempts": 4, "delay": "1s", "max_delay": "1s"}


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    async with opened(url) as made:
        yield made


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with serving() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient() as made:
        yield made


def hook(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "call-webhook", "url": url, "retry": RETRY} | more


async def test_many_effects_arrive_once_each(desk: Desk, sink: Sink, client: HttpClient) -> None:
    async with desk.dispatcher(http=client) as dispatcher:
        ids = [(await desk.order(hook(sink.url), number=n, to=dispatcher))[0] for n in range(200)]
        await dispatcher.settled()
        await desk.ended(*ids)
    assert Counter(key for key, _ in sink.seen) == Counter(ids)


async def test_a_target_that_fails_for_a_while_gets_everything_in_the_end(
    desk: Desk, sink: Sink, client: HttpClient
) -> None:
    async def moody(request: web.BaseRequest) -> web.Response:
        return web.Response(status=503 if len(sink.seen) % 3 else 200)

    sink.answer = moody
    retry = {"retry": RETRY | {"attempts": 100}}
    async with desk.dispatcher(http=client) as dispatcher:
        ids = [(await desk.order(hook(sink.url, **retry), number=n, to=dispatcher))[0] for n in range(30)]
        async with asyncio.timeout(20):
            while any(desk.state(one) != "succeeded" for one in ids):
                desk.clock.us += MINUTE
                dispatcher.nudge()
                await asyncio.sleep(0.01)
    assert {key for key, _ in sink.seen} == set(ids)


async def test_garbage_hangs_and_refusals_harm_only_their_own_intents(
    desk: Desk, sink: Sink, client: HttpClient
) -> None:
    async with raw(b"\x16\x03\x01 nonsense\r\n\r\n") as nonsense, serving() as stuck:
        stuck.answer = stuck.hang
        async with desk.dispatcher(http=client) as dispatcher:
            one, two, three, four = await desk.order(
                hook(f"http://127.0.0.1:{nonsense}", retry={"attempts": 1}),
                hook(stuck.url, timeout=0.05, retry={"attempts": 1}),
                hook("http://{{ '169.254.169.254' }}/latest"),
                hook(sink.url),
                to=dispatcher,
            )
            await dispatcher.settled()
    assert [desk.state(each) for each in (one, two, three, four)] == ["dead", "dead", "dead", "succeeded"]
    assert "not HTTP" in desk.show(one)["result"]["error"]
    assert desk.show(two)["result"]["error"] == "no answer within 50ms"
    assert "metadata" in desk.show(three)["result"]["error"]


@pytest.mark.parametrize(
    ("status", "state", "result"),
    [
        ("200 OK", "succeeded", {"host": "127.0.0.1", "status": 200, "excerpt": "some"}),
        (
            "400 Bad Request",
            "dead",
            {"error": "127.0.0.1 answered 400 Bad Request: some", "final": "a retry can not help"},
        ),
    ],
)
@pytest.mark.parametrize("channel", [False, True], ids=["webhook", "channel"])
async def test_f4_an_answer_counts_by_its_status_though_the_attempt_ends_before_its_body(
    desk: Desk, client: HttpClient, *, channel: bool, status: str, state: str, result: dict[str, Any]
) -> None:
    """The effect is known to have arrived: it is not made again."""
    async with raw(f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nsome".encode(), close=False) as port:
        url = f"http://127.0.0.1:{port}"
        spec = hook(url, timeout=0.5)
        if channel:
            desk.world.declared.specs["c"] = WebhookChannel(name="c", type="webhook", url=url)
            spec = {"type": "send-notification", "channel": "c", "timeout": 0.5, "retry": RETRY}
        async with desk.dispatcher(http=client) as dispatcher:
            (one,) = await desk.order(spec, to=dispatcher)
            await dispatcher.settled()
            await desk.attempted(one, 1)
    shown = desk.show(one)
    assert (shown["state"], len(shown["history"])) == (state, 1)
    assert shown["result"].items() >= result.items()


PROCESS = """
import asyncio, sys
from tests.engine.desk import OPTIONS, opened
from tocsin.engine.http import HttpClient
from tocsin.engine.ports import LogEvents
from tocsin.errors import Unavailable

async def main(database, url):
    async with opened(database) as desk, HttpClient() as client:
        async with desk.dispatcher(http=client) as dispatcher:
            spec = {"type": "call-webhook", "url": url, "timeout": 60}
            print(*await desk.order(spec, to=dispatcher), flush=True)
            await dispatcher.settled()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_f4_killed_between_effect_and_record_the_effect_is_made_again_under_the_same_key(
    url: str, sink: Sink, client: HttpClient
) -> None:
    sink.answer = sink.hang
    arguments = (sys.executable, "-c", PROCESS, url, sink.url)
    process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    hook_id = (await process.stdout.readline()).decode().strip()
    async with asyncio.timeout(10):
        while not sink.seen:  # noqa: ASYNC110 - the effect happens in another process
            await asyncio.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()

    async with opened(url) as desk:
        desk.starts = 1
        sink.release.set()
        async with desk.dispatcher(OPTIONS, http=client) as dispatcher:
            desk.clock.us += LEASE_US  # on PostgreSQL, where it may be another process that has it
            await dispatcher.tend()
            await desk.ended(hook_id)
        shown = desk.show(hook_id)
    assert [key for key, _ in sink.seen] == [hook_id, hook_id]
    assert [entry["outcome"] for entry in shown["history"]] == ["interrupted", "succeeded"]
    assert shown["state"] == "succeeded"


async def test_connections_are_kept_between_effects(desk: Desk, sink: Sink, client: HttpClient) -> None:
    async with desk.dispatcher(http=client) as dispatcher:
        for number in range(10):
            await desk.order(hook(sink.url), number=number, to=dispatcher)
            await dispatcher.settled()
    peers = {request.transport.get_extra_info("peername") for request in sink.requests if request.transport}
    assert len(peers) == 1


class Away:
    """Stands before a writer or a reader and refuses while it is told to."""

    def __init__(self, verb: Any) -> None:
        self._verb = verb
        self.refuses = 0
        self.refused = 0

    def __call__(self, *args: Any) -> Any:
        if self.refuses > 0:
            self.refuses -= 1
            self.refused += 1
            raise Unavailable("the disk is full", retry_after_s=0.01)
        return self._verb(*args)


async def test_outcomes_are_kept_while_the_database_is_away_and_no_effect_is_repeated(
    desk: Desk, sink: Sink, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(desk.writer.submit)
    async with desk.dispatcher(http=client) as dispatcher:
        ids = [(await desk.order(hook(sink.url), number=n, to=dispatcher))[0] for n in range(5)]
        monkeypatch.setattr(desk.writer, "submit", away)
        away.refuses = 20
        await dispatcher.settled()
    assert away.refused == 20
    assert {desk.state(one) for one in ids} == {"succeeded"}
    assert Counter(key for key, _ in sink.seen) == Counter(ids)


async def test_an_effect_in_a_database_that_is_away_is_put_off_and_costs_no_retry(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(desk.writer.submit)
    emit = {"type": "emit-event", "event": "table.late", "resource": {"id": "t"}, "retry": {"attempts": 1}}
    async with desk.dispatcher(events=LogEvents()) as dispatcher:
        (one,) = await desk.order(emit, to=dispatcher)
        monkeypatch.setattr(desk.writer, "submit", away)
        away.refuses = 1
        await dispatcher.settled()
        assert (away.refused, desk.state(one), desk.show(one)["history"]) == (1, "waiting", [])
        desk.clock.us += MINUTE
        dispatcher.nudge()
        await desk.ended(one)
    assert desk.state(one) == "succeeded"


async def test_what_was_claimed_and_can_not_be_read_is_put_off(
    desk: Desk, sink: Sink, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = await desk.order(hook(sink.url))
    away = Away(intents.subjects)
    away.refuses = 1
    monkeypatch.setattr(intents, "subjects", away)
    async with desk.dispatcher(http=client) as dispatcher:
        await desk.until(lambda: away.refused == 1 and desk.state(one) == "waiting")
        assert desk.show(one)["history"] == []
        desk.clock.us += MINUTE
        dispatcher.nudge()
        await desk.ended(one)
    assert [key for key, _ in sink.seen] == [one]


async def test_an_intent_whose_firing_is_gone_ends_as_a_dead_letter(desk: Desk, sink: Sink, client: HttpClient) -> None:
    (one,) = await desk.order(hook(sink.url))
    await desk.writer.run(lambda tx: tx.connection.exec_driver_sql("DELETE FROM firings").close())
    async with desk.dispatcher(http=client):
        await desk.ended(one)
    assert desk.show(one)["result"] == {"error": "the firing that this action answers to is no longer kept"}
    assert sink.seen == []


async def test_an_outcome_that_can_not_be_stored_keeps_no_other_waiting(
    desk: Desk, sink: Sink, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, poison = intents.record, set[str]()

    def refuse(tx: Transaction, done: Any, **more: Any) -> set[str]:
        if any(attempt.intent in poison for attempt in done):
            raise Unavailable("this can not be written", retry_after_s=0.001)
        return record(tx, done, **more)

    monkeypatch.setattr(intents, "record", refuse)
    sick, *well = [(await desk.order(hook(sink.url), number=n))[0] for n in range(20)]
    poison.add(sick)
    async with desk.dispatcher(http=client):
        await desk.ended(*well)
        assert desk.state(sick) == "running"
        poison.clear()
        await desk.ended(sick)
    assert Counter(key for key, _ in sink.seen) == Counter([sick, *well])


async def test_whatever_bytes_a_target_answers_can_be_stored(desk: Desk, client: HttpClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n\x00\xed\xa0\x80\xff\xfe \xf0\x9f\x94\x94"
    async with raw(answer) as port, desk.dispatcher(http=client) as dispatcher:
        (one,) = await desk.order(hook(f"http://127.0.0.1:{port}"), to=dispatcher)
        await dispatcher.settled()
    assert desk.show(one)["result"]["excerpt"].startswith("\0")
    assert desk.state(one) == "succeeded"

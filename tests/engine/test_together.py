"""Notifications of one channel that are given at one moment are one effect, and each has its outcome (laws S2, F4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.actions.doubles import NOW, Web, firing
from tests.engine.desk import Desk, opened
from tests.servers import BOTH
from tocsin.actions.ports import Response
from tocsin.engine.dispatcher import Dispatcher, Options
from tocsin.engine.performer import Job
from tocsin.engine.together import leaders
from tocsin.errors import Unavailable
from tocsin.schemas.channel import WebhookChannel
from tocsin.schemas.firing import Verdict
from tocsin.schemas.moments import MINUTE
from tocsin.store import firings, intents
from tocsin.store.firings import Judged
from tocsin.store.intents import LEASE_US, Attempt, AttemptOutcome, IntentState, Order
from tocsin.store.writer import Transaction

DATABASES = BOTH

RETRY = {"attempts": 2, "delay": "2s", "max_delay": "10s"}
TOLD = {"type": "send-notification", "channel": "oncall", "title": "{{ labels.id }}", "retry": RETRY}


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    async with opened(url) as made:
        channel = {"name": "oncall", "type": "webhook", "url": "https://chat.example/"}
        made.world.declared.specs["oncall"] = WebhookChannel.model_validate(channel)
        yield made


def order(number: int, *specs: Mapping[str, Any], **more: Any) -> Order:
    """Return what a firing of `table/NUMBER` asks for."""
    values: dict[str, Any] = {"labels": {"id": f"table/{number:03}"}, "events": (), "trigger_event": None}
    return Order(firing(number, **values | more), [(str(spec["type"]), json.dumps(spec)) for spec in specs or (TOLD,)])


async def lease_ends(desk: Desk, dispatcher: Dispatcher) -> None:
    """Let the leases of a process that is gone end: on PostgreSQL it may be another that lives."""
    desk.clock.us += LEASE_US
    await dispatcher.tend()


async def store(desk: Desk, *orders: Order, owner: str | None = None) -> list[Job]:
    """Store firings and what they ask for, as the evaluator does; return what is performed by itself."""

    def unit(tx: Transaction) -> list[Job]:
        judged = [Judged(one.firing, "live", "high") for one in orders]
        firings.add(tx.connection, judged, {}, decided_us=tx.now_us)
        added = intents.add(tx, orders, claimed_by=owner, leaders=leaders(orders))
        by_id = {one.firing.id: one.firing for one in orders}
        return [Job(intent, by_id[intent.firing], {}) for intent in added]

    return await desk.writer.run(unit)


def ids(*orders: Order) -> list[str]:
    return [intents.intent_id(one.firing.id, position) for one in orders for position in range(len(one.actions))]


def failing(status: int) -> Web:
    return Web(lambda request: Response(status, {}, "no"))


def bodies(web: Web) -> list[dict[str, Any]]:
    return [json.loads(request.body or b"") for request in web.requests]


# What belongs together


def test_s2_what_is_about_silence_on_one_channel_at_one_moment_belongs_together() -> None:
    other = TOLD | {"channel": "team"}
    first, second = order(1, {"type": "log"}, TOLD, other), order(2, TOLD, other, verdict=Verdict.UNKNOWN)
    later, alone = order(3, at_us=NOW + 1), order(4, verdict=Verdict.FIRED)
    resolved, also = order(5, verdict=Verdict.RESOLVED), order(6, verdict=Verdict.RESOLVED)
    log, oncall, team = ids(first)
    assert leaders([first, second, later, alone, resolved, also]) == {
        ids(second)[0]: oncall,
        ids(second)[1]: team,
        ids(also)[0]: ids(resolved)[0],
    }
    assert log not in leaders([first, second]).values()


# As one effect


async def test_s2_they_are_sent_as_one_and_each_has_its_outcome(desk: Desk) -> None:
    orders = [order(number) for number in range(120)]
    assert len(await store(desk, *orders)) == 1
    async with desk.dispatcher():
        await desk.ended(*ids(*orders))
    assert {desk.state(one) for one in ids(*orders)} == {"succeeded"}
    assert [len(desk.show(one)["history"]) for one in ids(*orders)] == [1] * 120
    (body,) = bodies(desk.world.web)
    assert (body["title"], body["count"]) == ("120 notifications at once, the first: table/000", 120)
    assert len(body["firings"]) == 100
    lines = body["body"].splitlines()
    assert (lines[0], lines[2], lines[101], lines[-1]) == (
        "nothing came",
        "- table/000",
        "- table/099",
        "- and 20 more",
    )
    shown = desk.show(ids(orders[0])[0])
    assert (shown["result"]["together"], shown["followers"], shown["leader"]) == (120, 119, None)
    assert desk.show(ids(orders[1])[0])["leader"] == ids(orders[0])[0]
    assert len(desk.told()) == 120


async def test_they_take_the_room_of_one_until_they_are_performed(desk: Desk) -> None:
    orders = [order(number) for number in range(50)]
    async with desk.dispatcher(Options(capacity=4, poll_s=60)) as dispatcher:
        jobs = await store(desk, *orders, owner=dispatcher.owner)
        dispatcher.offer(jobs)
        await dispatcher.settled()
    assert len(desk.world.web.requests) == 1
    assert desk.database.read(intents.counts)["succeeded"] == 50


async def test_f4_what_failed_together_is_tried_again_together_under_the_same_key(desk: Desk) -> None:
    orders = [order(number) for number in range(5)]
    web = failing(503)
    await store(desk, *orders)
    async with desk.dispatcher(http=web) as dispatcher:
        for one in ids(*orders):
            await desk.attempted(one, 1)
        assert {desk.state(one) for one in ids(*orders)} == {"waiting"}
        web.answer = lambda request: Response(200)
        desk.clock.us += MINUTE
        dispatcher.nudge()
        await desk.ended(*ids(*orders))
    assert [request.headers["Idempotency-Key"] for request in web.requests] == ids(orders[0]) * 2
    assert {desk.state(one) for one in ids(*orders)} == {"succeeded"}


async def test_when_the_leader_dies_all_do_and_are_redriven_as_one(desk: Desk) -> None:
    orders = [order(number) for number in range(3)]
    web = failing(400)
    await store(desk, *orders)
    async with desk.dispatcher(http=web) as dispatcher:
        await desk.ended(*ids(*orders))
        assert {desk.state(one) for one in ids(*orders)} == {"dead"}
        web.answer = lambda request: Response(200)
        await dispatcher.retry(ids(orders[2])[0])
        await desk.until(lambda: desk.database.read(intents.counts)["succeeded"] == 3)
    assert [body["count"] for body in bodies(web)] == [3, 3]


async def test_who_is_redriven_while_its_leader_is_under_way_does_not_wait_for_ever(desk: Desk) -> None:
    """It was not adopted, and nobody leads it any more."""
    orders = [order(number, TOLD | ({"if": "abs(labels.id) > `1`"} if number == 1 else {})) for number in range(2)]
    leader, follower = ids(*orders)
    hang = asyncio.Event()
    web = failing(503)
    await store(desk, *orders)
    async with desk.dispatcher(http=web) as dispatcher:
        await desk.ended(follower)
        await desk.attempted(leader, 1)
        await dispatcher.settled()
        web.answer = lambda request: _after(hang)
        desk.clock.us += MINUTE
        dispatcher.nudge()
        await desk.until(lambda: len(web.requests) == 2)
        await dispatcher.retry(follower)
        hang.set()
        await desk.ended(leader)
        assert (desk.state(leader), desk.state(follower)) == ("succeeded", "waiting")
        await dispatcher.tend()
        await desk.ended(follower)


async def _after(event: asyncio.Event) -> Response:
    await event.wait()
    return Response(200)


@pytest.mark.parametrize("odd", [0, 1], ids=["the leader", "a follower"])
@pytest.mark.parametrize(("condition", "state"), [("labels.id == 'x'", "skipped"), ("abs(labels.id) > `1`", "dead")])
async def test_a_condition_holds_for_each_alone(desk: Desk, odd: int, condition: str, state: str) -> None:
    """Also when the first attempt fails, and whichever of them it is."""
    orders = [order(number, TOLD | ({"if": condition} if number == odd else {})) for number in range(3)]
    web = failing(503)
    await store(desk, *orders)
    async with desk.dispatcher(http=web) as dispatcher:
        await desk.until(lambda: len(web.requests) == 1)
        await desk.attempted(ids(orders[2])[0], 1)
        await dispatcher.settled()
        web.answer = lambda request: Response(200)
        desk.clock.us += MINUTE
        dispatcher.nudge()
        await desk.ended(*ids(*orders))
    states = [desk.state(one) for one in ids(*orders)]
    assert states.pop(odd) == state
    assert states == ["succeeded", "succeeded"]
    assert [body["count"] for body in bodies(web)] == [2, 2]


async def test_when_no_condition_holds_nothing_is_sent(desk: Desk) -> None:
    orders = [order(number, TOLD | {"if": "labels.id == 'x'"}) for number in range(3)]
    await store(desk, *orders)
    async with desk.dispatcher():
        await desk.ended(*ids(*orders))
    assert {desk.state(one) for one in ids(*orders)} == {"skipped"}
    assert desk.world.web.requests == []


async def test_one_whose_condition_alone_holds_is_told_as_usual(desk: Desk) -> None:
    orders = [order(0, TOLD | {"if": "labels.id == 'x'"}), order(1)]
    await store(desk, *orders)
    async with desk.dispatcher():
        await desk.ended(*ids(*orders))
    (body,) = bodies(desk.world.web)
    assert (body["title"], body["count"]) == ("table/001", 1)
    assert desk.world.web.requests[0].headers["Idempotency-Key"] == ids(orders[0])[0]


# Given up, given back


async def test_when_the_leader_is_discarded_the_next_one_leads(desk: Desk) -> None:
    orders = [order(number) for number in range(3)]
    await store(desk, *orders)
    await desk.writer.run(lambda tx: intents.discard(tx, ids(orders[0])[0], "enough"))
    await desk.writer.run(lambda tx: intents.discard(tx, ids(orders[2])[0], "enough"))
    async with desk.dispatcher():
        await desk.ended(*ids(*orders))
    assert [desk.state(one) for one in ids(*orders)] == ["discarded", "succeeded", "discarded"]
    assert [body["title"] for body in bodies(desk.world.web)] == ["table/001"]


async def test_a_follower_that_died_by_itself_is_redriven_by_itself(desk: Desk) -> None:
    orders = [order(0), order(1), order(2, TOLD | {"if": "abs(labels.id) > `1`"})]
    await store(desk, *orders)
    async with desk.dispatcher() as dispatcher:
        await desk.ended(*ids(*orders))
        shown = await dispatcher.retry(ids(orders[2])[0])
        assert (shown["leader"], shown["state"]) == (None, "waiting")
        await desk.attempted(ids(orders[2])[0], 2)
    assert len(desk.world.web.requests) == 1


async def test_f4_a_process_that_dies_in_between_leaves_them_to_the_next(desk: Desk) -> None:
    orders = [order(number) for number in range(3)]
    await store(desk, *orders, owner="gone")
    await desk.writer.run(lambda tx: intents.adopt(tx, ids(orders[0])[0], owner="gone"))
    async with desk.dispatcher() as dispatcher:
        await lease_ends(desk, dispatcher)
        await desk.ended(*ids(*orders))
    (body,) = bodies(desk.world.web)
    assert body["count"] == 3
    assert {one["outcome"] for one in desk.show(ids(orders[1])[0])["history"]} == {"interrupted", "succeeded"}


async def test_f4_a_follower_whose_outcome_was_lost_is_performed_again(desk: Desk) -> None:
    """A process dies after it has recorded the leader's outcome, and before that of another."""
    orders = [order(number) for number in range(2)]
    leader, follower = ids(*orders)
    await store(desk, *orders, owner="gone")

    def unit(tx: Transaction) -> None:
        intents.adopt(tx, leader, owner="gone")
        done = Attempt(leader, IntentState.SUCCEEDED, AttemptOutcome.SUCCEEDED, NOW, NOW, {})
        intents.record(tx, [done], owner="gone")

    await desk.writer.run(unit)
    async with desk.dispatcher() as dispatcher:
        await lease_ends(desk, dispatcher)
        await desk.ended(follower)
    assert desk.state(follower) == "succeeded"
    assert [request.headers["Idempotency-Key"] for request in desk.world.web.requests] == [follower]


async def test_followers_that_can_not_be_read_now_are_performed_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [order(number) for number in range(3)]
    adopt, refusals = intents.adopt, [1]

    def refuse(*args: Any, **more: Any) -> Any:
        if refusals:
            refusals.pop()
            raise Unavailable("the disk is full", retry_after_s=0.01)
        return adopt(*args, **more)

    monkeypatch.setattr(intents, "adopt", refuse)
    await store(desk, *orders)
    async with desk.dispatcher() as dispatcher:
        await desk.until(lambda: not refusals and desk.state(ids(orders[0])[0]) == "waiting")
        desk.clock.us += MINUTE
        dispatcher.nudge()
        await desk.ended(*ids(*orders))
    assert [body["count"] for body in bodies(desk.world.web)] == [3]

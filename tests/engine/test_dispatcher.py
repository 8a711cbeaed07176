"""The dispatcher: every intent performed at least once, every outcome recorded, one target never in another's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.actions.doubles import SECRETS, Web
from tests.engine.desk import OPTIONS, Desk, opened
from tests.servers import BOTH
from tocsin.actions.ports import Request, Response
from tocsin.engine.dispatcher import Options
from tocsin.engine.ports import LogEvents
from tocsin.errors import ActionFailed
from tocsin.schemas.moments import SECOND
from tocsin.store import intents, log

DATABASES = BOTH

RETRY = {"attempts": 3, "delay": "2s", "max_delay": "10s"}
HOOK = {"type": "call-webhook", "url": "https://a.example/", "retry": RETRY}
PAUSE = {"type": "pause-queue", "queue": "nightly"}


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    async with opened(url) as made:
        yield made


def failing(status: int, **headers: str) -> Web:
    return Web(lambda request: Response(status, headers, "no"))


async def test_an_offered_intent_is_performed_and_recorded(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        hook, pause = await desk.order(HOOK, PAUSE, to=dispatcher)
        await dispatcher.settled()
    shown = desk.show(hook)
    assert shown["state"] == "succeeded"
    assert shown["history"][0]["detail"] == {"host": "a.example", "status": 200, "excerpt": "ok"}
    assert desk.show(pause)["result"] == {"done": "pause"}
    assert [request.headers["Idempotency-Key"] for request in desk.world.web.requests] == [hook]


async def test_what_was_stored_for_nobody_is_claimed_after_a_nudge(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        (hook,) = await desk.order(HOOK)
        dispatcher.nudge()
        await desk.ended(hook)
    assert desk.state(hook) == "succeeded"
    body = json.loads(desk.world.web.requests[0].body or b"")
    assert (body["events"], body["event"]["id"]) == (["e0"], "e0")


async def test_f5_its_own_event_says_that_an_action_succeeded_and_carries_the_chain(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        hook, pause = await desk.order(HOOK, PAUSE, to=dispatcher)
        await dispatcher.settled()
    told = {arrival.event.resource["id"]: arrival for arrival in desk.told()}
    assert set(told) == {f"action/{hook}", f"action/{pause}"}
    event = told[f"action/{pause}"].event
    assert event.event == "tocsin.action.succeeded"
    assert event.resource["type"] == "pause-queue"
    assert {"id": "automation/late", "role": "automation"} in event.related
    assert told[f"action/{hook}"].chain == ("first", "late")


async def test_a_failure_is_retried_under_the_same_key_until_attempts_run_out(desk: Desk) -> None:
    web = failing(503)
    async with desk.dispatcher(http=web) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        for attempt in (1, 2):
            await desk.attempted(hook, attempt)
            assert desk.state(hook) == "waiting"
            desk.clock.us += 10 * SECOND
            dispatcher.nudge()
        await desk.ended(hook)
    shown = desk.show(hook)
    assert shown["state"] == "dead"
    assert [entry["outcome"] for entry in shown["history"]] == ["failed"] * 3
    assert shown["result"]["final"] == "all 3 attempts failed"
    assert {request.headers["Idempotency-Key"] for request in web.requests} == {hook}
    assert [arrival.event.event for arrival in desk.told()] == ["tocsin.action.failed"]


async def test_a_permanent_failure_is_not_retried(desk: Desk) -> None:
    async with desk.dispatcher(http=failing(404)) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        await dispatcher.settled()
    shown = desk.show(hook)
    assert (shown["state"], len(shown["history"])) == ("dead", 1)
    assert shown["result"]["error"] == "a.example answered 404 Not Found: no"


async def test_a_retry_waits_as_long_as_the_target_asks_and_no_longer_than_its_author_allows(desk: Desk) -> None:
    for number, (asked, waits) in enumerate({"8": 8 * SECOND, "86400": 10 * SECOND}.items()):
        async with desk.dispatcher(http=failing(429, **{"retry-after": asked})) as dispatcher:
            (hook,) = await desk.order(HOOK, number=number, to=dispatcher)
            await dispatcher.settled()
            assert desk.database.read(intents.next_due) == desk.clock.us + waits
            await dispatcher.discard(hook, "seen")


async def test_a_dead_letter_that_is_redriven_is_attempted_at_once(desk: Desk) -> None:
    web = failing(400)
    async with desk.dispatcher(http=web) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        await dispatcher.settled()
        web.answer = lambda request: Response(200)
        assert (await dispatcher.retry(hook))["state"] == "waiting"
        await desk.ended(hook)
        assert desk.state(hook) == "succeeded"
    assert [arrival.event.event for arrival in desk.told()] == ["tocsin.action.failed", "tocsin.action.succeeded"]


async def test_a_false_condition_skips(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        yes, no = await desk.order(
            HOOK | {"if": "labels.id == 'table/sales' && firing.verdict == 'missed'"},
            HOOK | {"if": "event.payload.urgent"},
            to=dispatcher,
        )
        await dispatcher.settled()
    assert (desk.state(yes), desk.state(no)) == ("succeeded", "skipped")
    assert len(desk.world.web.requests) == 1
    assert len(desk.told()) == 1


async def test_a_condition_that_fails_is_a_dead_letter_not_a_guess(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        (hook,) = await desk.order(HOOK | {"if": "abs(labels.id) > `1`"}, to=dispatcher)
        await dispatcher.settled()
    assert desk.state(hook) == "dead"
    assert desk.world.web.requests == []


async def test_what_takes_longer_than_its_timeout_failed(desk: Desk) -> None:
    web = Web(lambda request: asyncio.sleep(60, Response(200)))
    async with desk.dispatcher(http=web) as dispatcher:
        (hook,) = await desk.order(HOOK | {"timeout": 0.01}, to=dispatcher)
        await dispatcher.settled()
    assert desk.show(hook)["result"]["error"] == "no answer within 10ms"
    assert desk.state(hook) == "waiting"


async def test_an_unexpected_error_is_recorded_without_its_text(desk: Desk) -> None:
    def broken(request: Request) -> Response:
        raise KeyError(SECRETS["TOKEN"])

    async with desk.dispatcher(http=Web(broken)) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        await dispatcher.settled()
    assert desk.show(hook)["result"]["error"] == "an unexpected KeyError: the server's log says where"


@pytest.mark.parametrize("spec", [{"type": "log", "surprise": 1}, {"type": "no-such-action"}])
async def test_a_spec_that_this_version_does_not_know_is_a_dead_letter(desk: Desk, spec: dict[str, Any]) -> None:
    async with desk.dispatcher() as dispatcher:
        (one,) = await desk.order(spec, to=dispatcher)
        await dispatcher.settled()
    assert desk.state(one) == "dead"


async def test_an_effect_in_our_database_and_its_record_are_one_transaction(desk: Desk) -> None:
    """Law F4: what can be done exactly once, is."""
    emit = {"type": "emit-event", "event": "table.late", "resource": {"id": "{{ labels.id }}"}}
    async with desk.dispatcher(events=LogEvents()) as dispatcher:
        (one,) = await desk.order(emit, to=dispatcher)
        await dispatcher.settled()
    shown = desk.show(one)
    assert (shown["state"], shown["result"]) == ("succeeded", {"event": one})

    async with desk.dispatcher(events=LogEvents()) as dispatcher:
        await desk.order(emit, number=1, to=dispatcher)
        await desk.writer.run(lambda tx: intents.release(tx, owner=dispatcher.owner))
        await dispatcher.settled()
    emitted = [
        arrival for arrival in desk.database.read(log.after, 0, limit=1000) if arrival.event.event == "table.late"
    ]
    assert len(emitted) == 1, "who lost the lease changes nothing"


async def test_a_unit_that_fails_leaves_only_its_record(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        (one,) = await desk.order({"type": "pause-queue", "queue": "nowhere"}, to=dispatcher)
        await dispatcher.settled()
    shown = desk.show(one)
    assert (shown["state"], shown["result"]["error"]) == ("dead", "there is no 'nowhere'")


async def test_templates_without_a_value_are_noted_and_stop_nothing(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        (hook,) = await desk.order(HOOK | {"body": "{{ labels.nothing }}!"}, to=dispatcher)
        await dispatcher.settled()
    assert desk.show(hook)["history"][0]["detail"]["missing"] == ["labels.nothing"]
    assert desk.world.web.requests[0].body == b"!"


async def test_a_hanging_target_delays_only_itself(desk: Desk) -> None:
    hang = asyncio.Event()

    def answer(request: Request) -> Any:
        return Response(200) if "well" in request.url else _after(hang)

    options = Options(capacity=12, width_host=2, poll_s=0.01)
    async with desk.dispatcher(options, http=Web(answer)) as dispatcher:
        sick = [(await desk.order(HOOK | {"url": "https://sick.example/"}, number=n))[0] for n in range(30)]
        dispatcher.nudge()
        await desk.until(lambda: dispatcher.lanes().get("host/sick.example:443", (0, 0))[0] == 2)
        well = [(await desk.order(HOOK | {"url": "https://well.example/"}, number=100 + n))[0] for n in range(30)]
        async with asyncio.timeout(10):
            while any(desk.state(one) != "succeeded" for one in well):
                desk.clock.us += SECOND  # what was put off comes round again
                await dispatcher.tend()  # or else leases end on the clock that is turned here
                dispatcher.nudge()
                await asyncio.sleep(0.005)
        assert {desk.state(one) for one in sick} <= {"running", "waiting"}
        hang.set()
        async with asyncio.timeout(10):
            while any(desk.state(one) != "succeeded" for one in sick):
                desk.clock.us += 5 * SECOND
                await dispatcher.tend()
                dispatcher.nudge()
                await asyncio.sleep(0.005)
    assert all(len(desk.show(one)["history"]) == 1 for one in sick + well), "being put off is no attempt"


async def _after(event: asyncio.Event) -> Response:
    await event.wait()
    return Response(200)


async def test_no_more_is_held_than_there_is_room_for(desk: Desk) -> None:
    hang = asyncio.Event()
    async with desk.dispatcher(Options(capacity=3, poll_s=0.01), http=Web(lambda request: _after(hang))) as dispatcher:
        for number in range(10):
            await desk.order(HOOK | {"url": f"https://h{number}.example/"}, number=number)
        dispatcher.nudge()
        await desk.until(lambda: dispatcher.room() == 0)
        counts = desk.database.read(intents.counts)
        assert (counts["running"], counts["waiting"]) == (3, 7)
        hang.set()
        await desk.until(lambda: desk.database.read(intents.counts)["succeeded"] == 10)


async def test_a_stop_lets_running_effects_finish_and_gives_back_the_rest(desk: Desk) -> None:
    hang = asyncio.Event()
    options = Options(width_host=1, grace_s=5, poll_s=60)
    async with desk.dispatcher(options, http=Web(lambda request: _after(hang))) as dispatcher:
        first, second = await desk.order(HOOK, HOOK, to=dispatcher)
        await desk.until(lambda: bool(dispatcher.lanes()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.02, hang.set)
    assert (desk.state(first), desk.state(second)) == ("succeeded", "waiting")
    assert desk.show(second)["history"] == []


async def test_what_a_stop_cuts_off_is_recorded_as_interrupted_and_made_again(desk: Desk) -> None:
    web = Web(lambda request: _after(asyncio.Event()))
    async with desk.dispatcher(Options(grace_s=0.01, poll_s=60), http=web) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        await desk.until(lambda: bool(web.requests))
    shown = desk.show(hook)
    assert (shown["state"], shown["attempts"]) == ("waiting", 0)
    assert [entry["outcome"] for entry in shown["history"]] == ["interrupted"]
    async with desk.dispatcher(OPTIONS):
        await desk.ended(hook)
    assert [r.headers["Idempotency-Key"] for r in [*web.requests, *desk.world.web.requests]] == [hook, hook]


async def test_leases_are_renewed_while_an_effect_runs(desk: Desk) -> None:
    hang = asyncio.Event()
    async with desk.dispatcher(http=Web(lambda request: _after(hang))) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        for _ in range(5):
            desk.clock.us += intents.LEASE_US // 2
            await dispatcher.tend()
        hang.set()
        await dispatcher.settled()
    assert (desk.state(hook), len(desk.show(hook)["history"])) == ("succeeded", 1)


async def test_an_intent_claimed_for_us_and_never_handed_over_is_taken_back(desk: Desk) -> None:
    async with desk.dispatcher() as dispatcher:
        lost = desk.dispatcher()
        lost.owner = dispatcher.owner
        lost.offer = lambda jobs: None  # type: ignore[method-assign]
        (hook,) = await desk.order(HOOK, to=lost)
        desk.clock.us += intents.LEASE_US
        await dispatcher.tend()
        await desk.ended(hook)
    assert desk.state(hook) == "succeeded"


async def test_f4_what_became_of_an_action_is_told_once_however_many_have_tried(desk: Desk) -> None:
    hang = asyncio.Event()
    async with desk.dispatcher(http=Web(lambda request: _after(hang))) as stopped:
        (hook,) = await desk.order(HOOK, to=stopped)
        await desk.writer.run(lambda tx: intents.release(tx, owner=stopped.owner))  # as a process finds it, thawed
        async with desk.dispatcher() as other:
            await desk.ended(hook)
            await other.settled()
        hang.set()
        await stopped.settled()
    assert [attempt["outcome"] for attempt in desk.show(hook)["history"]] == ["succeeded", "succeeded"]
    assert [arrival.event.event for arrival in desk.told()] == ["tocsin.action.succeeded"]


async def test_an_unavailable_channel_is_a_failure_of_the_attempt_not_of_the_dispatcher(desk: Desk) -> None:
    def refuse(request: Request) -> Response:
        raise ActionFailed("a.example:443: the connection broke")

    async with desk.dispatcher(http=Web(refuse)) as dispatcher:
        (hook,) = await desk.order(HOOK, to=dispatcher)
        await dispatcher.settled()
    assert desk.state(hook) == "waiting"


async def test_secrets_are_in_no_record_whatever_is_answered(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    tokens = {"Authorization": {"env": "TOKEN", "prefix": "Bearer "}, "X-Hook": {"env": "CHAT_URL"}}
    spec = HOOK | {"headers": tokens, "secret": {"env": "SIGNING"}}
    echo = Web(lambda request: Response(statuses.pop(), {}, json.dumps(dict(request.headers))))
    statuses = [500, 400, 200]
    async with desk.dispatcher(http=echo) as dispatcher:
        for number in range(3):
            await desk.order(spec, number=number, to=dispatcher)
        await dispatcher.settled()
    kept = everything_in(tmp_path) + caplog.text.encode()
    assert echo.requests[0].headers["Authorization"] == f"Bearer {SECRETS['TOKEN']}"
    for secret in (SECRETS["TOKEN"], "s3cret-path", SECRETS["SIGNING"].removeprefix("whsec_")):
        assert secret.encode() not in kept


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in list(folder.iterdir()))

"""The ledger of up-time, and verdicts about times in which nothing could be received (law S2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.live import T0, Live, automation, evaluator_of, event
from tests.servers import BOTH
from tocsin.schemas.moments import SECOND, from_micros
from tocsin.store import firings, log

DATABASES = BOTH

SILENT = {"type": "absence", "expect": "a", "within": "10s"}
SCHEDULE = {"type": "schedule", "every": "10s"}


@pytest.fixture
def live(live: Live) -> Live:
    live.settings["blind_after"] = "10s"
    return live


def outages(live: Live) -> list[tuple[float, float]]:
    """Return the outages in the ledger, in seconds from the start."""
    return [((start_us - T0) / SECOND, (end_us - T0) / SECOND) for start_us, end_us in live.read(log.outages_of)]


async def up(live: Live, *, until_s: int) -> None:
    """Let the server be awake from now on up to a moment."""
    now_s = (live.clock.now_us() - T0) // SECOND
    for at_s in [*range(now_s, until_s, 5), until_s]:
        live.turn(at_s)
        await live.app.shards.settled()


async def test_a_first_start_has_no_outage(live: Live) -> None:
    await live.start(automation(SILENT))
    await up(live, until_s=11)
    assert outages(live) == []
    assert live.fired() == [(10.0, "missed", {})]


async def test_a_gap_that_is_short_is_no_outage(live: Live) -> None:
    await live.start(automation(SILENT))
    await up(live, until_s=5)
    await live.stop()
    live.turn(15)
    await live.start()
    await up(live, until_s=16)
    assert outages(live) == []
    assert live.fired() == [(10.0, "missed", {})]


@pytest.mark.parametrize("suspended", [True, False])
async def test_what_was_silent_in_an_outage_is_unknown_and_waits_until_it_has_settled(
    live: Live, suspended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is stopped, or suspended with its clock running on."""
    await live.start(automation(SILENT))
    await up(live, until_s=5)
    if not suspended:
        await live.stop()
    live.turn(40)
    if not suspended:
        await live.start()
    await up(live, until_s=100)
    assert live.fired() == []
    await up(live, until_s=101)
    assert outages(live) == [(5.0, 40.0)]
    assert live.fired() == [(100.0, "unknown", {})]
    [firing] = live.read(firings.page).items
    assert "nothing could be received from 2026-03-02T08:00:05Z to 2026-03-02T08:00:40Z" in firing["reason"]
    assert not firing["open"]
    assert caplog.messages.count("nothing could be received for 35s: silence in that time ends `unknown`") == 1


async def test_what_is_delivered_again_before_it_has_settled_was_not_missed(live: Live) -> None:
    await live.start(automation(SILENT | {"on_unknown": "fire"}))
    await up(live, until_s=5)
    await live.restart()
    await live.stop()
    live.turn(40)
    await live.start()
    late = [event(occurred=from_micros(T0 + second * SECOND)) for second in range(9, 60, 9)]
    await up(live, until_s=45)
    await live.send(*late[:4])
    await up(live, until_s=54)
    await live.send(*late[4:])
    await up(live, until_s=63)
    await live.send(event())
    await up(live, until_s=101)
    assert live.fired() == [(100.0, "missed", {})]
    assert live.firings()[0].due_us == T0 + 73 * SECOND


async def test_an_outage_that_is_noted_in_a_step_that_is_undone_is_noted_again(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await live.start(automation(SILENT))
    await up(live, until_s=5)
    real, failures = evaluator_of(app)._arrivals, iter(range(2))

    def failing(*args: Any) -> Any:
        if next(failures, None) is not None:
            raise RuntimeError("not now")
        return real(*args)

    monkeypatch.setattr(evaluator_of(app), "_arrivals", failing)
    live.turn(40)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await app.writer.run(app.shards._step)
    await up(live, until_s=101)
    assert outages(live) == [(5.0, 40.0)]
    assert live.fired() == [(100.0, "unknown", {})]


async def test_two_outages_are_waited_for_one_after_the_other(live: Live) -> None:
    """The second comes while the first settles; the moment that the first had moved is moved again."""
    await live.start(automation(SILENT))
    await up(live, until_s=5)
    live.turn(40)
    await up(live, until_s=60)
    live.turn(90)
    await up(live, until_s=150)
    assert live.fired() == []
    await up(live, until_s=151)
    assert outages(live) == [(5.0, 40.0), (60.0, 90.0)]
    assert live.fired() == [(150.0, "unknown", {})]


async def test_t2_a_schedule_goes_on_when_an_outage_ends(live: Live) -> None:
    """The last time that fell into it is caught up at once, as of its own time (law O1); it waits for nobody."""
    await live.start(automation(SCHEDULE))
    await up(live, until_s=15)
    await live.stop()
    live.turn(45)
    await live.start()
    await up(live, until_s=55)
    assert [at_s for at_s, _, _ in live.fired()] == [10.0, 40.0, 50.0]
    [_, caught_up, _] = live.read(firings.page).items
    assert caught_up["decided"] == "2026-03-02T08:00:45Z"


async def test_the_ledger_is_kept_while_nothing_happens(live: Live) -> None:
    await live.start()
    await up(live, until_s=300)
    assert live.read(log.newest).received_us == T0 + 300 * SECOND
    assert outages(live) == []


@pytest.mark.parametrize("suspended", [True, False])
async def test_no_verdict_that_was_given_comes_to_lie_in_an_outage(live: Live, suspended: bool) -> None:
    """The log's time is moved once a second, and by each verdict; the server is lost behind one."""
    await live.start(automation(SILENT | {"within": "9500ms"}))
    await up(live, until_s=9)
    await live.settle(at_s=9.5)
    if not suspended:
        await live.stop()
    live.turn(40)
    if not suspended:
        await live.start()
    await up(live, until_s=101)
    assert live.fired() == [(9.5, "missed", {})]
    assert outages(live) == [(9.500001, 40.0)]

"""What people are told of what was judged: what belongs together, stays together (laws P5, S2)."""

from __future__ import annotations

from collections import Counter

from tests.engine.live import Live, automation, event
from tests.servers import BOTH
from tocsin.schemas.moments import HOUR, SECOND
from tocsin.store import firings, intents

DATABASES = BOTH

HOUR_S = HOUR / SECOND
WATCH = {"type": "absence", "expect": "a", "within": "1h"}


async def test_p5_alert_repeats_and_resolve_are_one_incident(live: Live) -> None:
    await live.start(automation(WATCH | {"repeat": "1h"}))
    await live.settle(3.5 * HOUR_S)
    await live.send(event())
    await live.settle()
    told = live.read(firings.page).items[::-1]
    assert [(one["verdict"], one["repeat"]) for one in told] == [
        ("missed", 0),
        ("missed", 1),
        ("missed", 2),
        ("resolved", 0),
    ]
    assert {one["incident"] for one in told} == {told[0]["id"]}


async def test_s2_when_an_outage_has_settled_people_are_told_once(live: Live) -> None:
    """A thousand hosts, of which nothing could be heard: one message on each channel."""
    live.settings |= {"blind_after": "2m", "settle": "1m"}
    watch = {"type": "absence", "expect": "beat", "for_each": ["id"], "within": "5m"}
    actions = [{"type": "send-notification", "channel": name} for name in ("oncall", "team")]
    app = await live.start()
    await live.apply(
        automation(watch, actions=actions), channels=[{"name": name, "type": "log"} for name in ("oncall", "team")]
    )
    await live.send(*[event("beat", f"host/{number}") for number in range(1_000)])
    await live.settle()
    await live.settle(HOUR_S)
    await live.settle(HOUR_S + 61)
    await app.dispatcher.settled()
    assert Counter(verdict for _, verdict, _ in live.fired()) == {"unknown": 1_000}
    counts = live.read(intents.counts)
    assert (counts["succeeded"], counts["waiting"]) == (2_000, 0)
    told = live.read(intents.page, limit=10_000).items
    assert {one["result"]["together"] for one in told} == {1_000}
    assert len({one["leader"] or one["id"] for one in told}) == 2

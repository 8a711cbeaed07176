"""What people are told of what was judged: what belongs together, stays together (laws P5, S2)."""

from __future__ import annotations

from tests.engine.live import Live, automation, event
from tocsin.schemas.moments import HOUR, SECOND
from tocsin.store import firings

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

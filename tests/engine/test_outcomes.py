"""What came of attempts, as the log of the process tells it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from tests.actions.doubles import Web
from tests.engine.desk import Desk, opened
from tocsin.actions.ports import Response
from tocsin.cli.logs import TextLines

HOOK = {"type": "call-webhook", "url": "https://a.example/s3cret"}


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    async with opened(url) as made:
        yield made


async def test_an_action_that_has_failed_for_good_is_a_line_with_its_ids(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the line finds the action, its firing and its automation."""
    web = Web(lambda request: Response(404, {}, "no"))
    async with desk.dispatcher(http=web) as dispatcher:
        gone = await desk.order(HOOK, HOOK, to=dispatcher)
        (other,) = await desk.order({"type": "pause-queue", "queue": "nightly"}, number=1, to=dispatcher)
        await dispatcher.settled()
    lines = [one for one in caplog.records if one.name == "tocsin.engine.outcomes"]
    assert [(one.levelno, one.getMessage()) for one in lines] == 2 * [
        (logging.WARNING, "an action has failed for good: a.example answered 404 Not Found: no")
    ]
    shown = {intent: desk.show(intent) for intent in gone}
    said = [{name: one.__dict__[name] for name in ("automation", "firing", "intent", "type")} for one in lines]
    assert sorted(said, key=str) == sorted(
        (
            {"automation": "late", "firing": one["firing"], "intent": intent, "type": "call-webhook"}
            for intent, one in shown.items()
        ),
        key=str,
    )
    text = "\n".join(map(TextLines().format, lines))
    assert all(f"intent={intent}" in text for intent in gone)
    assert other not in text
    assert "s3cret" not in text

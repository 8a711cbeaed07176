"""What a judgement leaves in the store (laws F1, F2)."""

from __future__ import annotations

import pytest

from tests.engine.live import Live, automation, event
from tocsin.triggers.run import Run


async def test_f1_a_firing_that_a_judgement_says_twice_is_stored_once(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its intents would be refused, and nothing would ever be judged again."""
    await live.start(automation({"expect": "a"}))
    said = Run.firings
    monkeypatch.setattr(Run, "firings", lambda self: said(self) * 2)
    await live.send(event())
    await live.settle()
    assert [verdict for _, verdict, _ in live.fired()] == ["fired"]
    assert len(live.told("tocsin.automation.fired")) == 1

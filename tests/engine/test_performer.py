"""How long to wait between attempts."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tocsin.engine.performer import backoff_us
from tocsin.schemas.action import Retry
from tocsin.schemas.moments import MINUTE, SECOND

RETRY = Retry(delay="2s", max_delay="10m")


@given(st.integers(1, 200), st.integers(0, 2**32), st.none() | st.floats(0, 1e12))
def test_waits_grow_and_stay_within_what_the_author_gave(failures: int, seed: int, asked_s: float | None) -> None:
    wait_us = backoff_us(RETRY, failures, random=Random(seed), asked_s=asked_s)
    asked_us = 0 if asked_s is None else min(10 * MINUTE, int(asked_s * SECOND))
    assert asked_us <= wait_us <= max(asked_us, min(10 * MINUTE, 2 * SECOND * 2 ** (failures - 1)))


def test_waits_are_spread_over_the_whole_range() -> None:
    waits = [backoff_us(RETRY, 3, random=Random(seed), asked_s=None) for seed in range(200)]
    assert min(waits) < SECOND
    assert max(waits) > 7 * SECOND

"""The judge and the brute-force model on the same random histories, judged at once and across restarts.

`campaign` runs as many more as wanted.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.model.histories import KINDS, random_history, random_outages
from tests.triggers.campaign import disagreement, told

SEEDS = 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_judge_says_what_the_model_says(kind: str) -> None:
    for seed in range(SEEDS):
        history = random_history(seed, [kind])
        differs = disagreement(history, Random(seed))
        assert differs is None, f"seed {seed}\n{told(history, ())}\n{differs}"


@pytest.mark.parametrize("kind", KINDS)
def test_s2_the_judge_says_what_the_model_says_about_outages(kind: str) -> None:
    for seed in range(SEEDS // 2):
        trigger, log, armed, until = random_history(seed, [kind])
        log, gaps = random_outages(seed, (trigger, log, armed, until))
        history = (trigger, log, armed, until)
        differs = disagreement(history, Random(seed), gaps)
        assert differs is None, f"seed {seed}\n{told(history, gaps)}\n{differs}"


@pytest.mark.parametrize("kind", ["D1", "C2", "C3"])
def test_o3_the_judge_says_what_the_model_says_about_stored_events(kind: str) -> None:
    for seed in range(SEEDS):
        history = random_history(seed, [kind], stored=True)
        differs = disagreement(history, Random(seed))
        assert differs is None, f"seed {seed}\n{told(history, ())}\n{differs}"

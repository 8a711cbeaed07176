"""Kill -9 under load: nothing that was acknowledged is lost, nothing is done twice (laws E2, E3, F1, F2, F4).

The other half tells whether the account would notice: each control breaks one promise on purpose.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.account import account_for
from tests.crash.ordeal import LATE, Plan, suffer

SEED = 20261121


async def test_a_server_that_is_killed_twenty_times_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    ordeal = await suffer(Plan(kills=20, seed=SEED), tmp_path)
    account = await asyncio.to_thread(account_for, ordeal)
    assert not account.findings, account.told()
    assert ordeal.sent.resent > 0
    assert {"before-commit", "before-answer"} <= {how.partition(",")[0] for how in ordeal.ends}


async def test_on_postgresql_it_is_the_same(tmp_path: Path, postgres_url: str) -> None:
    ordeal = await suffer(Plan(kills=6, seed=SEED, database=postgres_url), tmp_path)
    account = await asyncio.to_thread(account_for, ordeal)
    assert not account.findings, account.told()


async def test_what_was_silent_while_the_server_was_away_for_long_is_judged_alike_by_all(tmp_path: Path) -> None:
    """Law S2: the outages that the ledger shows explain every verdict."""
    ordeal = await suffer(Plan(kills=5, seed=SEED, outages=0.5), tmp_path)
    account = await asyncio.to_thread(account_for, ordeal)
    assert not account.findings, account.told()
    assert account.numbers["outages"]


@pytest.mark.parametrize(
    ("cheat", "found"),
    [
        pytest.param("commit-off", {"events lost"}, id="acknowledged although the transaction was undone"),
        pytest.param("cursor-off", {"not judged", "states"}, id="judged, but not how far"),
        pytest.param("firings-apart", {"firings lost"}, id="firings in a transaction of their own"),
        pytest.param("keys-anew", {"effects under another key"}, id="a new key for each attempt"),
        pytest.param("identities-off", {"events doubled"}, id="every event taken for a new one"),
    ],
)
async def test_a_broken_promise_is_found_out(tmp_path: Path, cheat: str, found: set[str]) -> None:
    ordeal = await suffer(Plan(kills=3, seed=SEED, cheat=cheat, rest_s=1, faults=[LATE]), tmp_path)
    account = await asyncio.to_thread(account_for, ordeal)
    assert found <= account.findings.keys(), account.told()

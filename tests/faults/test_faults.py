"""Many processes and all that goes wrong between them: nothing is lost, nothing is done twice (E2 to F4, S1 to S3).

The other half tells whether the account would notice: each control takes a safety away. Longer runs are made by
command, see README.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.crash.account import Account
from tests.faults.account import account_for
from tests.faults.ordeal import suffer
from tests.faults.plan import Mode, Plan
from tests.faults.processes import Host, host
from tests.faults.stores import Stores, stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT_S = 5.0
Ground = tuple[Stores, Host]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground() -> AsyncIterator[Ground]:
    """Servers, and a machine for processes, which one ordeal after the other uses."""
    async with stores() as servers, host() as machine:
        yield servers, machine


async def account_of(plan: Plan, ground: Ground, folder: Path) -> Account:
    servers, machine = ground
    try:
        ordeal = await suffer(plan, folder, stores=servers, host=machine)
        return await asyncio.to_thread(account_for, ordeal)
    finally:
        await machine.clear()


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(3, Mode.DIRECT, layout="paired", chaos_s=SHORT_S), id="direct"),
        pytest.param(Plan(3, Mode.BUS, layout="apart", chaos_s=SHORT_S), id="bus"),
    ],
)
async def test_whatever_goes_wrong_all_processes_together_lose_nothing_and_double_nothing(
    ground: Ground, tmp_path: Path, plan: Plan
) -> None:
    account = await account_of(plan, ground, tmp_path)
    assert not account.findings, account.told()
    assert account.numbers["intents"]


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        pytest.param(
            Plan(4, Mode.BUS, "no-claim", layout="paired", chaos_s=SHORT_S),
            {"events lost"},
            id="nobody takes over what a recorder held",
        ),
        pytest.param(
            Plan(4, Mode.DIRECT, "no-fence", layout="alike", chaos_s=2 * SHORT_S),
            {"collisions"},
            id="no fence around shards",
        ),
        pytest.param(
            Plan(5, Mode.BUS, "early-acknowledgement", layout="paired", chaos_s=2 * SHORT_S),
            {"events lost"},
            id="acknowledged to the bus before the commit",
        ),
    ],
)
async def test_a_safety_that_is_taken_away_is_missed(
    ground: Ground, tmp_path: Path, plan: Plan, found: set[str]
) -> None:
    account = await account_of(plan, ground, tmp_path)
    assert found <= account.findings.keys(), account.told()

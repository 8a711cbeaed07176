"""Many processes and all that goes wrong between them: nothing is lost, nothing is done twice (E2 to F4, S1 to S3).

The other half tells whether the account would notice: each control takes a safety away. Longer runs are made by
command, see README.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.account import Account
from tests.faults.account import account_for
from tests.faults.ordeal import suffer
from tests.faults.plan import Mode, Plan
from tests.faults.processes import host
from tests.faults.stores import stores

SHORT_S = 5.0


async def account_of(plan: Plan, folder: Path) -> Account:
    async with stores() as servers, host() as machine:
        ordeal = await suffer(plan, folder, stores=servers, host=machine)
        return await asyncio.to_thread(account_for, ordeal)


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(3, Mode.DIRECT, layout="paired", chaos_s=SHORT_S), id="direct"),
        pytest.param(Plan(3, Mode.BUS, layout="apart", chaos_s=SHORT_S), id="bus"),
    ],
)
async def test_whatever_goes_wrong_all_processes_together_lose_nothing_and_double_nothing(
    tmp_path: Path, plan: Plan
) -> None:
    account = await account_of(plan, tmp_path)
    assert not account.findings, account.told()
    assert account.numbers["intents"]


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        pytest.param(
            Plan(3, Mode.DIRECT, "no-claim", layout="alike", chaos_s=SHORT_S), {"not performed"}, id="nobody takes over"
        ),
        pytest.param(
            Plan(3, Mode.BUS, "no-claim", layout="paired", chaos_s=SHORT_S),
            {"events lost"},
            id="nobody takes over what a recorder held",
        ),
        pytest.param(
            Plan(3, Mode.DIRECT, "no-fence", layout="alike", chaos_s=SHORT_S),
            {"collisions"},
            id="no fence around shards",
        ),
        pytest.param(
            Plan(3, Mode.DIRECT, "early-acknowledgement", layout="alike", chaos_s=SHORT_S),
            {"events lost"},
            id="acknowledged before the commit",
        ),
        pytest.param(
            Plan(3, Mode.BUS, "early-acknowledgement", layout="paired", chaos_s=SHORT_S),
            {"events lost"},
            id="acknowledged to the bus before the commit",
        ),
    ],
)
async def test_a_safety_that_is_taken_away_is_missed(tmp_path: Path, plan: Plan, found: set[str]) -> None:
    account = await account_of(plan, tmp_path)
    assert found <= account.findings.keys(), account.told()

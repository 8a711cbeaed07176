"""The account of an ordeal: what all processes together acknowledged, judged and did, and what they should have."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.crash import account as parts
from tests.crash.account import Account
from tests.crash.judges import Judged, Times
from tests.crash.records import Records, read
from tests.faults.ordeal import Ordeal
from tests.faults.plan import LATENESS_S, SETTLE_S
from tests.faults.records import refused
from tocsin.schemas.moments import SECOND
from tocsin.store.database import Database

TIMES = Times(lateness_us=round(LATENESS_S * SECOND), settle_us=round(SETTLE_S * SECOND))
DEFINITIONS = Path(__file__).parent / "definitions.yaml"
ENDS = (0, -signal.SIGTERM, -signal.SIGKILL)
"""How a process may end that was asked to: at once when it had only begun, or at a point that was chosen before."""

WINDOWS = ("unfinished", "handed-on", "both")
"""The automations that wait in windows (law P1, P2), all of which have ended when things are at rest."""


def account_for(ordeal: Ordeal) -> Account:
    """Account for everything of an ordeal."""
    database = Database(ordeal.database)
    try:
        records, refusals = database.read(read), database.read(refused)
    finally:
        database.close()
    account = Account()
    _processes(account, ordeal, records)
    account.claim("refused on the bus", refusals)
    parts.of_events(account, ordeal.sent, records)
    parts.of_log(account, records)
    _windows(account, parts.of_firings(account, records, TIMES))
    parts.of_model(account, records, TIMES, definitions=DEFINITIONS)
    parts.of_intents(account, records)
    parts.of_webhooks(account, ordeal.delivered, records)
    parts.of_own_effects(account, ordeal.ran, records)
    parts.of_what_was_told(account, records)
    return account


def _processes(account: Account, ordeal: Ordeal, records: Records) -> None:
    account.claim("restless", [] if ordeal.rested else ["what was to be judged and done did not come to an end"])
    account.claim("unanswered", ordeal.unanswered)
    account.claim("exit", [pair for pair in ordeal.statuses.items() if pair[1] not in ENDS])
    account.claim("stuck", ordeal.stuck)
    logs = {log.name: log.read_text().splitlines() for log in ordeal.logs if log.exists()}
    account.claim("unforeseen", [f"{name}: {line}" for name, lines in logs.items() for line in _unforeseen(lines)])
    account.claim(
        "collisions", [f"{name}: {line}" for name, lines in logs.items() for line in lines if "duplicate key" in line]
    )
    account.numbers |= {
        "processes": len(ordeal.statuses), "what happened": dict(sorted(ordeal.ends.items())),
        "ended by themselves": ordeal.surprises, "outages": len(records.outages),
        "put on the bus": ordeal.sent.put_on_bus,
    }  # fmt: skip


def _unforeseen(lines: Sequence[str]) -> list[str]:
    """Return what stands above tracebacks; SQLAlchemy's own, about connections that broke, are left out."""
    above = [before for before, line in pairwise(["", *lines]) if line.startswith("Traceback")]
    return [line for line in above if " sqlalchemy.pool" not in line]


def _windows(account: Account, judged: Judged) -> None:
    """Law S3: no window is left without an outcome."""
    states = [(key, shown) for key, (_, shown) in judged.stored.items() if key.startswith(WINDOWS)]
    windows = [(key, window) for key, shown in states for window in shown.get("windows", ())]
    account.claim("windows", [one for one in windows if one[1]["outcome"] is None])
    account.numbers["keys with windows"] = len(states)

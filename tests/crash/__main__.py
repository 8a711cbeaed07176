"""`python -m tests.crash --kills 300 --seed 7`: a long ordeal, and the account of it. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

from tests.crash.account import account_for
from tests.crash.child import CHEATS
from tests.crash.ordeal import Plan, suffer


def main() -> int:
    """Run it; the exit status is 0 when nothing was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="how often the server is killed (300)")
    parser.add_argument("--seed", type=int, help="what chooses events and kills (a random one)")
    parser.add_argument("--cheat", choices=sorted(CHEATS), default="-", help="break a promise, to see it found out")
    parser.add_argument("--outages", type=float, default=0.1, help="the part of restarts that take long (0.1)")
    parser.add_argument("--db", default="", help="an empty PostgreSQL database, by URL (SQLite)")
    parser.add_argument("--keep", type=Path, help="a new folder in which everything is kept")
    options = parser.parse_args()
    seed = SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    _print(f"seed {seed}, {options.kills} kills")
    folder = Path(tempfile.mkdtemp(prefix="tocsin-crash-")) if options.keep is None else options.keep
    folder.mkdir(parents=True, exist_ok=True)

    def tell(number: int) -> None:
        if number % 10 == 0:
            _print(f"  {number} kills")

    plan = Plan(options.kills, seed, options.cheat, outages=options.outages, database=options.db)
    account = account_for(asyncio.run(suffer(plan, folder, tell=tell)))
    _print(account.told())
    if account.findings:
        _print(f"everything is kept in {folder}")
    elif options.keep is None:
        shutil.rmtree(folder)
    return bool(account.findings)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

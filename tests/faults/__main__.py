"""`python -m tests.faults --seeds 200 --first 1 --mode bus`: many ordeals, and the account of each. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.crash.account import Account
from tests.faults.account import account_for
from tests.faults.controls import CONTROLS
from tests.faults.ordeal import suffer
from tests.faults.plan import LAYOUTS, REGRESSIONS, Mode, Plan
from tests.faults.processes import host
from tests.faults.stores import stores


def main() -> int:
    """Run them; the exit status is 0 when nothing was lost or doubled in any of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many ordeals (10)")
    parser.add_argument("--first", type=int, default=1, help="the seed of the first; the others follow it (1)")
    parser.add_argument("--mode", choices=[*Mode, "both"], default="both", help="with a bus, without, or in turn")
    parser.add_argument("--control", choices=sorted(CONTROLS), default="-", help="take a safety away, to see it missed")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="", help="which processes there are (by the seed)")
    parser.add_argument("--keep", type=Path, help="a folder for what was said, kept also when all is well")
    parser.add_argument("--most-wrong", type=int, default=5, help="stop when so many went wrong (5)")
    parser.add_argument("--verbose", action="store_true", help="tell the whole account of each")
    return asyncio.run(_run(parser.parse_args()))


async def _run(options: argparse.Namespace) -> int:
    bad: list[str] = []
    done = 0
    kept = Path(tempfile.mkdtemp(prefix="tocsin-faults-kept-")) if options.keep is None else options.keep
    async with stores() as servers, host() as machine:
        for plan in _plans(options):
            if len(bad) >= options.most_wrong:
                break
            done += 1
            folder = kept / f"{plan.seed}-{plan.mode}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            began_s = time.monotonic()
            try:
                ordeal = await suffer(plan, folder, stores=servers, host=machine)
                account = await asyncio.to_thread(account_for, ordeal)
            except Exception as error:  # noqa: BLE001 - the next seed may tell more
                account = Account(findings={"harness": traceback.format_exception(error)})
            await machine.clear()
            _print(_line(plan, account, time.monotonic() - began_s))
            if options.verbose or account.findings:
                _print(account.told())
            if account.findings:
                bad.append(f"{plan.seed} {plan.mode}")
            else:
                await asyncio.to_thread(
                    servers.postgres.administer, f"DROP DATABASE IF EXISTS {plan.database} WITH (FORCE)"
                )
                if options.keep is None:
                    shutil.rmtree(folder)
    _print(f"{len(bad)} of {done} went wrong{': ' if bad else ''}{', '.join(bad)}")
    if not bad and options.keep is None:
        shutil.rmtree(kept)
    return bool(bad)


def _plans(options: argparse.Namespace) -> Iterator[Plan]:
    chosen = [(seed, list(Mode)[seed % 2]) for seed in range(options.first, options.first + options.seeds)]
    if options.mode != "both":
        chosen = [(seed, Mode(options.mode)) for seed, _ in chosen]
    elif options.first == 1:
        chosen = [*REGRESSIONS, *(one for one in chosen if one not in REGRESSIONS)]
    for seed, mode in chosen:
        yield Plan(seed, mode, control=options.control, layout=options.layout)


def _line(plan: Plan, account: Account, took_s: float) -> str:
    told = {name: account.numbers.get(name) for name in ("events in the log", "intents", "outages")}
    verdict = "WRONG" if account.findings else "ok"
    return f"seed {plan.seed} {plan.mode} {plan.layout_name}: {verdict}, {took_s:.1f} s, {told}"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

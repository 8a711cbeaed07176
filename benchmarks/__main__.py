"""What tocsin can do on this machine, beside reference loops in the same run.

python -m benchmarks                     every row; takes about half an hour
python -m benchmarks batches singles     some of them
python -m benchmarks --quick starts      small numbers, to see that it works; its values mean nothing
python -m benchmarks --profile singles   and where the server spent its time (needs py-spy)
python -m benchmarks soak --minutes 30   not a row: long runs at half of the load that is possible
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks import acting, crowds, footprint, ingest, judging, many, matching, mixes, roles, silence, soak
from benchmarks.effort import Effort
from benchmarks.sampling import Profiler
from benchmarks.table import Row, as_json, text

Benchmark = Callable[[Effort, Profiler], Awaitable[list[Row]]]


async def _matching(effort: Effort, profiler: Profiler) -> list[Row]:
    return matching.run([size for size in matching.SIZES if effort.scale >= 1 or size <= 10])


BENCHMARKS: dict[str, Benchmark] = {
    "batches": ingest.batched,
    "many": ingest.many,
    "singles": ingest.alone,
    "actions": acting.acting,
    "latency": acting.latency,
    "deadlines": silence.deadlines,
    "mixes": mixes.mixes,
    "armed": crowds.armed,
    "due": crowds.due,
    "outage": crowds.outage,
    "judge": judging.judging,
    "matching": _matching,
    "memory": footprint.memory,
    "starts": footprint.starting,
    "installed": footprint.installed,
    "changing": many.changing,
    "loading": many.loading,
    "roles": roles.roles,
}
SOAK = "soak"


def main() -> None:
    """Measure what was asked for and print it."""
    arguments = _arguments()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        if arguments.rows == [SOAK]:
            systems = [arguments.system] if arguments.system else list(soak.SYSTEMS)
            uvloop.run(soak.soak(Path(folder), systems=systems, minutes=0.25 if arguments.quick else arguments.minutes))
            return
        for name in arguments.rows or BENCHMARKS:
            before = os.getloadavg()[0]
            place = Path(folder) / name
            place.mkdir()
            found = uvloop.run(_measured(name, place, arguments))
            rows += found
            if not arguments.json:
                print(f"\n{name} (load before: {before:.1f})\n{text(found)}", flush=True)
    if arguments.json:
        print(as_json(rows))
    else:
        print(f"\n{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors")


async def _measured(name: str, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    effort = Effort(folder)
    if arguments.quick:
        effort = Effort(folder, rounds=1, round_s=0.2, grown=500, scale=0.01)
    return await BENCHMARKS[name](effort, Profiler(folder, wanted=arguments.profile))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", type=_known, metavar="ROWS", help=", ".join((*BENCHMARKS, SOAK)))
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="how long `soak` watches each system; 30 by default"
    )
    parser.add_argument("--system", choices=soak.SYSTEMS, help="what `soak` watches; all, one after the other")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="small numbers: whether it works, not how fast")
    parser.add_argument("--profile", action="store_true", help="show where the server spends its time, by py-spy")
    return parser.parse_args()


def _known(name: str) -> str:
    if name not in BENCHMARKS and name != SOAK:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(BENCHMARKS)}")
    return name


if __name__ == "__main__":
    main()

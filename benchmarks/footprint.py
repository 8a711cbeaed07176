"""What a server weighs: memory, the time until it is ready, and what is installed."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.effort import Effort, middle, span
from benchmarks.samples import counting, written
from benchmarks.sampling import Profiler
from benchmarks.server import Server, serving
from benchmarks.table import Row

FEW = 1_000
MANY = 100_000
_SETTLE_S = 2.0

_IMPORTS = "Bound by imports"
BOUNDS = {
    "idle": "Mostly the code of the libraries: FastAPI, SQLAlchemy, aiohttp, pydantic",
    "many": "About 3 kB an automation: its text, what events reach its trigger, and its places in the index",
    "tocsin --help": f"{_IMPORTS}: typer's, and those of the interpreter itself",
    "first start to ready": f"{_IMPORTS}, of 1,050 modules; then Alembic, which creates the tables",
    "restart to ready, 1,000 automations": f"{_IMPORTS}, then reading and compiling the definitions",
}


async def memory(effort: Effort, profiler: Profiler) -> list[Row]:
    """Resident memory of an idle server, without automations and with very many."""
    empty_mb = await _resident(effort, "memory-idle", automations=0)
    python_mb = await asyncio.to_thread(_bare_python_mb)
    full_mb = await _resident(effort, "memory-many", automations=effort.many(MANY))
    note = f"{effort.many(MANY):,} automations, counted in the process that loaded them from a file"
    return [
        Row("memory, idle", empty_mb, "MB", python_mb, "reference: the bare interpreter", 120, BOUNDS["idle"]),
        Row("memory, 100,000 automations", full_mb, "MB", empty_mb, f"{note}; reference: idle", 600, BOUNDS["many"]),
    ]


async def starting(effort: Effort, profiler: Profiler) -> list[Row]:
    """Seconds until a whole process has printed its help, or takes requests."""
    bare, shown, first, again = [], [], [], []
    for number in range(effort.rounds):
        home = effort.folder / f"starting-{number}"
        home.mkdir()
        definitions = written(home, automations=counting(effort.many(FEW)))
        bare.append(await _run(sys.executable, "-c", "pass"))
        shown.append(await _run(str(Path(sys.executable).with_name("tocsin")), "--help"))
        first.append(await _ready(home / "empty", None))
        async with serving(home / "full", definitions):
            pass
        again.append(await _ready(home / "full", definitions))
    rows = []
    for name, found, target, note in (
        ("tocsin --help", shown, 0.2, "a whole process"),
        ("first start to ready", first, 1.5, "an empty home, no definitions"),
        ("restart to ready, 1,000 automations", again, 1.5, "the same definitions as before"),
    ):
        rows.append(Row(name, middle(found), "s", middle(bare), f"{note}; reference: python -c pass", target,
                        BOUNDS[name], span(found)))  # fmt: skip
    return rows


async def installed(effort: Effort, profiler: Profiler) -> list[Row]:
    """What `pip install tocsin` brings, without extras: size and number of distributions."""
    found = await asyncio.to_thread(_closure)
    size_mb = sum(_size(one) for one in found.values()) / 1e6
    note = "the dependencies of the installed tocsin, followed through; sizes of their files, byte code left out"
    return [
        Row("installed size", size_mb, "MB", None, note, 120, _largest(found)),
        Row("installed distributions", len(found), "", None, note, 50, "tocsin itself included"),
    ]


async def _resident(effort: Effort, name: str, *, automations: int) -> float:
    home = effort.folder / name
    home.mkdir()
    definitions = written(home, automations=counting(automations)) if automations else None
    async with serving(home, definitions) as server:
        await asyncio.sleep(_SETTLE_S)
        return server.rss_mb()


def _bare_python_mb() -> float:
    command = [sys.executable, "-c", "print(); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as python:
        assert python.stdout is not None
        python.stdout.readline()  # it has begun
        resident = Server("", 0, python.pid).rss_mb()
        python.communicate(b"\n")
    return resident


async def _run(*command: str) -> float:
    began_s = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    return time.perf_counter() - began_s


async def _ready(home: Path, definitions: Path | None) -> float:
    began_s = time.perf_counter()
    async with serving(home, definitions):
        return time.perf_counter() - began_s


def _closure() -> dict[str, Distribution]:
    """Return tocsin and all it needs, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting: list[tuple[str, frozenset[str]]] = [("tocsin", frozenset())]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        found[re.sub(r"[-_.]+", "-", name).lower()] = one
        for text in one.requires or ():
            needed = Requirement(text)
            chosen = [{"extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(needed.marker.evaluate(environment) for environment in chosen):
                wanted = (needed.name, frozenset(needed.extras))
                if wanted not in seen:
                    seen.add(wanted)
                    waiting.append(wanted)
    return found


def _size(one: Distribution) -> int:
    files = [Path(str(one.locate_file(file))) for file in one.files or () if file.suffix != ".pyc"]
    return sum(file.stat().st_size for file in files if file.exists())


def _largest(found: dict[str, Distribution]) -> str:
    largest = sorted(found, key=lambda name: -_size(found[name]))[:4]
    return "the largest: " + ", ".join(f"{name} {_size(found[name]) / 1e6:.0f} MB" for name in largest)

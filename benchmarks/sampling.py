"""Where a server spends its time, by py-spy, which looks at it from outside.

A thread counts while the system runs it, with or without the interpreter's lock: SQLite works without it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RATE = 250
_TOP = 25


class Profiler:
    """Profiles the processes that a measurement names, if that is `wanted`, and prints what it saw."""

    def __init__(self, folder: Path, *, wanted: bool) -> None:
        """Find py-spy.

        Raises:
            SystemExit: it is wanted and not there.
        """
        self.wanted = wanted
        self._folder = folder
        beside = Path(sys.executable).with_name("py-spy")
        self._program = str(beside) if beside.exists() else shutil.which("py-spy")
        if wanted and self._program is None:
            raise SystemExit("--profile needs py-spy: pip install py-spy")

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Profile a process until the block ends; it does nothing when no profile is wanted."""
        if not self.wanted or self._program is None:
            yield
            return
        stacks = self._folder / f"{pid}.stacks"
        command = [
            self._program,
            "record",
            "-p",
            str(pid),
            "-f",
            "raw",
            "-F",
            "-t",
            "-r",
            str(_RATE),
            "-o",
            str(stacks),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watcher:
            try:
                yield
            finally:
                watcher.send_signal(signal.SIGINT)
        print(summary(stacks.read_text()))


def summary(stacks: str) -> str:
    """Return the shares of functions, by thread: the time in them alone, and with what they call."""
    own: dict[str, Counter[str]] = {}
    within: dict[str, Counter[str]] = {}
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        thread, *calls = frames.split(";")
        if not calls:
            continue
        name = thread.split("'")[-2] if "'" in thread else thread
        own.setdefault(name, Counter())[calls[-1]] += int(count)
        for call in set(calls):
            within.setdefault(name, Counter())[call] += int(count)
    every = sum(counts.total() for counts in own.values()) or 1
    lines = []
    for name, counts in sorted(own.items(), key=lambda one: -one[1].total()):
        lines.append(f"{name}: {counts.total() / every:.0%} of {every} samples")
        columns = zip(counts.most_common(_TOP), within[name].most_common(_TOP), strict=False)
        for (alone, few), (outer, many) in columns:
            lines.append(f"  {few / every:6.1%}  {alone:<58.58}  {many / every:6.1%}  {outer:.58}")
    return "\n".join(lines)

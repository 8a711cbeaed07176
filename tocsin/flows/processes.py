"""Processes: naming them so that a recycled pid is never taken for the one that is meant, and ending them.

A process is named by machine, pid and start: the machine is what `/proc` says of the boot and of the pid namespace,
the start is in clock ticks since that boot (elsewhere: what `ps` says). Only processes of the same boot and namespace
can be judged from here; about any other one nothing is known.

A run's process leads a session of its own. When the leader is gone and others of its session live on, they are told
from strangers by the run's id in their environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

RUN_ID = "TOCSIN_RUN_ID"
"""The environment variable that marks the processes of a run."""

_PROC = Path("/proc")
_POLL_S = 0.02
_KILL_S = 5.0  # how long a killed process may take to go: it can be busy in the kernel


@dataclass(frozen=True, slots=True)
class Process:
    """The name of a process; as text `host:pid:machine/start`. `host` is for people."""

    host: str = field(compare=False)
    pid: int
    machine: str
    start: str

    def __str__(self) -> str:
        """Return the name as it is stored."""
        return f"{self.host}:{self.pid}:{self.machine}/{self.start}"

    @classmethod
    def parse(cls, text: str) -> Process:
        """Return the process with this name.

        Raises:
            ValueError: the text is not the name of a process.
        """
        host, pid, rest = text.rsplit(":", 2)
        machine, _, start = rest.partition("/")
        return cls(host, int(pid), machine, start)


class Fate(Enum):
    """What can be known about a process from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class _Entry:
    pid: int
    session: int
    start: str


def identify(pid: int) -> Process | None:
    """Return the name of the living process with this pid on this machine, or None."""
    entry = next((entry for entry in _entries(pid) if entry.pid == pid), None)
    return None if entry is None else Process(platform.node(), pid, _machine(), entry.start)


def fate(process: Process) -> Fate:
    """Return whether a process lives, as far as that can be seen from here."""
    if process.machine != _machine():
        return Fate.UNSEEN
    return Fate.ALIVE if identify(process.pid) == process else Fate.GONE


def session(leader: int) -> list[int]:
    """Return the living processes of the session that this pid leads, or led."""
    return [entry.pid for entry in _entries() if entry.session == leader]


def orphans(process: Process, run_id: str) -> list[int]:
    """Return what lives of the session of a run's process whose worker is gone; never a stranger."""
    match fate(process):
        case Fate.ALIVE:
            return session(process.pid)
        case Fate.GONE:
            return [pid for pid in session(process.pid) if _belongs(pid, run_id)]
        case Fate.UNSEEN:
            return []


async def end(find: Callable[[], list[int]], *, grace_s: float) -> bool:
    """End the processes that `find` returns: SIGTERM, and SIGKILL after `grace_s`; return whether all are gone."""
    if not await _signalled(find, signal.SIGTERM, grace_s):
        return await _signalled(find, signal.SIGKILL, _KILL_S)
    return True


async def _signalled(find: Callable[[], list[int]], number: signal.Signals, wait_s: float) -> bool:
    told: set[int] = set()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            while found := await asyncio.to_thread(find):
                for pid in set(found) - told:  # also those that were forked meanwhile
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
                told |= set(found)
                await asyncio.sleep(_POLL_S)
            return True
    return False


def _belongs(pid: int, run_id: str) -> bool:
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{RUN_ID}={run_id}".encode() in variables


def _machine() -> str:
    try:
        boot = _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
        namespace = _PROC.joinpath("self/ns/pid").readlink().name
    except OSError:
        return platform.node()
    return f"{boot}.{namespace.removeprefix('pid:').strip('[]')}"


def _entries(pid: int | None = None) -> Iterator[_Entry]:
    """Return the living processes, zombies left out; with a `pid`, that one is enough."""
    if not _PROC.joinpath("self").exists():
        return _entries_of_ps()
    return _entries_of_proc([str(pid)] if pid is not None else [path.name for path in _PROC.iterdir()])


def _entries_of_proc(names: list[str]) -> Iterator[_Entry]:
    for name in filter(str.isdecimal, names):
        try:
            text = (_PROC / name / "stat").read_text(errors="replace")
        except OSError:  # it has just ended
            continue
        # proc(5): the fields stand behind the command, which may itself contain spaces and parentheses.
        fields = text.rpartition(")")[2].split()
        if fields[0] not in "ZX":
            yield _Entry(int(name), int(fields[3]), fields[19])


def _entries_of_ps() -> Iterator[_Entry]:
    # Where there is no session id to be had, the process group stands for it: a run's process leads both.
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat=,lstart="],
        capture_output=True, text=True, check=True, env=os.environ | {"LC_ALL": "C"},
    )  # fmt: skip
    for line in listed.stdout.splitlines():
        pid, group, state, start = line.split(None, 3)
        if not state.startswith("Z"):
            yield _Entry(int(pid), int(group), "-".join(start.split()).replace(":", "."))

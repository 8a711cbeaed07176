"""Names of processes that a recycled pid can not borrow, and ending sessions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.bench import until
from tocsin.flows import processes
from tocsin.flows.processes import Fate, Process, end, fate, identify, orphans, session

MARKED = {processes.RUN_ID: "r1", "PATH": os.environ["PATH"]}


def me() -> Process:
    found = identify(os.getpid())
    assert found is not None
    return found


@contextmanager
def led_by(script: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script as the leader of a session; what it leaves behind is killed."""
    command = ["/bin/sh", "-c", script]
    with subprocess.Popen(command, start_new_session=True, env=MARKED, stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            for pid in session(process.pid):
                os.kill(pid, 9)


def test_the_name_of_a_process_can_be_stored() -> None:
    assert Process.parse(str(me())) == me()
    with pytest.raises(ValueError, match="unpack"):
        Process.parse("nobody")


def test_a_process_that_began_at_another_time_is_another_one() -> None:
    assert fate(me()) is Fate.ALIVE
    assert fate(replace(me(), start="1")) is Fate.GONE
    assert fate(replace(me(), host="renamed")) is Fate.ALIVE


def test_of_another_machine_or_boot_nothing_is_known() -> None:
    elsewhere = replace(me(), machine="other")
    assert fate(elsewhere) is Fate.UNSEEN
    assert orphans(elsewhere, "r1") == []


def test_a_process_that_was_not_waited_for_is_gone_all_the_same() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert identify(process.pid) is None


async def test_a_session_ends_with_everything_in_it() -> None:
    with led_by("sleep 600 & sleep 600") as process:
        await until(lambda: len(session(process.pid)) == 3)
        assert await end(lambda: session(process.pid), grace_s=5)
        assert session(process.pid) == []


async def test_what_does_not_listen_is_killed_after_the_grace() -> None:
    with led_by("trap '' TERM; sleep 600 & while true; do sleep 600; done") as process:
        await until(lambda: len(session(process.pid)) == 3)
        assert await end(lambda: session(process.pid), grace_s=0.1)
        assert session(process.pid) == []


async def test_when_the_leader_is_gone_only_what_bears_the_mark_of_the_run_is_an_orphan() -> None:
    with led_by("sleep 600 & env -u TOCSIN_RUN_ID sleep 600 & read line") as process:
        leader = identify(process.pid)
        assert leader is not None
        await until(lambda: len(session(process.pid)) == 3)
        process.kill()
        process.wait()
        assert len(session(process.pid)) == 2
        assert len(orphans(leader, "r1")) == 1
        assert orphans(leader, "r2") == []


async def test_while_the_leader_lives_its_whole_session_is_orphaned() -> None:
    with led_by("env -u TOCSIN_RUN_ID sleep 600 & wait") as process:
        leader = identify(process.pid)
        assert leader is not None
        await until(lambda: len(session(process.pid)) == 2)
        assert len(orphans(leader, "r1")) == 2


def test_where_there_is_no_proc_ps_tells_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    with led_by("read line") as process:
        found = identify(process.pid)
        assert found is not None
        assert fate(found) is Fate.ALIVE
        assert Process.parse(str(found)) == found
        assert process.pid in session(process.pid)
        assert orphans(replace(found, start="never"), "r1") == []  # without /proc nobody can be told by the mark
    assert fate(found) is Fate.GONE

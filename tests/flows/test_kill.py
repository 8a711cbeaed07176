"""What the death of a server leaves behind: nothing that runs on, nothing that begins twice, one event that says so."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.flows.bench import DEADLINE_S, Bench, until
from tests.flows.victim import SCRIPT
from tocsin.flows.processes import Fate, Process, fate, identify, session
from tocsin.schemas.run import Ending, RunState
from tocsin.store import runs

ROOT = Path(__file__).parents[2]


async def killed(folder: Path, moment: str) -> Process:
    """Let a server work until the moment, kill it, and return the process of its run."""
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.flows.victim", str(folder), moment, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        word, _, process = (await victim.stdout.readline()).decode().strip().partition(" ")
    assert word == "ready"
    victim.kill()
    await victim.wait()
    return Process.parse(process)


@asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[Bench]:
    bench.shell(SCRIPT, timeout="200ms")
    await bench.worker.start()
    yield bench
    await bench.worker.stop(grace_s=0)


@asynccontextmanager
async def waiting_run(folder: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder)
    bench.create()
    yield bench
    bench.store.close()


async def test_a_run_of_a_killed_server_is_ended_and_crashes_exactly_once(tmp_path: Path) -> None:
    async with waiting_run(tmp_path) as bench:
        process = await killed(tmp_path, "running")
        assert fate(process) is Fate.ALIVE
        async with working(bench):
            shown = await bench.ended()
            assert (shown["state"], shown["reason"][-22:]) == ("crashed", "went away while it ran")
            assert session(process.pid) == []  # before it was said to have crashed
        bench.worker = bench.another()
        async with working(bench):
            bench.turn(3600)
            bench.create("r2", flow="gone")
            await bench.ended("r2")
        assert bench.told() == ["pending", "running", "crashed", "pending", "failed"]
        assert (tmp_path / "began").read_text() == "begun\n"


async def test_a_run_that_stood_at_its_gate_never_began_and_is_run_once(tmp_path: Path) -> None:
    async with waiting_run(tmp_path) as bench:
        process = await killed(tmp_path, "gate")
        await until(lambda: fate(process) is Fate.GONE)  # nobody opens the gate any more
        assert not (tmp_path / "began").exists()
        assert bench.run().state is RunState.CLAIMED
        async with working(bench):
            await bench.ended()
        assert bench.told() == ["pending", "running", "failed"]
        assert bench.run().attempt == 1
        assert (tmp_path / "began").read_text() == "begun\n"


async def test_a_recycled_pid_is_not_taken_for_an_orphan(tmp_path: Path) -> None:
    async with waiting_run(tmp_path) as bench:
        me = Process.parse(bench.worker._records.owner)
        dead = replace(me, start="1")  # somebody else has had my pid
        bench.store.claim(str(dead))
        bench.store.do(runs.start, bench.run(), process=str(dead))
        async with working(bench):
            assert (await bench.ended())["state"] == "crashed"


async def test_a_worker_that_can_not_be_seen_keeps_its_runs_until_its_lease_is_over(tmp_path: Path) -> None:
    async with waiting_run(tmp_path) as bench:
        far = replace(Process.parse(bench.worker._records.owner), machine="far")
        bench.store.claim(str(far))  # for a minute
        bench.store.do(runs.start, bench.run(), process=str(far))
        async with working(bench):
            bench.turn(59)
            bench.create("r2", flow="gone")
            await bench.ended("r2")
            assert bench.run().state is RunState.RUNNING
            bench.turn(70)
            assert (await bench.ended())["state"] == "crashed"


async def test_a_worker_on_this_machine_keeps_its_runs_while_it_lives(tmp_path: Path) -> None:
    async with waiting_run(tmp_path) as bench:
        with_another = await asyncio.create_subprocess_exec("/bin/sleep", "600")
        alive = await until(lambda: identify(with_another.pid))
        bench.store.claim(str(alive))
        bench.store.do(runs.start, bench.run(), process=str(alive))
        async with working(bench):
            bench.turn(3600)
            bench.create("r2", flow="gone")
            await bench.ended("r2")
            assert bench.run().state is RunState.RUNNING
            with_another.kill()
            await with_another.wait()
            bench.turn(3700)
            assert (await bench.ended())["state"] == "crashed"


async def test_a_worker_that_was_given_up_ends_its_process_and_records_nothing(tmp_path: Path) -> None:
    async with waiting_run(tmp_path) as bench, working(bench):
        bench.shell("echo begun; exec sleep 600")
        await bench.began()
        mine = bench.run()
        pid = Process.parse(mine.process or "").pid
        bench.store.do(runs.finish, mine, Ending(RunState.CRASHED, "given up by another worker"))
        bench.turn(60)
        await until(lambda: bench.worker.running == 0)
        assert session(pid) == []
        assert bench.told() == ["pending", "running", "crashed"]

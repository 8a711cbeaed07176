"""The worker with real processes: how runs begin, what they are given, and every way in which they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.flows.bench import Bench, until
from tests.servers import ON_BOTH
from tocsin.errors import Unavailable
from tocsin.flows.processes import Process, identify, session
from tocsin.schemas.run import Run, RunState
from tocsin.store import queues, runs

FOREVER = "echo begun; exec sleep 600"


def pid_of(bench: Bench) -> int:
    return Process.parse(bench.run().process or "").pid


# What a run is given, and what is kept of it


async def test_a_command_runs_and_its_output_and_status_are_kept(bench: Bench) -> None:
    bench.shell("echo one; echo two >&2; exit 3")
    shown = await bench.finished()
    assert (shown["state"], shown["exit_status"], shown["reason"]) == ("failed", 3, "exit status 3")
    assert shown["error"] == "one\ntwo"
    assert bench.log() == "--- run r1, attempt 1\none\ntwo\n"
    assert bench.told() == ["pending", "running", "failed"]


@ON_BOTH
async def test_an_entrypoint_gets_the_parameters_and_its_result_is_kept(bench: Bench) -> None:
    bench.python("async def flow(day, rows=2):\n    return {'day': day, 'rows': rows * 2}\n")
    shown = await bench.finished(parameters={"day": "2026-03-02 ä\u0000"})
    assert (shown["state"], shown["result"]) == ("completed", {"day": "2026-03-02 ä\u0000", "rows": 4})
    assert not (bench.path / "runs" / "r1.result").exists()
    completed = bench.store.told()[-1].event
    assert isinstance(completed.payload, dict)
    assert completed.payload["result"] == shown["result"]


async def test_what_an_entrypoint_raises_is_the_reason(bench: Bench) -> None:
    bench.python("def flow():\n    raise ValueError('no rows')\n")
    shown = await bench.finished()
    assert (shown["state"], shown["reason"], shown["exit_status"]) == ("failed", "ValueError: no rows", 1)
    assert "in flow" in shown["error"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\n", "LookupError: there is no function flow in "),
        ("def flow(:\n", "SyntaxError: "),
        ("def flow(day): pass\n", "TypeError: flow() missing 1 required positional argument: 'day'"),
    ],
)
async def test_an_entrypoint_that_can_not_be_called_fails_with_the_reason(
    bench: Bench, source: str, reason: str
) -> None:
    bench.python(source)
    shown = await bench.finished()
    assert (shown["state"], shown["reason"][: len(reason)]) == ("failed", reason)


async def test_a_result_that_is_not_json_is_dropped_and_said_so(bench: Bench) -> None:
    bench.python("def flow():\n    return object()\n")
    shown = await bench.finished()
    assert (shown["state"], shown["result"]) == ("completed", None)
    assert "is not JSON and was not kept" in bench.log()


async def test_a_run_knows_what_it_is_and_not_the_secrets_of_the_server(bench: Bench) -> None:
    bench.secrets["SLACK_URL"] = "https://hooks.slack.example/secret"
    bench.surroundings.environment["SLACK_URL"] = bench.secrets["SLACK_URL"]  # type: ignore[index]
    bench.shell("env; cat", env={"STAGE": "prod"})
    await bench.finished(parameters={"day": 1})
    seen = dict(line.split("=", 1) for line in bench.log().splitlines() if "=" in line)
    assert seen["TOCSIN_RUN_ID"] == "r1"
    assert seen["TOCSIN_FLOW"] == "flow"
    assert seen["TOCSIN_ATTEMPT"] == "1"
    assert json.loads(seen["TOCSIN_PARAMETERS"]) == {"day": 1}
    assert seen["TOCSIN_URL"] == "http://127.0.0.1:8710"
    assert (seen["STAGE"], seen["GREETING"]) == ("prod", "hello")
    assert "TOCSIN_TOKEN" not in seen
    assert "SLACK_URL" not in seen


async def test_a_secret_of_a_flow_reaches_its_process_and_nothing_else(bench: Bench) -> None:
    bench.secrets["PASSWORD"] = 'c0rrect "horse"'
    bench.python(
        "import os\ndef flow():\n    print(os.environ['DB'])\n    raise ValueError('wrong: ' + os.environ['DB'])\n",
        env={"DB": {"env": "PASSWORD"}},
    )
    shown = await bench.finished()
    assert shown["reason"] == "ValueError: wrong: ***"
    for text in (bench.log(), bench.everything_stored()):
        assert "c0rrect" not in text
    assert "***" in bench.log()


async def test_the_working_directory_starts_at_the_folder_of_the_definitions(bench: Bench) -> None:
    (bench.path / "inner").mkdir()
    bench.shell("pwd", working_directory="inner")
    await bench.finished()
    assert bench.log().splitlines()[-1] == str(bench.path / "inner")


async def test_modules_in_the_working_directory_do_not_shadow_the_standard_library(bench: Bench) -> None:
    (bench.path / "inner").mkdir()
    (bench.path / "inner" / "json.py").write_text("raise SystemError('shadow')")
    bench.python("def flow():\n    return 1\n", working_directory="inner")
    assert (await bench.finished())["result"] == 1


async def test_parameters_of_the_largest_size_reach_the_run(bench: Bench) -> None:
    bench.python("def flow(text):\n    return len(text)\n")
    assert (await bench.finished(parameters={"text": "x" * 59_000}))["result"] == 59_000


# Runs that can not begin


async def test_a_command_that_is_not_there_says_so(bench: Bench) -> None:
    bench.flow(command=["no-such-program"])
    shown = await bench.finished()
    assert (shown["state"], shown["reason"]) == ("failed", "exit status 127: the command was not found")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"working_directory": "nowhere"}, "could not be started: the working directory "),
        ({"env": {"DB": {"env": "UNSET"}}}, "could not be started: the secret {env: UNSET} is not there"),
        ({"env": {"DB": "a\0b"}}, "could not be started: embedded null byte"),
    ],
)
async def test_a_run_that_can_not_be_started_fails_with_the_reason(
    bench: Bench, spec: dict[str, object], reason: str
) -> None:
    bench.shell("true", **spec)
    shown = await bench.finished()
    assert (shown["state"], shown["reason"][: len(reason)]) == ("failed", reason)
    assert bench.told() == ["pending", "failed"]


async def test_a_run_whose_flow_was_removed_fails(bench: Bench) -> None:
    shown = await bench.finished(flow="gone")
    assert (shown["state"], shown["reason"][:26]) == ("failed", "there is no flow 'gone' an")


# Ends


async def test_a_run_that_a_signal_ended_says_which(bench: Bench) -> None:
    bench.shell("kill -KILL $$")
    shown = await bench.finished()
    assert (shown["state"], shown["reason"], shown["exit_status"]) == ("failed", "ended by SIGKILL", -9)


async def test_a_run_that_takes_too_long_is_ended_with_all_its_processes(bench: Bench) -> None:
    bench.shell("echo begun; sleep 600 & sleep 600", timeout="300ms")
    bench.create()
    await bench.began()
    pid = pid_of(bench)
    shown = await bench.ended()
    assert (shown["state"], shown["reason"]) == ("failed", "took longer than its timeout of 300ms")
    assert session(pid) == []


async def test_a_process_that_does_not_listen_is_killed_after_the_grace(tmp_path: Path) -> None:
    bench = Bench(tmp_path, grace_s=0.2)
    await bench.worker.start()
    bench.shell("trap '' TERM; echo begun; while true; do sleep 600; done", timeout="200ms")
    bench.create()
    await bench.began()
    pid = pid_of(bench)
    assert (await bench.ended())["state"] == "failed"
    assert session(pid) == []
    await bench.worker.stop(grace_s=0)
    bench.store.close()


async def test_what_a_run_leaves_behind_in_its_session_is_ended(bench: Bench) -> None:
    bench.shell("sleep 600 & echo $!")
    shown = await bench.finished()
    assert shown["state"] == "completed"
    assert identify(int(bench.log().split()[-1])) is None


async def test_what_escapes_with_the_output_open_does_not_hold_up_the_run(bench: Bench) -> None:
    bench.shell("setsid sleep 600 & echo $!")
    assert (await bench.finished())["state"] == "completed"
    escaped = int(bench.log().split()[-1])
    os.kill(escaped, signal.SIGKILL)


async def test_a_running_run_that_is_cancelled_ends_cancelled(bench: Bench) -> None:
    bench.shell(FOREVER)
    bench.create()
    await bench.began()
    bench.store.do(runs.cancel, "r1", "automation/stop")
    shown = await bench.ended()
    assert (shown["state"], shown["reason"]) == ("cancelled", "cancelled by automation/stop")
    assert bench.told() == ["pending", "running", "cancelled"]


@ON_BOTH
async def test_a_failed_run_is_tried_again_after_a_delay_that_doubles(bench: Bench) -> None:
    bench.shell("echo $TOCSIN_ATTEMPT; test $TOCSIN_ATTEMPT -eq 3", retries=2, retry_delay="10s")
    bench.create()
    await until(lambda: bench.run().attempt == 2)
    assert bench.run().not_before_us - bench.store.clock.us == 10_000_000
    bench.turn(10)
    await until(lambda: bench.run().attempt == 3)
    assert bench.run().not_before_us - bench.store.clock.us == 20_000_000
    bench.turn(30)
    assert (await bench.ended())["state"] == "completed"
    assert bench.told() == [
        "pending", "running", "failed", "pending", "running", "failed", "pending", "running", "completed",
    ]  # fmt: skip
    assert bench.log().splitlines()[0::2] == [f"--- run r1, attempt {number}" for number in (1, 2, 3)]


async def test_retries_without_delay_each_get_a_process(bench: Bench) -> None:
    bench.shell("false", retries=5, retry_delay=0)
    bench.create()
    await until(lambda: bench.run().attempt == 6 and bench.run().state is RunState.FAILED)
    assert bench.told().count("running") == 6
    assert bench.log().count("---") == 6


# Queues


@ON_BOTH
async def test_a_queue_never_runs_more_than_its_concurrency(bench: Bench) -> None:
    bench.limits["default"] = 2
    bench.shell("echo $$ > started-$TOCSIN_RUN_ID; while ! test -e go; do sleep 0.02; done; rm started-$TOCSIN_RUN_ID")
    for number in range(5):
        bench.create(f"r{number}")
    await until(lambda: len(list(bench.path.glob("started-*"))) == 2)
    assert bench.worker.running == 2
    assert bench.store.read(queues.states)["default"] | {"paused_at": None} == {
        "paused": False, "paused_by": None, "paused_at": None, "waiting": 3, "running": 2,
    }  # fmt: skip
    (bench.path / "go").touch()
    for number in range(5):
        assert (await bench.ended(f"r{number}"))["state"] == "completed"


@ON_BOTH
async def test_a_resumed_queue_goes_on(bench: Bench) -> None:
    bench.shell("true")
    bench.store.do(queues.pause, "default", "api")
    bench.create()
    bench.create("r2", queue="other")
    await bench.ended("r2")
    assert bench.run().state is RunState.PENDING
    bench.store.do(queues.resume, "default", "api")
    assert (await bench.ended())["state"] == "completed"


# Stopping


async def test_at_a_stop_a_run_may_finish(bench: Bench) -> None:
    bench.shell("echo begun; while ! test -e go; do sleep 0.02; done")
    bench.create()
    await bench.began()
    stopping = asyncio.create_task(bench.worker.stop(grace_s=20))
    await asyncio.sleep(0)
    bench.create("r2")
    (bench.path / "go").touch()
    await stopping
    assert bench.shown()["state"] == "completed"
    assert bench.run("r2").state is RunState.PENDING  # nothing new begins


async def test_at_a_stop_a_run_that_does_not_finish_crashes(bench: Bench) -> None:
    bench.shell(FOREVER, retries=3)
    bench.create()
    await bench.began()
    pid = pid_of(bench)
    await bench.worker.stop(grace_s=0)
    assert (bench.shown()["state"], bench.shown()["reason"]) == ("crashed", "server stopped")
    assert bench.told() == ["pending", "running", "crashed"]
    assert session(pid) == []


async def test_at_a_stop_a_run_that_has_not_begun_is_handed_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.shell("touch began")
    bench.create()
    bench.store.do(runs.claim, owner=bench.worker._records.owner, limits={"default": 1}, limit=1, lease_us=1)
    await bench.worker.stop(grace_s=0)
    run = bench.run()
    assert (run.state, run.owner, run.attempt) == (RunState.PENDING, None, 1)
    assert not (tmp_path / "began").exists()
    bench.store.close()


async def test_a_run_that_may_not_begin_any_more_never_begins(bench: Bench) -> None:
    bench.shell("touch began")
    held = asyncio.Event()
    start = bench.worker._records.start

    async def cancelled_first(run: Run, process: str) -> bool:
        bench.store.do(runs.cancel, run.id, "api")
        begun = await start(run, process)
        held.set()
        return begun

    bench.worker._records.start = cancelled_first  # type: ignore[method-assign]
    bench.create()
    await held.wait()
    await until(lambda: bench.worker.running == 0)
    assert bench.told() == ["pending", "cancelled"]
    assert not (bench.path / "began").exists()


async def test_a_run_that_is_handed_back_and_taken_again_at_once_is_followed_to_its_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer to its first claim is lost: it is the worker's, which does not know of it."""
    bench.shell("echo begun; while [ ! -e go ]; do sleep 0.02; done")
    records = bench.worker._records
    claim, release, heard = records.claim, records.release, asyncio.Event()
    lost: list[Run] = []

    async def claimed_unheard(*args: Any, **more: Any) -> list[Run]:
        found = await claim(*args, **more)
        if found and not lost:
            lost.extend(found)
            raise Unavailable("the database broke off")
        return found

    async def released_unheard(run: Run) -> None:
        await release(run)
        await heard.wait()

    monkeypatch.setattr(records, "claim", claimed_unheard)
    monkeypatch.setattr(records, "release", released_unheard)
    bench.create()
    await bench.began()
    heard.set()
    await bench.looked()
    assert bench.worker.running == 1
    (bench.path / "go").touch()
    assert (await bench.ended())["state"] == "completed"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_run_that_closes_its_output_goes_on_to_its_end(bench: Bench) -> None:
    bench.shell("exec > /dev/null 2>&1; sleep 0.2; exit 5")
    assert (await bench.finished())["exit_status"] == 5


async def test_a_run_that_can_not_be_followed_crashes_and_the_others_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.shell("true")
    with monkeypatch.context() as broken:
        broken.setattr("tocsin.flows.attempt.Attempt.open_gate", None)
        assert (await bench.finished())["state"] == "crashed"
    assert "could not be followed" in caplog.text
    assert (await bench.finished("r2"))["state"] == "completed"

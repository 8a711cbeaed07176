"""A real server, and the commands that talk to it."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import tocsin
from tests.cli.invoke import CLEAN
from tests.cli.served import DEFINITIONS, PATIENCE_S, Server, command, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


def refused(folder: Path, *flags: str) -> str:
    env = CLEAN | {"TOCSIN_HOME": str(folder / "home")}
    arguments = [*command(folder), *flags]
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("tocsin: ")
    return done.stderr


def test_what_is_emitted_is_listed_judged_explained_and_acted_upon(server: Server) -> None:
    labels = ["-r", "error/1", "-l", "service=cart", "--related", "owner=team/shop", "--payload", '{"code": 500}']
    (first,) = server.run("emit", "service.error", *labels, "--id", "e1").splitlines()
    assert first == "e1"
    assert server.run("emit", "service.error", *labels, "--id", "e1") == "e1 (known already)\n"
    for _ in range(2):
        server.run("emit", "service.error", *labels)
    (fired,) = server.until(lambda: server.items("firings", "--automation", "three-errors"))
    assert (fired["verdict"], fired["labels"]) == ("fired", {"service": "cart"})
    (done,) = server.until(lambda: server.items("actions", "--state", "succeeded", "--type", "pause-queue"))
    assert server.items("queues")[0]["paused"]
    assert json.loads(server.run("actions", "show", done["id"], "--json"))["history"][0]["outcome"] == "succeeded"
    assert "needs it to be waiting or dead" in server.run("actions", "retry", done["id"], status=1)
    assert fired["reason"] in server.run("firings", "show", fired["id"])
    assert "error/1" in server.run("events", "show", "e1")
    assert len(server.items("events", "--event", "service.*")) == 3
    assert server.items("events", "--resource", "error/1", "--since", "1h", "--limit", "1")[0]["payload"] == {
        "code": 500
    }
    assert "counted 1 of 3" in server.run("explain", "e1", "three-errors")
    assert "three-errors" in server.run("automations")
    assert "threshold: 3" in server.run("automations", "show", "three-errors")
    assert "paused queues: nightly" in server.run("status")
    assert server.run("queues", "resume", "nightly") == "nightly is resumed\n"


def test_a_flow_is_started_by_hand(server: Server) -> None:
    run = server.run("runs", "start", "greet", "-p", "n=1", "-p", "who=you").strip()
    (found,) = server.until(lambda: server.items("runs", "--flow", "greet", "--state", "completed"))
    assert (found["id"], found["parameters"]) == (run, {"n": 1, "who": "you"})
    assert "exit_status: 0" in server.run("runs", "show", run)
    assert "nothing to cancel" in server.run("runs", "cancel", run, status=1)
    assert "there is no flow 'nothing'" in server.run("runs", "start", "nothing", status=1)


def test_the_servers_own_events_can_be_backtested(server: Server) -> None:
    for _ in range(3):
        server.run("emit", "service.error", "-r", "error/2", "-l", "service=search")
    said = server.items("backtest", str(server.folder / "definitions.yaml"), "--since", "1h")
    assert [one["labels"] for one in said if one["labels"]["service"] == "search"] == [{"service": "search"}]


def test_an_automation_is_paused_and_resumed(server: Server) -> None:
    assert server.run("automations", "pause", "three-errors") == "three-errors is paused\n"
    assert [one["paused"] for one in server.items("automations")] == [True]
    assert server.run("automations", "resume", "three-errors") == "three-errors is resumed\n"
    assert [one["paused"] for one in server.items("automations")] == [False]


def test_what_is_not_there_is_said_in_one_sentence(server: Server) -> None:
    assert server.run("events", "show", "nowhere", status=1).startswith("tocsin: there is no event 'nowhere'")
    assert server.run("automations", "pause", "nobody", status=1).startswith("tocsin: there is no automation 'nobody'")


@contextmanager
def following(server: Server) -> Iterator[subprocess.Popen[str]]:
    """`tocsin events tail`, when it has begun and seen an event."""
    arguments = [sys.executable, "-m", "tocsin", "events", "tail", "--event", "tail.*", "--json"]
    env = CLEAN | {"TOCSIN_URL": server.url}
    with subprocess.Popen(arguments, env=env, stdout=PIPE, stderr=PIPE, text=True) as tail:
        assert tail.stdout is not None
        readable: list[Any] = []
        while not readable:  # a stream begins at the end of the log, so emit until it has begun
            server.run("emit", "tail.wags", "-r", "dog")
            readable, _, _ = select.select([tail.stdout], [], [], 0)
        assert json.loads(tail.stdout.readline())["resource"] == {"id": "dog"}
        yield tail


def test_events_are_followed_as_they_come_in_until_interrupted(server: Server) -> None:
    with following(server) as tail:
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=PATIENCE_S)
        assert tail.returncode == 0


def test_a_second_server_on_the_same_home_is_refused(server: Server) -> None:
    assert "already serves" in refused(server.folder, "--port", "0")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    (tmp_path / "definitions.yaml").write_text(DEFINITIONS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"can not listen on 127.0.0.1:{port}" in refused(tmp_path, "--port", port)


def test_wrong_definitions_are_listed_and_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "definitions.yaml").write_text("automations:\n  - name: a\n    trigger: {expect: x, wihtin: 1}\n")
    assert "definitions.yaml:3:26: automations[a].trigger.wihtin: unknown key" in refused(tmp_path, "--port", "0")
    assert not (tmp_path / "home").exists()


def test_other_than_loopback_needs_a_token(tmp_path: Path) -> None:
    (tmp_path / "definitions.yaml").write_text(DEFINITIONS)
    assert "needs TOCSIN_TOKEN" in refused(tmp_path, "--host", "192.0.2.1")


def test_a_token_is_asked_for_and_taken(tmp_path: Path) -> None:
    with serving(tmp_path, TOCSIN_TOKEN="t0") as guarded:
        assert "set TOCSIN_TOKEN to a token that it knows" in guarded.run("events", status=1)
        assert "tocsin.definitions.changed" in guarded.run("events", token="t0")


def test_a_server_that_stops_ends_the_streams_and_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as running, following(running) as tail:
        running.process.terminate()
        assert running.process.wait(PATIENCE_S) == 0
        _, complaint = tail.communicate(timeout=PATIENCE_S)
        assert tail.returncode == 1
        assert "has ended the stream" in complaint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_gracefully_and_it_starts_again(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as running:
        running.run("emit", "service.error", "-r", "error/1", "-l", "service=cart", "--id", "kept")
        running.process.send_signal(number)
        assert running.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in (tmp_path / "server.log").read_text()
    with serving(tmp_path) as again:
        assert "kept" in again.run("events", "--event", "service.error")


def test_a_server_that_is_told_to_stop_while_it_starts_ends_well(tmp_path: Path) -> None:
    """It waits for a database that does not say anything."""
    (tmp_path / "definitions.yaml").write_text(DEFINITIONS)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none?connect_timeout=3"
        arguments = [*command(tmp_path), "--port", "0", "--db", url]
        process = subprocess.Popen(arguments, env=CLEAN | {"TOCSIN_HOME": str(tmp_path / "home")}, stderr=PIPE)
        silent.settimeout(PATIENCE_S)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said.decode()
    assert b"Traceback" not in said


def test_events_are_sent_from_python(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_URL", server.url)
    identity = tocsin.emit("python.said", resource="dog", labels={"env": "prod"})
    assert server.items("events", "--event", "python.said")[0]["id"] == identity
    with tocsin.Client() as client:
        receipt = client.emit_many([{"event": "python.said", "resource": "dog", "id": one} for one in (identity, "n")])
    assert (receipt.accepted, receipt.duplicates, receipt.ids) == (2, 1, [identity, "n"])
    with pytest.raises(tocsin.TocsinError, match="name"):
        tocsin.emit("tocsin.lie", resource="dog")

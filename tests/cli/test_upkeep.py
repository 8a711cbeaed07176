"""What people do by hand through a real server: look at what is waited for, redrive, give up, read logs, forget."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from subprocess import PIPE
from typing import Any

import pytest

from tests.cli.invoke import CLEAN
from tests.cli.served import PATIENCE_S, Server, serving

DEFINITIONS = json.dumps({
    "automations": [
        {"name": "silent", "trigger": {"type": "absence", "expect": "beat", "for_each": ["id"], "within": "1h"}},
        {"name": "pairs", "trigger": {"expect": "pair", "for_each": ["id", "zone"], "threshold": 3, "within": "1h"}},
        {"name": "plain", "trigger": {"expect": "plain"}},
        {"name": "calls", "trigger": {"expect": "call.me"},
         "actions": [{"type": "call-webhook", "url": "http://127.0.0.1:9/", "retry": {"attempts": 1}}]},
    ],
    "flows": [{"name": "talks", "command": ["printf", "one\\ttwo\\033[2J\\n"]}],
})  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served"), definitions=DEFINITIONS) as running:
        yield running


def emit(server: Server, event: str, resource: str, *more: str) -> None:
    server.run("emit", event, "-r", resource, *more)


def test_an_automation_says_what_it_is_waiting_for(server: Server) -> None:
    emit(server, "beat", "web-1")
    emit(server, "pair", "web-1", "-l", "zone=a")
    server.until(lambda: server.items("automations", "show", "silent")[0]["keys"])
    lines = server.run("automations", "show", "silent").splitlines()
    header = next(place for place, line in enumerate(lines) if line.startswith("key "))
    assert lines[header].split() == ["key", "waits", "for", "counted", "next", "state", "last", "verdict"]
    assert lines[header + 1].startswith("id=web-1  beat                2")
    assert "(in 59m)" in lines[header + 1]
    server.until(lambda: server.items("automations", "show", "pairs")[0]["keys"])
    assert "1 of 3" in server.run("automations", "show", "pairs")
    emit(server, "plain", "x")
    server.until(lambda: server.items("firings", "--automation", "plain"))
    assert "last firing\nfired" in server.run("automations", "show", "plain")


def test_p8_a_key_is_forgotten_by_its_value_or_by_its_labels(server: Server) -> None:
    emit(server, "beat", "a=b")
    emit(server, "pair", "web-2", "-l", "zone=a")
    server.until(lambda: [one for one in server.items("automations", "show", "pairs")[0]["keys"]
                          if one["labels"]["id"] == "web-2"])  # fmt: skip
    said = server.run("automations", "forget", "silent", "a=b")
    assert said == "silent watches id=a=b no more, until its next event\n"
    assert server.run("automations", "forget", "pairs", "zone=a", "id=web-2").startswith("pairs watches zone=a")
    assert "watches no key id=a=b" in server.run("automations", "forget", "silent", "id=a=b", status=1)
    assert "a key of it is written id=VALUE zone=VALUE" in server.run(
        "automations", "forget", "pairs", "web-2", status=2
    )
    assert "has one key only" in server.run("automations", "forget", "plain", "x", status=2)
    assert "forgotten" in server.run("automations", "show", "silent")


def dead(server: Server) -> list[dict[str, Any]]:
    return server.items("actions", "--state", "dead")


def test_dead_letters_are_retried_and_given_up_one_by_one_or_together(server: Server) -> None:
    for number in range(3):
        emit(server, "call.me", f"r{number}")
    server.until(lambda: dead(server) if len(dead(server)) == 3 else [])
    first, *_ = (one["id"] for one in dead(server))
    assert server.run("actions", "discard", first, "--reason", "gone") == f"{first} is discarded\n"
    assert '"gone"' in server.run("actions", "show", first, "--json")
    assert len(server.run("actions", "retry", "--state", "dead", "--automation", "calls").splitlines()) == 2
    server.until(lambda: dead(server) if len(dead(server)) == 2 else [])
    done = server.items("actions", "discard", "--automation", "calls", "--reason", "all of them")
    assert [one["state"] for one in done] == ["discarded"] * 2
    assert server.run("actions", "retry", "--automation", "calls") == "there is no such action\n"
    refused = server.run("actions", "discard", first, "none", "--reason", "again", status=1).splitlines()
    assert refused[0] == "tocsin: 2 of 2 actions can not be changed so:"
    assert [line.split(": ")[0] for line in refused[1:]] == [first, "none"]


def test_it_is_said_which_actions(server: Server) -> None:
    assert "which actions?" in server.run("actions", "retry", status=2)
    assert "not both" in server.run("actions", "retry", "a", "--state", "dead", status=2)
    assert "--reason" in server.run("actions", "discard", "a", status=2)


def test_what_a_run_writes_is_printed_and_followed_to_its_end(server: Server) -> None:
    run = server.run("runs", "start", "talks").strip()
    followed = server.run("runs", "logs", run, "--follow")
    assert followed.splitlines()[-1] == "one\ttwo\\x1b[2J"
    assert server.run("runs", "logs", run) == followed
    assert "there is no run 'none'" in server.run("runs", "logs", "none", status=1)


def test_firings_are_followed_as_they_are_judged(server: Server) -> None:
    arguments = [sys.executable, "-m", "tocsin", "firings", "tail", "--automation", "plain", "--json"]
    with subprocess.Popen(arguments, env=CLEAN | {"TOCSIN_URL": server.url}, stdout=PIPE, text=True) as tail:
        assert tail.stdout is not None
        readable: list[Any] = []
        while not readable:  # the stream begins at the end of the log
            emit(server, "call.me", "another")
            emit(server, "plain", "x")
            readable, _, _ = select.select([tail.stdout], [], [], 0)
        assert json.loads(tail.stdout.readline())["automation"] == "plain"
        tail.terminate()
        tail.communicate(timeout=PATIENCE_S)

"""`tocsin plan` and `tocsin apply` against a real server, and what it lists as defined."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.served import DEFINITIONS, Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served"), SLACK_URL="https://hooks.example/x", TOCSIN_API_SECRETS="SLACK_URL",
                 GITHUB_SECRET="s3cret", JOB_KEY="k") as running:  # fmt: skip
        yield running


def written(folder: Path, **sections: Any) -> str:
    path = folder / "applied.yaml"
    path.write_text(json.dumps(sections))
    return str(path)


def silent(within: str = "5m", **more: Any) -> dict[str, Any]:
    trigger = {"type": "absence", "expect": "host.heartbeat", "for_each": ["id"], "within": within, **more}
    return {"name": "silent", "trigger": trigger, "actions": [{"type": "send-notification", "channel": "oncall"}]}


CHANNEL = {"name": "oncall", "type": "slack", "url": {"env": "SLACK_URL"}}


def test_what_is_planned_is_then_applied(server: Server, tmp_path: Path) -> None:
    path = written(tmp_path, automations=[silent()], channels=[CHANNEL])
    expected = "+ automation silent: begins to watch\n+ channel oncall\n2 added\n"
    assert server.run("plan", path) == expected
    assert server.items("channels") == []
    assert server.run("apply", path) == f"{expected}applied\n"
    assert [one["name"] for one in server.items("channels")] == ["oncall"]
    assert server.run("plan", path) == server.run("apply", path) == "nothing changes\n"


def test_s4_a_plan_says_why_windows_begin_anew(server: Server, tmp_path: Path) -> None:
    server.run("apply", written(tmp_path, automations=[silent()], channels=[CHANNEL]))
    path = written(tmp_path, automations=[silent("10m", grace="1m")], channels=[CHANNEL])
    assert server.run("plan", path).splitlines() == [
        "~ automation silent: windows begin anew",
        "    trigger.within: 5m -> 10m  (begins anew)",
        "    trigger.grace: not set -> 1m",
        "1 changed",
    ]
    (step,) = server.items("plan", path)
    assert (step["windows"], step["because"]) == ("restarted", ["trigger.within: 5m -> 10m"])
    calm = written(tmp_path, automations=[silent(grace="1m")], channels=[CHANNEL])
    assert server.run("plan", calm).splitlines()[0] == "~ automation silent: windows are kept"
    assert server.run("plan", written(tmp_path, automations=[])).splitlines() == [
        "- automation silent: windows are closed", "- channel oncall", "2 removed"]  # fmt: skip
    assert server.run("plan", "--keep", written(tmp_path, queues=[])) == "nothing changes\n"


def test_what_the_server_was_started_with_is_not_applied_over(server: Server) -> None:
    own = str(server.folder / "definitions.yaml")
    for command in ("plan", "apply"):
        assert "a flow starts a program: declare it in a definitions file" in server.run(command, own, status=1)
    assert server.run("plan", "--files", own) == "nothing changes\n"
    changed = server.folder / "changed.yaml"
    changed.write_text(DEFINITIONS.replace("threshold: 3", "threshold: 4").replace("concurrency: 1", "concurrency: 2"))
    said = server.run("plan", "--files", str(changed))
    assert "    trigger.threshold: 3 -> 4  (begins anew)" in said.splitlines()
    assert "    concurrency: 1 -> 2" in said.splitlines()
    changed.write_text(DEFINITIONS[: DEFINITIONS.index("flows:")].replace("threshold: 3", "threshold: 4"))
    for command in ("plan", "apply"):
        refused = server.run(command, str(changed), status=1)
        assert "the automation 'three-errors' came from a file: change it there" in refused


def test_wrong_definitions_are_refused_before_a_server_is_asked(server: Server, tmp_path: Path) -> None:
    path = written(tmp_path, automations=[silent()])  # its channel is not there
    for command in ("plan", "apply"):
        assert "there is no channel 'oncall'" in server.run(command, path, status=1)


def test_sources_are_listed_with_the_address_at_which_they_receive(server: Server, tmp_path: Path) -> None:
    sources = [{"name": "jobs", "type": "checkin", "key": "k-17"}, {"name": "nightly", "type": "checkin"}]
    server.run("apply", written(tmp_path, sources=sources))
    lines = server.run("sources").splitlines()
    assert lines[0].split() == ["source", "type", "receives", "at", "origin"]
    assert lines[1].split() == ["jobs", "checkin", f"{server.url}/ping/k-17", "api"]
    assert lines[2].split() == ["nightly", "checkin", f"{server.url}/ping/nightly", "api"]

"""Exit statuses and complaints: 0 done, 1 failed, 2 wrong usage; one sentence first, on standard error."""

from __future__ import annotations

import json
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

import tocsin as package
from tests.cli.conftest import Tocsin
from tocsin.errors import JudgeFailed


def test_the_version_is_printed(tocsin: Tocsin) -> None:
    done = tocsin("--version")
    assert (done.status, done.out) == (0, f"tocsin {package.__version__}\n")


def test_without_a_command_help_is_printed_and_that_is_a_wrong_use(tocsin: Tocsin) -> None:
    done = tocsin()
    assert done.status == 2
    assert "backtest" in done.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nosuch"], "tocsin: No such command 'nosuch'."),
        (["evnts"], "tocsin: No such command 'evnts'. Did you mean 'events'?"),
        (["actions", "retyr", "a"], "tocsin: No such command 'retyr'. Did you mean 'retry'?"),
        (["events", "list", "--rsource", "a"], "tocsin: No such option: --rsource"),
        (["emit", "x"], "tocsin: Missing option '--resource' / '-r'."),
        (["emit", "x", "-r", "a", "--label", "b"], "tocsin: Invalid value: --label b: write name=value"),
        (["emit", "x", "-r", "a", "--related", "=b"], "tocsin: Invalid value: --related =b: write name=value"),
        (["emit", "x", "-r", "a", "--payload", "{"], "tocsin: Invalid value: --payload is not JSON"),
        (["events", "--since", "soon"], "tocsin: Invalid value for --since: 'soon' is neither a time"),
        (["events", "--limit", "0"], "tocsin: Invalid value for '--limit' / '-n'"),
        (["runs", "start", "a", "-p", "b"], "tocsin: Invalid value: --parameter b: write name=value"),
    ],
)
def test_a_wrong_use_exits_with_2_and_says_where_help_is(tocsin: Tocsin, arguments: list[str], complaint: str) -> None:
    done = tocsin(*arguments)
    assert done.status == 2
    assert done.err.startswith(complaint)
    assert done.err.splitlines()[-1].startswith("See tocsin")
    assert done.out == ""


@pytest.mark.parametrize(
    "command", ["events", "firings", "actions", "automations", "flows", "runs", "queues", "status"]
)
def test_without_a_server_one_sentence_says_so(tocsin: Tocsin, command: str) -> None:
    done = tocsin(command, env={"TOCSIN_URL": "http://127.0.0.1:9"})
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        "tocsin: no server answers at http://127.0.0.1:9: start one with `tocsin serve`, or set TOCSIN_URL\n"
    )


@pytest.mark.parametrize("url", ["localhost:8710", "ftp://x", "http://", "http://[::1"])
def test_an_address_that_is_none_is_explained(tocsin: Tocsin, url: str) -> None:
    done = tocsin("events", env={"TOCSIN_URL": url})
    assert done.status == 1
    assert done.err == f"tocsin: TOCSIN_URL is {url!r}: write an address such as http://127.0.0.1:8710\n"


BROKEN = """\
automations:
  - name: a
    trigger: {expct: x}
"""


ONCALL = """\
channels: [{name: oncall, type: slack, url: {env: ONCALL_URL}}]
automations:
  - {name: a, trigger: {expect: x}, actions: [{type: send-notification, channel: oncall, title: x}]}
  - {name: b, trigger: {expect: y}, actions: [{type: log}]}
"""


def test_check_names_file_line_and_column_of_everything(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BROKEN)
    done = tocsin("check", "a.yaml")
    assert done.status == 1
    first, *problems = done.err.splitlines()
    assert first == "tocsin: 2 things are wrong:"
    assert "a.yaml:3:15: automations[a].trigger.expct: unknown key: did you mean `expect`?" in problems
    assert done.out == ""


def test_check_prints_problems_as_json_lines(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BROKEN)
    done = tocsin("check", "a.yaml", "--json")
    assert done.status == 1
    assert {(one["file"], one["line"]) for one in map(json.loads, done.out.splitlines())} == {("a.yaml", 3)}


def test_check_is_content_with_what_is_right_and_says_what_that_is(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("automations: []")
    assert tocsin("check", ".").out == ".: all right (nothing is defined)\n"
    (tmp_path / "a.yaml").write_text(ONCALL)
    done = tocsin("check", ".", env={"ONCALL_URL": "https://example.org/x"})
    assert (done.status, done.out, done.err) == (0, ".: all right (2 automations, 1 channel)\n", "")


def test_check_warns_of_secrets_that_are_not_there(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ONCALL)
    warning = "the secret {env: ONCALL_URL} is not there, or empty: set the environment variable ONCALL_URL"
    done = tocsin("check", ".")
    assert (done.status, done.err) == (0, f"warning: {warning}\n")
    done = tocsin("check", ".", "--json")
    assert (done.status, json.loads(done.out)) == (0, {"level": "warning", "message": warning})


def test_schema_is_json_schema(tocsin: Tocsin) -> None:
    done = tocsin("schema")
    assert done.status == 0
    assert json.loads(done.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_setting_that_is_wrong_is_named(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("automations: []")
    done = tocsin("test", "a.yaml", env={"TOCSIN_LATENESS": "soon"})
    assert done.status == 1
    assert done.err.startswith("tocsin: TOCSIN_LATENESS: 'soon' is not a duration")


def test_doctor_says_which_secret_is_missing_and_never_shows_one(tocsin: Tocsin, tmp_path: Path) -> None:
    env = {"TOCSIN_URL": "http://127.0.0.1:9", "TOCSIN_TOKEN": "hush-hush", "HOOK": "whisper"}
    sources = [
        {"name": name, "type": "webhook", "recipe": "github", "secret": {"env": secret}}
        for name, secret in (("a", "HOOK"), ("b", "NOT_SET_ANYWHERE"))
    ]
    (tmp_path / "a.yaml").write_text(json.dumps({"sources": sources}))
    done = tocsin("doctor", "a.yaml", "--json", env=env)
    found = [(one["what"], one["ok"]) for one in map(json.loads, done.out.splitlines())]
    assert done.status == 1
    assert found.count(("secret", True)) == 1
    assert found.count(("secret", False)) == 1
    assert ("server", False) in found
    assert "hush-hush" not in done.out + done.err
    assert "whisper" not in done.out + done.err


def test_doctor_finds_a_misspelt_setting_and_leaves_other_variables_alone(tocsin: Tocsin) -> None:
    run = ("ATTEMPT", "FLOW", "PARAMETERS", "RESULT", "RUN_ID")  # what the process of a run is given
    env = {"TOCSIN_URL": "http://127.0.0.1:9", "TOCSIN_SETTEL": "1s"} | {f"TOCSIN_{name}": "1" for name in run}
    found = [json.loads(line) for line in tocsin("doctor", "--json", env=env).out.splitlines()]
    said = [one["finding"] for one in found if one["what"] == "setting"]
    assert said == ["TOCSIN_SETTEL is not known: did you mean TOCSIN_SETTLE?"]


def test_a_judge_that_fails_names_the_automation(
    tocsin: Tocsin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5: in a backtest there is nobody to alarm but the user."""

    def fail(*_: object, **__: object) -> None:
        raise JudgeFailed("KeyError: 7", automation="a", seq=1)

    monkeypatch.setattr("tocsin.triggers.simulate.Memory.run", fail)
    (tmp_path / "a.yaml").write_text("automations: [{name: a, trigger: {expect: x}}]")
    (tmp_path / "e.jsonl").write_text('{"event": "x", "resource": {"id": "a"}, "occurred": "2026-03-02T09:00:00Z"}')
    done = tocsin("backtest", "a.yaml", "--events", "e.jsonl")
    assert done.status == 1
    assert done.err == "tocsin: judging the automation 'a' failed, which is our mistake: KeyError: 7\n"


def test_a_backtest_of_nothing_in_particular_is_a_wrong_use(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("automations: [{name: a, trigger: {expect: x}}]")
    assert "what to judge is missing" in tocsin("backtest", "a.yaml").err
    missing = tocsin("backtest", "a.yaml", "--events", "none.jsonl")
    assert (missing.status, missing.err) == (1, "tocsin: none.jsonl: No such file or directory\n")
    unknown = tocsin("backtest", "a.yaml", "--events", "a.yaml", "--automation", "b")
    assert (unknown.status, unknown.err) == (
        1,
        "tocsin: there is no automation 'b' in these definitions; there are a\n",
    )


def test_a_disabled_automation_is_backtested_only_when_it_is_named(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("automations: [{name: a, enabled: false, trigger: {expect: x}}]")
    (tmp_path / "e.jsonl").write_text('{"event": "x", "resource": {"id": "a"}, "occurred": "2026-03-02T09:00:00Z"}')
    everything = tocsin("backtest", "a.yaml", "--events", "e.jsonl")
    assert (everything.status, everything.out) == (0, "")
    assert everything.err == "0 firings of 0 automations over 1 event\n"
    named = tocsin("backtest", "a.yaml", "--events", "e.jsonl", "--automation", "a")
    assert "  fired     a  x happened at" in named.out


def test_a_backtest_reads_standard_input(tocsin: Tocsin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("automations: [{name: a, trigger: {expect: x}}]")
    event = b'{"event": "x", "resource": {"id": "a"}, "occurred": "2026-03-02T09:00:00Z"}\n'
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(event)))
    done = tocsin("backtest", "a.yaml", "--events", "-", "--json")
    assert json.loads(done.out)["events"] == ["line-1"]


@pytest.mark.parametrize(
    ("words", "completed"),
    [("tocsin ev", "events"), ("tocsin automations pa", "pause"), ("tocsin emit --pay", "--payload")],
)
def test_a_shell_completes_commands_and_options(tocsin: Tocsin, words: str, completed: str) -> None:
    asked = {"_TOCSIN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert tocsin(env=asked).out.split() == [completed]


def test_the_script_for_a_shell_is_printed(tocsin: Tocsin) -> None:
    done = tocsin(env={"_TOCSIN_COMPLETE": "source_zsh"})
    assert (done.status, done.out.split()[:2]) == (0, ["#compdef", "tocsin"])


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_a_group_of_commands_has_help_of_its_own(tocsin: Tocsin, flag: str) -> None:
    done = tocsin("automations", flag)
    assert done.status == 0
    assert "pause" in done.out

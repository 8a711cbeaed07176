"""What the pages show is true: definitions are right, events are events, commands and links exist, laws have cases."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from docs.generate.markdown import anchor
from docs.generate.pages import LAWS, generated
from tests.docs.blocks import DOCS, PAGES, ROOT, Block, blocks, blocks_in
from tocsin.cli import app
from tocsin.review.check import check
from tocsin.review.suite import run
from tocsin.schemas.firing import Outcome
from tocsin.schemas.trigger import TYPES
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.store.files import read_definitions

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_LAW = re.compile(r"^- \*\*([A-Z]\d+)", re.MULTILINE)


def test_pages_made_from_the_code_are_up_to_date() -> None:
    stale = [name for name, text in generated(DOCS).items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run make docs"


@pytest.mark.parametrize("block", blocks_in("yaml"), ids=str)
def test_definitions_are_right_and_pass_their_tests(block: Block, tmp_path: Path) -> None:
    (tmp_path / "definitions.yaml").write_text(_whole(block))
    assert list(map(str, check(tmp_path).problems)) == []
    assert [one.case.name for one in run(read_definitions(tmp_path)) if not one.passed] == []


def _whole(block: Block) -> str:
    """Return a block as a file: a trigger for itself becomes an automation, and a channel that is not there a log."""
    data = yaml.safe_load(block.text)
    if "trigger" in data:
        return yaml.safe_dump({"automations": [{"name": "example", **data}]})
    if block.page == "tutorial.md" and "channels" not in data:  # the first file of the tutorial has it
        return f"{block.text}\nchannels:\n  - {{name: oncall, type: log}}\n"
    needed = {one["queue"] for one in data.get("flows", ()) if "queue" in one} - {
        one["name"] for one in data.get("queues", ())
    }
    assert needed == set()
    return block.text


@pytest.mark.parametrize("block", blocks_in("json"), ids=str)
def test_json_is_json_and_events_are_events(block: Block) -> None:
    lines = block.text.splitlines() if block.title.endswith(".jsonl") else [block.text]
    for text in lines:
        data = json.loads(text)
        if "event" in data and not block.page.startswith("reference/"):
            assert NativeParser(Limits()).parse(text.encode())


@pytest.mark.parametrize("block", blocks_in("python"), ids=str)
def test_python_can_be_parsed_and_what_only_judges_runs(block: Block) -> None:
    ast.parse(block.text)
    if "simulate(" in block.text:
        exec(compile(block.text, str(block), "exec"), {})  # noqa: S102 - our own pages


@pytest.mark.parametrize("block", blocks_in("console", "sh"), ids=str)
def test_commands_and_their_options_exist(block: Block) -> None:
    for words in _commands(block.text):
        command: Any = typer.main.get_command(app)
        known = {"--help", "-h", "--version"}
        for word in words:
            if not word.startswith("-") and word in getattr(command, "commands", {}):
                command = command.commands[word]
        known |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        assert not hasattr(command, "commands") or "--version" in words or "list" in command.commands, words
        assert {word for word in words if word.startswith("-") and word != "-"} <= known, words


def _commands(text: str) -> list[list[str]]:
    found = re.findall(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*tocsin (.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found if not line.startswith(("0.", "listens"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, part = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (part and part not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {anchor(re.sub(r"[`*]", "", heading)) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_every_page_has_its_place_in_the_navigation() -> None:
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert named == {page.relative_to(DOCS).as_posix() for page in PAGES}


def test_every_decision_that_explain_may_show_is_told() -> None:
    told = set(re.findall(r"`(\w+)`", (DOCS / "review.md").read_text()))
    assert {outcome.value for outcome in Outcome} - told == {"duplicate"}  # is not judged, so nothing is decided


# The laws


def test_every_law_is_told_in_plain_words_with_a_picture_or_a_drawing() -> None:
    laws = _LAW.findall((DOCS / "semantics.md").read_text())
    sections = _sections()
    assert list(sections) == laws
    assert [law for law, text in sections.items() if "![" not in text and "```" not in text] == []


@pytest.mark.parametrize(("law", "kind"), [("T3", "metric"), ("T4", "sla")])
def test_a_law_that_is_only_laid_down_says_so(law: str, kind: str) -> None:
    assert ("not built in" in _sections()[law]) == (kind not in TYPES)


def test_every_picture_of_a_law_is_shown() -> None:
    drawn = {path.stem for path in (DOCS / "pictures").iterdir()}
    assert drawn == {law.lower() for law, text in _sections().items() if f"](pictures/{law.lower()}.svg)" in text}
    assert drawn == {one.name.partition(" ")[0].lower() for one in read_definitions(DOCS / LAWS).tests}


def test_every_case_that_a_law_names_exists() -> None:
    lines = (ROOT / "tests" / "conformance" / "laws.jsonl").read_text().splitlines()
    known = {json.loads(line)["name"] for line in lines}
    cases = {case for text in _sections().values() for case in re.findall(r"^Cases?: (.*)$", text, re.MULTILINE)}
    named = {name for line in cases for name in re.findall(r"`([^`]+)`", line)}
    assert named
    assert named - known == set()


def _sections() -> dict[str, str]:
    text = (DOCS / "laws.md").read_text()
    parts = re.split(r"^### ([A-Z]\d+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_tutorial_is_named_where_people_begin() -> None:
    assert "docs/tutorial.md" in (ROOT / "README.md").read_text()
    assert any(block.language == "console" for block in blocks(DOCS / "tutorial.md"))

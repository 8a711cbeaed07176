"""The tutorial, followed to the letter by a reader who types every line of it and expects what it shows.

And the programs in other pages that send events: they are run against a server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, blocks
from tests.docs.terminal import Reader

ELSEWHERE = "sh"
"""The language of commands that are for the reader's own machine: installing, and a channel with a secret."""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "reader"
    folder.mkdir()
    reader = Reader(folder)
    yield reader
    reader.close()


def test_who_follows_the_tutorial_sees_what_it_shows(reader: Reader) -> None:
    followed = list(blocks(DOCS / "tutorial.md"))
    assert sum(block.language == "console" for block in followed) > 10
    for block in followed:
        if block.language == "console" and block.title:
            reader.watch(block)
        elif block.language == "console":
            reader.type(block)
        elif block.title:
            reader.write(block)
        else:
            assert block.language in {ELSEWHERE, "yaml"}, f"{block}: what is a reader to do with this?"


DBT = {
    "metadata": {"invocation_id": "7"},
    "results": [{"unique_id": "model.shop.orders", "status": "success", "message": "OK", "execution_time": 1.5}],
}
TASK = """
from types import SimpleNamespace
task = SimpleNamespace(dag_id="sales", task_id="load", run_id="2026-03-02", try_number=1)
default_args["on_success_callback"]({"task_instance": task})
"""


def test_programs_that_send_events_do(reader: Reader, tmp_path: Path) -> None:
    reader.serve("tocsin serve")
    sending = [one for one in blocks(DOCS / "events.md") if one.language in {"console", "python"}][:2]
    assert [one.language for one in sending] == ["console", "python"]
    reader.type(sending[0])
    reader.run_python(sending[1].text)
    dbt, airflow = (one.text for one in blocks(DOCS / "recipes.md") if one.language == "python")
    results = tmp_path / "reader" / "target" / "run_results.json"
    results.parent.mkdir()
    results.write_text(json.dumps(DBT))
    reader.run_python(dbt)
    reader.run_python(airflow + TASK)
    sent = ["tocsin", "events", "--json"]
    reader.run_python(
        f"import json, subprocess; lines = subprocess.check_output({sent}, text=True).splitlines();"
        "names = sorted(json.loads(line)['event'] for line in lines);"
        "assert names == ['dbt.model.updated', 'host.heartbeat', 'host.heartbeat', 'table.updated', 'table.updated',"
        " 'table.updated', 'task.finished'], names"
    )

"""`check` reads a file or a folder and returns everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.schemas.documents import WHOLE
from tocsin.errors import InvalidDefinition
from tocsin.review.check import check
from tocsin.store import files
from tocsin.store.files import definition_files, read_definitions

QUEUE = "queues: [{name: %s, concurrency: 1}]\n"


def test_what_is_right_has_no_problems(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(WHOLE)
    assert check(path).problems == []
    assert len(read_definitions(path).automations) == 5


def test_a_folder_is_all_its_yaml_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.YAML", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).write_text(QUEUE % name.strip("."))
    (tmp_path / "inner.yaml").mkdir()
    assert [file.name for file in definition_files(tmp_path)] == ["a.yml", "b.yaml", "c.YAML"]
    assert [queue.name for queue in read_definitions(tmp_path).queues] == ["a.yml", "b.yaml", "c.YAML"]


def test_an_empty_folder_is_an_error_and_not_a_wish_to_remove_everything(tmp_path: Path) -> None:
    assert [problem.message for problem in check(tmp_path).problems] == [
        "there is no *.yaml or *.yml file in this folder: add one, `automations: []` is enough"
    ]
    (tmp_path / "none.yaml").write_text("automations: []")
    assert check(tmp_path).problems == []


def test_problems_name_file_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(QUEUE % "q" + "flows: [{name: f, command: [x], queue: p}]\n")
    (tmp_path / "b.yaml").write_text(QUEUE % "q")
    assert [str(problem) for problem in check(tmp_path).problems] == [
        f"{tmp_path}/a.yaml:2:40: flows[f].queue: there is no queue 'p': declare it under `queues:`",
        (
            f"{tmp_path}/b.yaml:1:17: queues[q].name: the name 'q' is taken by the queue at {tmp_path}/a.yaml:1:17: "
            "rename one of them"
        ),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + (QUEUE % "q").replace("\n", "\r\n").encode())
    assert check(path).problems == []


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = check(tmp_path / "nope.yaml").problems
    assert str(problem) == f"{tmp_path}/nope.yaml:1:1: the file can not be read: No such file or directory"


def test_a_device_is_not_read() -> None:
    (problem,) = check(Path("/dev/zero")).problems
    assert problem.message == "the file can not be read: it is not a file"


def test_a_file_that_is_not_text_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"queues:\n- \xff")
    (tmp_path / "b.yaml").write_text("flows: [{name: f, command: [x], queue: p}]\n")
    (problem,) = check(tmp_path).problems
    assert problem.message == "the file can not be read: line 2 is not UTF-8, save it as UTF-8"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BYTES_MAX", 10)
    (tmp_path / "a.yaml").write_text(QUEUE % "q")
    with pytest.raises(InvalidDefinition, match="it is larger than 0 MiB, split it"):
        read_definitions(tmp_path)

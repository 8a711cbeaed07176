"""The output of runs: bounded on disk, its end always kept, and no secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.flows import output
from tocsin.flows.output import Output


def written(path: Path, *pieces: bytes, secrets: tuple[str, ...] = (), limit: int = 1000) -> Output:
    made = Output(path, "run", secrets=secrets, limit=limit)
    for piece in pieces:
        made.feed(piece)
    made.close()
    return made


def test_only_the_owner_may_read_the_output(tmp_path: Path) -> None:
    written(tmp_path / "runs" / "r.log", b"x")
    assert (tmp_path / "runs" / "r.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o700


def test_beyond_the_limit_only_the_end_is_kept(tmp_path: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(100_000))
    made = written(tmp_path / "log", *(lines[start : start + 4096] for start in range(0, len(lines), 4096)))
    text = (tmp_path / "log").read_bytes()
    assert len(text) < 1000 + output.TAIL_BYTES + 100
    assert text.startswith(b"--- run\nline 0\n")
    assert b"bytes were left out; the output ended:\n" in text
    assert text.endswith(b"line 99999\n")
    assert made.tail().splitlines() == [f"line {number}" for number in range(99_980, 100_000)]


def test_a_line_that_never_ends_is_kept_as_it_comes(tmp_path: Path) -> None:
    made = written(tmp_path / "log", *[b"x" * 10_000] * 20, limit=1_000_000)
    assert (tmp_path / "log").read_bytes() == b"--- run\n" + b"x" * 200_000
    assert made.tail() == "x" * output.TAIL_BYTES


@pytest.mark.parametrize("cut", range(12))
def test_a_secret_is_blotted_out_wherever_the_pieces_are_cut(tmp_path: Path, cut: int) -> None:
    text = b"<hunter2secret>\n"
    made = written(tmp_path / "log", text[:cut], text[cut:], secrets=("hunter2", "hunter2secret", "s"))
    assert made.tail() == "<***>"
    assert (tmp_path / "log").read_bytes() == b"--- run\n<***>\n"


def test_bytes_that_are_not_text_become_text(tmp_path: Path) -> None:
    assert (
        written(tmp_path / "log", b"a\xff\0b\r\nc").tail() == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b\nc"
    )


def test_a_full_disk_costs_the_log_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    assert written(tmp_path / "log", b"one\n", b"two\n").tail() == "one\ntwo"

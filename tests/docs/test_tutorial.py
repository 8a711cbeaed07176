"""The tutorial, followed to the letter by a reader who types every line of it and expects what it shows."""

from __future__ import annotations

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

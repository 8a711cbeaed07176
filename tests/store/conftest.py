"""Stores are tested on both databases, each test on a fresh one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.opened import Opened
from tests.servers import in_folder


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database of a test; `ON_SQLITE` and `ON_POSTGRES` choose one."""
    if request.param == "sqlite":
        return in_folder(tmp_path)
    made: str = request.getfixturevalue("postgres_url")
    return made


@pytest.fixture
def store(url: str) -> Iterator[Opened]:
    """An opened store."""
    opened = Opened(url)
    yield opened
    opened.close()

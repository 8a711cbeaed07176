"""A bench whose worker works for the length of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flows.bench import Bench


@pytest.fixture
async def bench(url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, url=url, environment={"TOCSIN_TOKEN": "admin-token", "GREETING": "hello"})
    await made.worker.start()
    yield made
    await made.worker.stop(grace_s=0)
    made.store.close()

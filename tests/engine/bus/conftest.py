"""A bus for a test: a stream of its own on a real Redis, and what publishes to it and records from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.engine.bus.desk import Desk
from tests.redis_servers import PrivateRedis, Redis, private_redis


@pytest.fixture
def stream(redis_url: Redis) -> Iterator[str]:
    """The name of a stream that only this test uses."""
    with redis_url.stream() as name:
        yield name


@pytest.fixture
async def desk(redis_url: Redis, stream: str, url: str) -> AsyncIterator[Desk]:
    """Publishers and intakes on one stream and one database."""
    async with Desk(redis_url, stream, url) as desk:
        yield desk


@pytest.fixture
def own_redis() -> Iterator[PrivateRedis]:
    """A Redis that the test may kill, freeze and fill."""
    with private_redis() as server:
        yield server


@pytest.fixture
async def own_desk(own_redis: PrivateRedis, url: str) -> AsyncIterator[Desk]:
    """As `desk`, on a Redis of its own."""
    async with Desk(own_redis, "bus", url) as desk:
        yield desk

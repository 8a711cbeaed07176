"""What is asked of Redis after a write, by what it says of itself: managed ones, newer ones."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from tocsin.engine.bus.durability import Waits, waits_for
from tocsin.errors import TocsinError


class Told:
    """A Redis that says this of itself; without `config` it forbids the question, as managed ones do."""

    def __init__(self, version: str, *, aof: int = 1, config: dict[str, str] | None = None, replicas: int = 0) -> None:
        self._info = {"redis_version": version, "aof_enabled": aof, "connected_slaves": replicas}
        self._config = config

    async def info(self, section: str) -> dict[str, Any]:
        return self._info

    async def config_get(self, pattern: str) -> dict[str, str]:
        if self._config is None:
            raise ResponseError("unknown command 'CONFIG'")
        return self._config


ALWAYS = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
EVERYSEC = ALWAYS | {"appendfsync": "everysec"}


@pytest.mark.parametrize(
    ("told", "command"),
    [
        (Told("7.0.15", config=ALWAYS), None),
        (Told("7.2.4", config=EVERYSEC), ("WAITAOF", 1, 0, 2_000)),
        (Told("8.4", config=None), ("WAITAOF", 1, 0, 2_000)),
    ],
)
async def test_e3_what_is_not_synced_at_each_write_is_asked_for(told: Told, command: object) -> None:
    waits = await waits_for(told, "redis://x", strict=True, replicas=0)
    assert waits.command() == command


@pytest.mark.parametrize(
    "told", [Told("7.0.15", config=EVERYSEC), Told("7.0.15"), Told("7.2.4", aof=0), Told("unknown")]
)
async def test_e3_where_it_can_not_be_asked_for_the_server_does_not_start(told: Told) -> None:
    with pytest.raises(TocsinError, match="may lose events"):
        await waits_for(told, "redis://x", strict=True, replicas=0)


async def test_fewer_replicas_than_must_have_an_event_are_told() -> None:
    with pytest.raises(TocsinError, match="has 0 replicas, and 1 must have"):
        await waits_for(Told("7.2.4", config=ALWAYS), "redis://x", strict=True, replicas=1)
    waits = await waits_for(Told("7.2.4", config=ALWAYS, replicas=2), "redis://x", strict=True, replicas=2)
    assert waits == Waits(replicas=2)


def test_an_answer_that_lacks_something_says_what() -> None:
    assert Waits(local_disk=True).missing([1, 0]) == ""
    assert "disk" in Waits(local_disk=True).missing([0, 0])
    assert Waits(local_disk=True, replicas=1).missing([1, 0]) == "0 of 1 replicas have it"
    assert Waits(replicas=2).missing(1) == "1 of 2 replicas have it"
    assert Waits(replicas=2).missing(2) == ""

"""Whether what Redis has answered is safe there (law E3): what it must be set to, or be asked for after a write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from tocsin.errors import TocsinError

WAITAOF_SINCE = (7, 2)
WAIT_MS = 2_000
"""How long replicas, or the disk, may take to have a write, in milliseconds."""

_RELAX = "or set TOCSIN_BUS_DURABILITY=relaxed and accept that acknowledged events may be lost"


@dataclass(frozen=True, slots=True)
class Waits:
    """What is asked for after each write: that it is on the local disk, and at how many replicas."""

    local_disk: bool = False
    replicas: int = 0

    def command(self) -> tuple[str | int, ...] | None:
        """Return the command, None when nothing needs to be asked."""
        if self.local_disk:
            return "WAITAOF", 1, self.replicas, WAIT_MS
        return ("WAIT", self.replicas, WAIT_MS) if self.replicas else None

    def missing(self, answer: Any) -> str:
        """Return what the answer to the command lacks, empty if nothing."""
        disk, replicas = (int(answer[0]), int(answer[1])) if self.local_disk else (1, int(answer))
        if disk < 1:
            return "it is not on its disk yet"
        return "" if replicas >= self.replicas else f"{replicas} of {self.replicas} replicas have it"


async def waits_for(client: Any, shown: str, *, strict: bool, replicas: int) -> Waits:
    """Look at how Redis is set and return what must be asked for after each write.

    Raises:
        TocsinError: `strict`, and Redis may lose what it has answered; the sentence says what to change.
        RedisError, OSError: Redis does not answer.
    """
    if not strict:
        return Waits(replicas=replicas)
    found = [await _settings(client, node) for node in await _nodes(client)]
    there = min(int(settings["replicas"]) for settings in found)
    if there < replicas:
        raise TocsinError(
            f"the bus at {shown} has {there} replicas, and {replicas} must have an event before it is answered:"
            " add one, or set TOCSIN_BUS_REPLICAS"
        )
    for settings in found:
        policy = settings.get("maxmemory-policy", "")
        if policy.startswith("allkeys"):
            raise TocsinError(
                f"the bus at {shown} throws keys away when its memory is full (maxmemory-policy {policy}),"
                f" events among them: set it to noeviction, {_RELAX}"
            )
    if all(_is_always(settings) for settings in found):
        return Waits(replicas=replicas)
    if not isinstance(client, RedisCluster) and all(_can_wait(settings) for settings in found):
        return Waits(local_disk=True, replicas=replicas)
    lacking = next(settings for settings in found if not _is_always(settings))
    raise TocsinError(
        f"the bus at {shown} may lose events that were acknowledged ({_said(lacking)}): set appendonly yes and"
        f" appendfsync always there, or use Redis 7.2 or newer with appendonly yes, {_RELAX}"
    )


async def _nodes(client: Any) -> list[Any]:
    if not isinstance(client, RedisCluster):
        return [None]
    return (await client.initialize()).get_primaries()


async def _settings(client: Any, node: Any) -> Mapping[str, str]:
    """Return what a server says of its durability; what may not be asked is left out."""
    where = {} if node is None else {"target_nodes": node}
    info: dict[str, Any] = {}
    for section in ("server", "persistence", "memory", "replication"):
        info |= await client.info(section, **where)
    found = {"version": str(info.get("redis_version", "")), "aof": str(info.get("aof_enabled", ""))}
    found["replicas"] = str(info.get("connected_slaves", 0))
    if "maxmemory_policy" in info:
        found["maxmemory-policy"] = str(info["maxmemory_policy"])
    try:
        for pattern in ("append*", "no-appendfsync-on-rewrite"):
            found |= {str(name): str(value) for name, value in (await client.config_get(pattern, **where)).items()}
    except ResponseError:  # managed ones forbid it
        found["forbidden"] = "CONFIG"
    return found


def _is_always(settings: Mapping[str, str]) -> bool:
    return (
        settings.get("appendonly") == "yes"
        and settings.get("appendfsync") == "always"
        and settings.get("no-appendfsync-on-rewrite") == "no"
    )


def _can_wait(settings: Mapping[str, str]) -> bool:
    numbers = settings["version"].split(".")[:2]
    version = tuple(int(number) for number in numbers) if all(part.isdigit() for part in numbers) else (0,)
    return version >= WAITAOF_SINCE and settings["aof"] == "1"


def _said(settings: Mapping[str, str]) -> str:
    if "forbidden" in settings:
        return f"it does not let CONFIG be read, and is Redis {settings['version']}"
    names = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite")
    return ", ".join(f"{name} {settings.get(name, 'unknown')}" for name in names)

"""Under which names things are judged. A flow that runs by itself is an automation of its own, called `flow/NAME`.

Names of definitions have no `/`, so it is never taken for an automation that somebody wrote.
"""

from __future__ import annotations

from zlib import crc32

from tocsin.schemas.flow import Flow
from tocsin.schemas.trigger import ScheduleTrigger

_PREFIX = "flow/"


def judged_name(kind: str, name: str) -> str:
    """Return the name under which a definition of a kind is judged."""
    return f"{_PREFIX}{name}" if kind == "flow" else name


def written_name(judged: str) -> str:
    """Return the name of the definition that is judged under this name."""
    return judged.removeprefix(_PREFIX)


def shard_of(judged: str, count: int) -> int:
    """Return the shard, one of `count`, in which what has this name is judged: the same in every process, for good."""
    return crc32(judged.encode()) % count


def schedule_of(flow: Flow) -> ScheduleTrigger | None:
    """Return the trigger that a flow's schedule is; None if it has no schedule."""
    if flow.schedule is None:
        return None
    return ScheduleTrigger(type="schedule", **flow.schedule.model_dump())

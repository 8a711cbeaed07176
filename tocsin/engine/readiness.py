"""Whether a process does its work: what its own roles need, and nothing that only others could mend.

A process that takes events is ready while it can store them, though nobody judges: turning senders away would make that
worse. One that judges is ready while it is not late, and while there is a time of the log to judge up to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from tocsin.engine.diagnosis import LATE_US, behind_us
from tocsin.engine.evaluator import Progress
from tocsin.schemas.moments import SECOND, Micros
from tocsin.store.vitals import Vitals

LAG_READY_S = 30.0
"""A process whose judgement is later than this is not ready."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the process does its work, and what is wrong with it.

    `lag_s` is how old the oldest event is that was not judged yet, in seconds; `waiting` how many events wait to be
    stored; `reason` is the first of the `problems`; `definitions` what is wrong with the files on disk, which are not
    in force as they stand then.
    """

    ready: bool
    lag_s: float
    unjudged: int
    waiting: int
    reason: str = ""
    definitions: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inside:
    """What a process knows of itself.

    `progress` is how far its shards are, None while it has none; `trouble` are the reasons for which its parts do not
    work now, empty ones left out by who reads it; `blind_after_us` is that of law S2.
    """

    roles: Collection[str]
    progress: Progress | None
    waiting: int
    trouble: tuple[str, ...]
    blind_after_us: Micros
    definitions: str = ""


def readiness_of(vitals: Vitals, inside: Inside) -> Readiness:
    """Return whether a process is ready, from a look at the database and at itself."""
    judged_seq = inside.progress.seq if inside.progress is not None else vitals.judged_seq
    lag_us = vitals.at_us - vitals.unjudged_us if vitals.unjudged_us is not None and judged_seq < vitals.seq else 0
    problems = [reason for reason in inside.trouble if reason]
    if "evaluator" in inside.roles:
        problems += _judging(vitals, inside, lag_s=lag_us / SECOND)
    if "dispatcher" in inside.roles and vitals.due_us is not None:
        late_s = (vitals.at_us - vitals.due_us) / SECOND
        if late_s > LAG_READY_S:
            problems.append(f"actions are {late_s:.0f} s late")
    return Readiness(
        ready=not problems,
        lag_s=max(0.0, round(lag_us / SECOND, 3)),
        unjudged=max(0, vitals.seq - judged_seq),
        waiting=inside.waiting,
        reason=problems[0] if problems else "",
        definitions=inside.definitions,
        problems=problems,
    )


def _judging(vitals: Vitals, inside: Inside, *, lag_s: float) -> Iterator[str]:
    behind_s = behind_us(vitals) / SECOND
    if inside.progress is not None:
        behind_s = max(lag_s, (vitals.received_us - inside.progress.judged_us) / SECOND)
    if behind_s > LAG_READY_S:
        yield f"judgement is {behind_s:.0f} s late"
    silent_us = vitals.at_us - vitals.received_us
    if vitals.received_us and silent_us > max(inside.blind_after_us, LATE_US):
        yield f"no silence is judged: nobody could take events for {silent_us / SECOND:.0f} s"
    free = [str(shard.shard) for shard in vitals.shards if shard.owner is None]
    if len(vitals.shards) > 1 and free and behind_us(vitals) > LAG_READY_S * SECOND:
        yield f"nobody judges the shards {', '.join(free)}"

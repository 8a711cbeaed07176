"""What is wrong with an engine of one process or many, and what to do about it, from one look at its database.

Rule 1: what is said to be wrong keeps the engine from its work now, and goes away when it is mended. What deserves a
look and may well be as it should is a note.
Rule 2: what passes by itself in a moment (a shard between two owners, a burst) is not said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.schemas.moments import DAY, SECOND, Micros, iso, span
from tocsin.store.vitals import COUNTED_MAX, Vitals

LATE_US: Micros = 10 * SECOND
"""What is judged, or done, later than this is late."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, what was found and, if that is wrong, what to do."""

    what: str
    finding: str
    ok: bool = True


def diagnose(vitals: Vitals, *, blind_after_us: Micros, shared: bool) -> list[Finding]:
    """Return what is found, the processes first; `shared`: several processes may share the database."""
    steps = (_processes, _receiving, _judging, _acting, _running) if shared else (_processes, _judging, _acting)
    found = [finding for step in steps for finding in step(vitals, blind_after_us)]
    return found + list(_notes(vitals))


def _with(vitals: Vitals, role: str) -> int:
    return sum(role in process.roles for process in vitals.processes)


def _processes(vitals: Vitals, _blind_after_us: Micros) -> Iterator[Finding]:
    for process in vitals.processes:
        since = iso(process.started_us)
        yield Finding(
            "process", f"{process.name}: {', '.join(process.roles)}; version {process.version}, since {since}"
        )
    versions = sorted({process.version for process in vitals.processes})
    if len(versions) > 1:
        yield Finding("version", f"{len(versions)} versions run ({', '.join(versions)}): finish the upgrade", ok=False)


def _receiving(vitals: Vitals, blind_after_us: Micros) -> Iterator[Finding]:
    if not _with(vitals, "api"):
        yield Finding("receiving", "no process takes events: start `tocsin serve --roles api`", ok=False)
    bus = any(process.bus for process in vitals.processes)
    if bus and not _with(vitals, "recorder"):
        message = "no process records what is in the bus: start `tocsin serve --roles recorder`"
        yield Finding("receiving", message, ok=False)
    silent_us = vitals.at_us - vitals.received_us
    if not vitals.received_us or silent_us <= blind_after_us:
        return
    if bus:
        message = f"recorders are {_about(silent_us)} behind the bus: see whether it answers, or start another recorder"
    else:
        message = f"nobody could take events for {_about(silent_us)}: see whether a process with the role api answers"
    yield Finding("receiving", f"{message}; no silence is judged meanwhile", ok=False)


def _judging(vitals: Vitals, _blind_after_us: Micros) -> Iterator[Finding]:
    evaluators, shards = _with(vitals, "evaluator"), len(vitals.shards)
    if not evaluators:
        yield Finding("judging", "no process judges: start `tocsin serve --roles evaluator`", ok=False)
        return
    late_us = behind_us(vitals)
    free = [str(shard.shard) for shard in vitals.shards if shard.owner is None] if shards > 1 else []
    if late_us <= LATE_US:
        yield Finding("judging", f"{evaluators} of {shards} possible processes judge, and are not behind")
    elif free:
        message = f"nobody judges the shards {', '.join(free)} for {_about(late_us)}: does every evaluator answer?"
        yield Finding("judging", message, ok=False)
    else:
        mend = (
            "start another `tocsin serve --roles evaluator`" if evaluators < shards
            else "there is one for every shard already, so that more would not help: give them faster processors"
            if shards > 1 else "it has more to judge than it can: see what sends so much"
        )  # fmt: skip
        who = "evaluators are" if evaluators > 1 else "the evaluator is"
        yield Finding("judging", f"{who} {_about(late_us)} behind: {mend}", ok=False)


def behind_us(vitals: Vitals) -> Micros:
    """Return by how much judging is late: of the oldest event that is not judged, or of the first moment.

    A moment is late by the time of the log: while that stands still it is not judged, and that is not judging's fault.
    """
    event_us = 0 if vitals.unjudged_us is None else vitals.at_us - vitals.unjudged_us
    moment_us = 0 if vitals.next_us is None else vitals.received_us - vitals.next_us
    return max(0, event_us, moment_us)


def _acting(vitals: Vitals, _blind_after_us: Micros) -> Iterator[Finding]:
    if not _with(vitals, "dispatcher"):
        yield Finding("acting", "no process dispatches: start `tocsin serve --roles dispatcher`", ok=False)
        return
    late_us = 0 if vitals.due_us is None else vitals.at_us - vitals.due_us
    waiting = _counted(vitals.intents["waiting"], "action")
    if late_us > LATE_US:
        message = f"actions are {_about(late_us)} late ({waiting} wait): start another dispatcher, see what fails"
        yield Finding("acting", message, ok=False)
    else:
        yield Finding("acting", f"{waiting} wait, {_counted(vitals.intents['running'], 'action')} run")


def _running(vitals: Vitals, _blind_after_us: Micros) -> Iterator[Finding]:
    pending = vitals.runs["pending"]
    if pending and not _with(vitals, "worker"):
        message = f"{_counted(pending, 'run')} wait, and no process works: start `tocsin serve --roles worker`"
        yield Finding("running", message, ok=False)


def _notes(vitals: Vitals) -> Iterator[Finding]:
    if dead := vitals.intents["dead"]:
        yield Finding("note", f"{_counted(dead, 'action')} failed for good: see `tocsin actions list --state dead`")
    if vitals.refusals:
        yield Finding("note", f"{vitals.refusals} entries of the bus were no events: see `tocsin.bus.refused` events")
    if vitals.paused:
        yield Finding("note", f"paused queues: {', '.join(vitals.paused)}")
    if vitals.last_outage is not None and vitals.at_us - vitals.last_outage[1] < DAY:
        start_us, end_us = vitals.last_outage
        yield Finding("note", f"the last outage was at {iso(start_us)} and took {_about(end_us - start_us)}")
    yield Finding("database", f"{vitals.size_bytes >> 20:,} MiB, {vitals.seq:,} events so far")


def _about(length_us: Micros) -> str:
    return span(length_us // SECOND * SECOND)


def _counted(count: int, what: str) -> str:
    more = "more than " if count >= COUNTED_MAX else ""
    return f"{more}{count:,} {what}{'' if count == 1 else 's'}"

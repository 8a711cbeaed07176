"""Runs of flows: their states, which state follows which, and the event that each step emits.

    pending -> claimed -> running -> completed
       ^          |          |-----> failed --(retries remain)--> pending, as the next attempt
       |-(release)+          |-----> crashed    the worker or its server went away
       |                     '-----> cancelled

`claimed` is a run that a worker has taken and whose process has not begun: it can be handed back without a trace.
What is not begun yet can also fail (it can not be started) or be cancelled. A crash is never retried by itself:
nobody knows how far the run came; an automation on `flow-run.crashed` can start it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

from tocsin.schemas.event import Event
from tocsin.schemas.moments import SECOND, Micros, iso

DEFAULT_QUEUE = "default"
"""The queue of a flow that names none; a queue that is not declared has its concurrency."""


class RunState(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    CLAIMED = "claimed"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[RunState, frozenset[RunState]] = MappingProxyType({
    RunState.PENDING: frozenset({RunState.CLAIMED, RunState.CANCELLED}),
    RunState.CLAIMED: frozenset({RunState.PENDING, RunState.RUNNING, RunState.FAILED, RunState.CANCELLED}),
    RunState.RUNNING: frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.CANCELLED}),
    RunState.COMPLETED: frozenset(),
    RunState.FAILED: frozenset({RunState.PENDING}),
    RunState.CRASHED: frozenset(),
    RunState.CANCELLED: frozenset(),
})  # fmt: skip
"""The states that may follow each state; anything else is an `IllegalTransition`."""

HELD = frozenset({RunState.CLAIMED, RunState.RUNNING})
"""The states in which a run belongs to a worker and takes a place in its queue."""

ENDED = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.CANCELLED})
"""The states in which nothing more happens by itself (a failed run with retries left goes on to `pending` at once)."""


JSON_BYTES = 60_000
"""The largest parameters, and the largest result: they fit into an environment variable and into an event."""

JSON_DEPTH = 50


def json_text(value: object) -> str:
    """Return parameters or a result as JSON text.

    Raises:
        ValueError: it is not JSON, larger than `JSON_BYTES` or nested deeper than `JSON_DEPTH`; how to mend it.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if size > JSON_BYTES:
        raise ValueError(f"takes {size} bytes as JSON, more than {JSON_BYTES}: pass a reference to the data instead")
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
        if depth > JSON_DEPTH:
            raise ValueError(f"is nested deeper than {JSON_DEPTH} levels: pass it as text instead")
    return text


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended: the state it ends in, why in one sentence, and what the process left behind.

    `exit_status` is negative when a signal ended the process; `error` holds the last lines of the output.
    """

    state: RunState
    reason: str
    exit_status: int | None = None
    error: str = ""
    result: JsonValue = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a flow, in its present attempt.

    `process` names the process of a running attempt, `owner` the worker that holds it. `chain` names the automations
    that led to it, the one that asked for it last (law F5). `detail` keeps how earlier attempts ended, the result, and
    who asked to cancel.
    """

    n: int
    id: str
    flow: str
    queue: str
    state: RunState
    parameters: dict[str, JsonValue]
    attempt: int
    not_before_us: Micros
    created_us: Micros
    started_us: Micros | None = None
    ended_us: Micros | None = None
    owner: str | None = None
    leased_until_us: Micros | None = None
    process: str | None = None
    automation: str | None = None
    firing: str | None = None
    chain: tuple[str, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def cancelled_by(self) -> str | None:
        """Who asked to cancel the run, or None."""
        by: str | None = self.detail.get("cancelled_by")
        return by

    @property
    def attempts(self) -> list[dict[str, JsonValue]]:
        """How the attempts so far ended, oldest first."""
        found: list[dict[str, JsonValue]] = self.detail.get("attempts", [])
        return found

    def document(self) -> dict[str, Any]:
        """Return the run as the API shows it, with how the newest attempt ended."""
        last: dict[str, Any] = dict(self.attempts[-1]) if self.attempts else {}
        return {"id": self.id, "flow": self.flow, "queue": self.queue, "state": self.state.value,
                "attempt": self.attempt, "parameters": self.parameters, "created": iso(self.created_us),
                "not_before": iso(self.not_before_us), "started": iso(self.started_us), "ended": iso(self.ended_us),
                "reason": last.get("reason"), "exit_status": last.get("exit_status"), "error": last.get("error"),
                "duration_s": last.get("duration_s"), "result": self.detail.get("result"),
                "cancelled_by": self.cancelled_by, "automation": self.automation, "firing": self.firing,
                "chain": list(self.chain), "owner": self.owner}  # fmt: skip


def attempt_document(run: Run, ending: Ending, *, ended_us: Micros) -> dict[str, JsonValue]:
    """Return what is kept about an attempt that ended."""
    duration_s = None if run.started_us is None else (ended_us - run.started_us) / SECOND
    return {"attempt": run.attempt, "state": ending.state.value, "reason": ending.reason,
            "exit_status": ending.exit_status, "error": ending.error, "started": iso(run.started_us),
            "ended": iso(ended_us), "duration_s": duration_s}  # fmt: skip


def run_event(run: Run, *, follows: RunState | None, retry_at_us: Micros | None = None) -> Event:
    """Return the event that says that a run has come into its present state.

    Its id is made of run, attempt and state, so that one step never makes two. `follows` is the state before; where
    a retry follows, `retry_at_us` says when.
    """
    payload: dict[str, JsonValue] = {"attempt": run.attempt, "parameters": run.parameters}
    if run.state in ENDED:
        last = run.attempts[-1]
        payload |= {name: last[name] for name in ("reason", "exit_status", "error", "duration_s")}
        payload |= {"result": run.detail.get("result"), "retry_at": iso(retry_at_us)}
    resource = {"id": f"flow-run/{run.id}", "flow": run.flow, "queue": run.queue, "state": run.state.value}
    related = [{"id": f"flow/{run.flow}", "role": "flow"}, {"id": f"queue/{run.queue}", "role": "queue"}]
    if run.automation is not None:
        related.append({"id": f"automation/{run.automation}", "role": "automation"})
    return Event(
        event=f"flow-run.{run.state}",
        resource=resource | {"attempt": str(run.attempt)},
        related=related,
        payload=payload,
        id=_event_id(run, run.state, run.attempt),
        source="tocsin",
        follows=_event_id(run, follows, run.attempt - (follows is RunState.FAILED)) if follows else None,
    )


def _event_id(run: Run, state: RunState, attempt: int) -> str:
    # What was never seen as claimed was pending to everybody else.
    told = RunState.PENDING if state is RunState.CLAIMED else state
    return f"flow-run/{run.id}/{attempt}/{told}"

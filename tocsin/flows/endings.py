"""How attempts end: what is recorded, in which words, and when a failed one is tried again. Pure."""

from __future__ import annotations

import signal
from datetime import timedelta

from pydantic import JsonValue

from tocsin.schemas.flow import Flow
from tocsin.schemas.moments import DAY, Micros, duration_us, span
from tocsin.schemas.run import Ending, Run, RunState

STOPPED = Ending(RunState.CRASHED, "server stopped")
"""The ending of what still runs when the server has to stop."""

_RETRY_DELAY_MAX = DAY
_SHELL_SAYS = {126: "the command can not be executed", 127: "the command was not found"}


def cancelled(by: str) -> Ending:
    """Return the ending of a run that somebody asked to cancel while it ran."""
    return Ending(RunState.CANCELLED, f"cancelled by {by}")


def timed_out(timeout: timedelta) -> Ending:
    """Return the ending of an attempt that took too long."""
    return Ending(RunState.FAILED, f"took longer than its timeout of {span(duration_us(timeout))}")


def undeclared(flow: str) -> Ending:
    """Return the ending of a run whose flow was removed while it waited."""
    return Ending(RunState.FAILED, f"there is no flow {flow!r} any more: declare it and start another run")


def unstartable(error: Exception) -> Ending:
    """Return the ending of an attempt that could not begin."""
    return Ending(RunState.FAILED, f"could not be started: {error}")


def abandoned(run: Run) -> Ending:
    """Return the ending of a run whose worker went away while it ran, as it was cancelled or by itself."""
    host, pid, _ = (run.owner or "::").split(":", 2)
    if run.cancelled_by is not None:
        return Ending(RunState.CANCELLED, f"cancelled by {run.cancelled_by}; its server went away before")
    return Ending(RunState.CRASHED, f"its server (process {pid} on {host}) went away while it ran")


def natural(status: int, *, raised: str | None, result: JsonValue) -> Ending:
    """Return the ending of a process that ended by itself; a negative status is a signal's number."""
    if status == 0:
        return Ending(RunState.COMPLETED, "completed", exit_status=0, result=result)
    if status < 0:
        return Ending(RunState.FAILED, f"ended by {_signal(-status)}", exit_status=status)
    said = _SHELL_SAYS.get(status)
    reason = raised or f"exit status {status}" + (f": {said}" if said else "")
    return Ending(RunState.FAILED, reason, exit_status=status)


def retry_delay_us(flow: Flow, attempt: int) -> Micros | None:
    """Return how long to wait after this attempt failed, None if it was the last: the delay doubles, up to a day."""
    if attempt > flow.retries:
        return None
    return min(duration_us(flow.retry_delay) << min(attempt - 1, 40), _RETRY_DELAY_MAX)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

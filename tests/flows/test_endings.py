"""The words in which attempts end, and the delays of retries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tocsin.flows import endings
from tocsin.schemas.flow import Flow
from tocsin.schemas.moments import DAY, SECOND
from tocsin.schemas.run import Run, RunState


@pytest.mark.parametrize(
    ("status", "raised", "state", "reason"),
    [
        (0, None, "completed", "completed"),
        (0, "ignored", "completed", "completed"),
        (1, None, "failed", "exit status 1"),
        (1, "ValueError: no", "failed", "ValueError: no"),
        (126, None, "failed", "exit status 126: the command can not be executed"),
        (127, None, "failed", "exit status 127: the command was not found"),
        (-15, None, "failed", "ended by SIGTERM"),
        (-250, None, "failed", "ended by signal 250"),
    ],
)
def test_how_a_process_ended_by_itself_is_said_in_words(
    status: int, raised: str | None, state: str, reason: str
) -> None:
    ending = endings.natural(status, raised=raised, result=None)
    assert (ending.state, ending.reason, ending.exit_status) == (state, reason, status)


def test_the_delay_of_retries_doubles_up_to_a_day_and_retries_end() -> None:
    flow = Flow(name="f", command=["true"], retries=60, retry_delay="10s")
    delays = [endings.retry_delay_us(flow, attempt) for attempt in (1, 2, 3, 20, 60, 61)]
    assert delays == [10 * SECOND, 20 * SECOND, 40 * SECOND, DAY, DAY, None]


def test_an_abandoned_run_crashes_unless_it_was_to_be_cancelled() -> None:
    run = Run(1, "r1", "f", "q", RunState.RUNNING, {}, 1, 0, 0, owner="web-1:12:boot/3")
    crashed = endings.abandoned(run)
    assert (crashed.state, crashed.reason) == ("crashed", "its server (process 12 on web-1) went away while it ran")
    assert endings.abandoned(replace(run, detail={"cancelled_by": "api"})).state is RunState.CANCELLED

"""The course of one attempt, from its claim to its record: started behind a gate, recorded, let go, watched, ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from tocsin.errors import TocsinError
from tocsin.flows import endings
from tocsin.flows.attempt import Attempt
from tocsin.flows.launch import Launch, Surroundings
from tocsin.flows.output import Output
from tocsin.flows.records import Records
from tocsin.schemas.flow import Flow
from tocsin.schemas.run import Ending, Run, RunState


class Course:
    """A run that this worker has claimed; `go` follows it to its end."""

    def __init__(
        self, run: Run, flow: Flow | None, *, surroundings: Surroundings, records: Records, grace_s: float
    ) -> None:
        """Prepare the course; make it inside of the event loop."""
        self.run = run
        self.may_begin = True
        self._flow = flow
        self._surroundings = surroundings
        self._records = records
        self._grace_s = grace_s
        self._order: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()

    def tell(self, ending: Ending | None) -> None:
        """Have the process end now, to be recorded with this ending; None: it belongs to somebody else by now."""
        if not self._order.done():
            self._order.set_result(ending)

    async def go(self) -> None:
        """Start the run, wait for its end and record it. A run that does not begin is left claimed."""
        flow = self._flow
        if flow is None:
            await self._records.finish(self.run, endings.undeclared(self.run.flow))
            return
        ending: Ending | None
        try:
            launch, output = await asyncio.to_thread(self._prepare, flow)
            attempt = Attempt(launch, output)
            process = await attempt.spawn()
        except (TocsinError, OSError, ValueError) as error:
            ending = endings.unstartable(error)
        else:
            outcome = await self._carry_out(attempt, str(process), flow)
            ending = await asyncio.to_thread(_ending, outcome, launch, output)
        if ending is not None:
            again = ending.state is RunState.FAILED
            delay_us = endings.retry_delay_us(flow, self.run.attempt) if again else None
            await self._records.finish(self.run, ending, retry_delay_us=delay_us)

    def _prepare(self, flow: Flow) -> tuple[Launch, Output]:
        launch = self._surroundings.launch(self.run, flow)
        launch.clear()
        title = f"run {self.run.id}, attempt {self.run.attempt}"
        return launch, Output(launch.log, title, secrets=launch.secrets)

    async def _carry_out(self, attempt: Attempt, process: str, flow: Flow) -> int | Ending | None:
        """Let the process begin once it is on record, and return its outcome; None if there is nothing to record."""
        outcome: int | Ending | None = None
        if self.may_begin and await self._records.start(self.run, process):
            attempt.open_gate()
            outcome = await self._watch(attempt, flow)
        else:
            attempt.refuse()
        await attempt.close(grace_s=self._grace_s)
        return outcome

    async def _watch(self, attempt: Attempt, flow: Flow) -> int | Ending | None:
        """Return the exit status of a process that ended by itself, else the ending it was given."""
        ended = asyncio.ensure_future(attempt.ended())
        waited: set[asyncio.Future[Any]] = {ended, self._order}
        await asyncio.wait(waited, timeout=flow.timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return ended.result()
        ended.cancel()  # nobody asks for its status any more
        await attempt.end(grace_s=self._grace_s)
        return self._order.result() if self._order.done() else endings.timed_out(flow.timeout)


def _ending(outcome: int | Ending | None, launch: Launch, output: Output) -> Ending | None:
    if outcome is None:
        return None
    result, raised = launch.told()
    ending = endings.natural(outcome, raised=raised, result=result) if isinstance(outcome, int) else outcome
    return ending if ending.state is RunState.COMPLETED else replace(ending, error=output.tail())

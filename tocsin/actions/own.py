"""Effects inside our own database: each is a unit that shares a transaction with the record of its outcome."""

from __future__ import annotations

from pydantic import ValidationError

from tocsin.actions.call import Call
from tocsin.actions.ports import Unit
from tocsin.errors import ActionFailed
from tocsin.schemas.action import (
    CancelRun,
    EmitEvent,
    PauseAutomation,
    PauseFlow,
    PauseQueue,
    ResumeAutomation,
    ResumeFlow,
    ResumeQueue,
    RunFlow,
)
from tocsin.schemas.event import RESERVED, Event


async def run_flow(spec: RunFlow, call: Call) -> Unit:
    """Start a run of a flow, whose id is the idempotency key: one effect starts one run."""
    parameters = call.plain(spec.parameters)
    return call.ports.runs.start(spec.flow, run_id=call.key, parameters=parameters, cause=call.cause)


async def cancel_run(spec: CancelRun, call: Call) -> Unit:
    """Cancel a run of a flow."""
    return call.ports.runs.cancel(call.text(spec.run), cause=call.cause)


async def pause_queue(spec: PauseQueue, call: Call) -> Unit:
    """Start no more runs from a queue."""
    return call.ports.queues.pause(call.text(spec.queue), cause=call.cause)


async def resume_queue(spec: ResumeQueue, call: Call) -> Unit:
    """Start runs from a paused queue again."""
    return call.ports.queues.resume(call.text(spec.queue), cause=call.cause)


async def pause_automation(spec: PauseAutomation, call: Call) -> Unit:
    """Pause an automation (law S4)."""
    return call.ports.automations.pause(call.text(spec.automation), cause=call.cause)


async def resume_automation(spec: ResumeAutomation, call: Call) -> Unit:
    """Resume a paused automation (law S4)."""
    return call.ports.automations.resume(call.text(spec.automation), cause=call.cause)


async def pause_flow(spec: PauseFlow, call: Call) -> Unit:
    """Pause a flow's schedule."""
    return call.ports.flows.pause(call.text(spec.flow), cause=call.cause)


async def resume_flow(spec: ResumeFlow, call: Call) -> Unit:
    """Resume a flow's schedule."""
    return call.ports.flows.resume(call.text(spec.flow), cause=call.cause)


async def emit_event(spec: EmitEvent, call: Call) -> Unit:
    """Emit an event with the chain that led to it (law F5); its id is the idempotency key."""
    name = call.text(spec.event)
    if name.startswith(RESERVED):
        raise ActionFailed(f"the event's name came out as {name!r}: such names are the engine's own", permanent=True)
    try:
        event = Event(
            event=name,
            resource={label: call.text(value) for label, value in spec.resource.items()},
            related=[{label: call.text(value) for label, value in labels.items()} for labels in spec.related],
            payload=call.plain(spec.payload),
            id=call.key,
            source=call.cause.by,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ActionFailed(f"the event came out wrong: {field}: {first['msg']}", permanent=True) from None
    return call.ports.events.emit(event, chain=call.cause.chain, trace=str(call.span))

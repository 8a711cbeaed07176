"""The table of kinds of effect. A new kind is one function and one line.

A handler performs an effect outside and returns what its record keeps, or it returns a `Unit`: an effect inside our
own database, which is then performed together with its record. It raises ActionFailed when the effect did not happen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from tocsin.actions.call import Call
from tocsin.actions.notification import send_notification
from tocsin.actions.own import (
    cancel_run,
    emit_event,
    pause_automation,
    pause_flow,
    pause_queue,
    resume_automation,
    resume_flow,
    resume_queue,
    run_flow,
)
from tocsin.actions.ports import Details, Unit
from tocsin.actions.server_log import write_log
from tocsin.actions.webhook import call_webhook
from tocsin.schemas import action

Handler: TypeAlias = Callable[[Any, Call], Awaitable[Details | Unit]]

HANDLERS: Mapping[type[action.ActionSpec], Handler] = MappingProxyType({
    action.CallWebhook: call_webhook,
    action.SendNotification: send_notification,
    action.RunFlow: run_flow,
    action.CancelRun: cancel_run,
    action.PauseQueue: pause_queue,
    action.ResumeQueue: resume_queue,
    action.PauseAutomation: pause_automation,
    action.ResumeAutomation: resume_automation,
    action.PauseFlow: pause_flow,
    action.ResumeFlow: resume_flow,
    action.EmitEvent: emit_event,
    action.Log: write_log,
})  # fmt: skip
"""What performs each kind of action."""

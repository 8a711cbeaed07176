"""Every event that tocsin itself emits, made by the code that emits it, for one made-up firing and one made-up run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from docs.generate.markdown import block, code, page, table
from tocsin.engine import outcomes, own_events
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Firing, Verdict
from tocsin.schemas.moments import MINUTE, SECOND, to_micros
from tocsin.schemas.run import TRANSITIONS, Ending, Run, RunState, attempt_document, run_event
from tocsin.schemas.source import CheckinSource
from tocsin.sources.checkin import checkin
from tocsin.sources.github import SUBJECTS
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request
from tocsin.store import queues
from tocsin.store.intents import Attempt, AttemptOutcome, Intent, IntentState

INTRODUCTION = """\
What tocsin does is in the same log as everything else, so automations can watch the watchman. A bare `"*"` does not
match names that start with `tocsin.` (law F5); a written one, `tocsin.action.failed`, or a pattern such as `*.failed`
does. No sender may use such names."""

_AT = to_micros(datetime(2026, 3, 2, 8, 10, tzinfo=UTC))
_FIRING = Firing(
    id="5c0e9a52-6f2e-5d0b-9a44-3d9f2f5a7c11",
    automation="tables-by-nine",
    node="0123456789abcdef",
    state_key="",
    labels={"table": "table/sales"},
    verdict=Verdict.MISSED,
    at_us=_AT,
    time_us=_AT - 10 * MINUTE,
    due_us=_AT - 10 * MINUTE,
    reason="expected table.updated for table=table/sales ...",
)
_RESOLVED = replace(_FIRING, verdict=Verdict.RESOLVED, due_us=None, reason="... seen again", resolves=(_FIRING.id,))
_INTENT = Intent(
    id="9b1f2c1e-52a4-5b0e-8f6f-0c6a4e1d2b3a", firing=_FIRING.id, automation=_FIRING.automation, position=0,
    type="send-notification", spec="{}", attempts=0, created_us=_AT,
)  # fmt: skip
_RUN = Run(
    n=1, id="3f9d2a70-1111-7000-8000-000000000001", flow="backfill", queue="nightly", state=RunState.PENDING,
    parameters={"table": "table/sales"}, attempt=1, not_before_us=_AT, created_us=_AT, started_us=_AT,
    automation=_FIRING.automation, firing=_FIRING.id,
)  # fmt: skip

_RUN_STATES = {
    RunState.PENDING: "A run waits in its queue: it was asked for, or a failed one will be tried again.",
    RunState.RUNNING: "Its process has begun.",
    RunState.COMPLETED: "It ended with exit status 0.",
    RunState.FAILED: "It ended otherwise, took longer than its `timeout`, or could not be started.",
    RunState.CRASHED: "The worker, or its server, went away; nobody knows how far the run came. It is not retried.",
    RunState.CANCELLED: "Somebody, or an automation, cancelled it.",
}


def events_page() -> str:
    """Return the page."""
    parts = [INTRODUCTION, "## Judgement and actions", *_judgement()]
    parts += ["## Flow runs", "Source `tocsin`; `for_each: [flow]` or `[queue]` makes a key.", *_runs()]
    parts += ["## Queues", *_queues()]
    parts += ["## Check-ins", "Emitted for `type: checkin` sources when somebody calls `/ping/KEY`.", _checkins()]
    parts += ["## GitHub", GITHUB, _github()]
    return page("Events that tocsin emits", *parts)


def _judgement() -> list[str]:
    # The names are private where they are used; here is the one place that shows what they make.
    failed = {"reason": "chat.example.org answered 503 Service Unavailable"}
    told = own_events.loop_stopped(replace(_FIRING, chain=("tables-by-nine",) * 3), most=3)
    wrong = own_events.failed("tables-by-nine", what="event", reason="the judge failed on it")
    return [
        _shown("An automation fired: `fired`, `missed`, `late` or `unknown`, in the label `verdict`.",
               own_events.fired(_FIRING, severity="high", mode="live").event),
        _shown("A missed key is back.", own_events.fired(_RESOLVED, severity="high", mode="live").event),
        _shown("An automation has led to itself too often and was stopped (law F5).", told.event),
        _shown("An event or a state was set aside for this automation, because judging it failed (law S5).",
               wrong.event),
        _shown("An action was performed.", _ended(IntentState.SUCCEEDED, {"channel": "oncall", "status": 200})),
        _shown("An action failed for good; `tocsin actions retry` attempts it again.",
               _ended(IntentState.DEAD, failed)),
        _shown("Other definitions are in force from here on.",
               own_events.definitions_changed({"added": ["automation/tables-by-nine"]}).event),
        _shown("The database was restored from a backup (`tocsin db restored`).", own_events.restored(4711).event),
    ]  # fmt: skip


def _ended(state: IntentState, detail: Mapping[str, object]) -> Event:
    attempt = Attempt(_INTENT.id, state, AttemptOutcome.SUCCEEDED, started_us=_AT, ended_us=_AT, detail=detail)
    return outcomes._told(outcomes.Outcome(_INTENT, _FIRING, attempt)).event  # noqa: SLF001


def _runs() -> list[str]:
    states = [state for state in TRANSITIONS if state in _RUN_STATES]
    rows = [(code(f"flow-run.{state}"), _RUN_STATES[state]) for state in states]
    ending = Ending(RunState.FAILED, "the exit status is 1", exit_status=1, error="KeyError: 'region'")
    ended = attempt_document(_RUN, ending, ended_us=_AT + 12 * SECOND)
    failed = replace(_RUN, state=RunState.FAILED, detail={"attempts": [ended]})
    return [table(("event", "when"), rows), _example(run_event(failed, follows=RunState.RUNNING))]


def _queues() -> list[str]:
    by = f"automation/{_FIRING.automation}"
    paused, resumed = (queues._event(f"queue.{what}", "nightly", by) for what in ("paused", "resumed"))  # noqa: SLF001
    return [
        _shown("A queue starts nothing more; `by` says who did that.", paused),
        _shown("It starts runs again.", resumed),
    ]


def _checkins() -> str:
    spec, parser = CheckinSource(name="backup", type="checkin"), NativeParser(Limits())
    calls = {"": "/ping/backup", "start": "/ping/backup/start", "fail": "/ping/backup/fail", "7": "/ping/backup/7"}
    rows = []
    for signal, address in calls.items():
        (event,) = checkin(spec, signal, Request("backup", query={"rid": "42"}), parser=parser)
        rows.append((code(address), code(event.event), _labels(event), code(json.dumps(event.payload))))
    return table(("call", "event", "labels with `?rid=42`", "payload"), rows)


GITHUB = """\
`recipe: github` turns a delivery into `github.EVENT.ACTION`, for example `github.workflow_run.completed`. All carry the
labels `repository` and `action`; the whole delivery is the payload. Other kinds than these are about the repository."""


def _github() -> str:
    rows = (
        (code(f"github.{kind}.*"), code(f"github/OWNER/REPO/{subject.path}"), ", ".join(map(code, subject.labels)))
        for kind, subject in SUBJECTS.items()
    )
    return table(("event", "resource id", "labels"), rows)


def _labels(event: Event) -> str:
    return " ".join(code(f"{name}={value}") for name, value in event.resource.items())


def _shown(when: str, event: Event) -> str:
    return f"### {event.event}\n\n{when}\n\n{_example(event)}"


def _example(event: Event) -> str:
    document = event.model_dump(mode="json", include={"event", "resource", "related", "payload"})
    return block(json.dumps(document, indent=2, ensure_ascii=False), "json")

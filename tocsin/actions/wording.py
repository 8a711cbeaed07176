"""What people are told when a definition does not say: what, since when, why, what was expected, and who can help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from tocsin.actions.call import Call
from tocsin.schemas.firing import Firing, Verdict

_WORDS: Mapping[Verdict, str] = MappingProxyType({
    Verdict.FIRED: "fired",
    Verdict.MISSED: "missed",
    Verdict.LATE: "late",
    Verdict.UNKNOWN: "not known",
    Verdict.RESOLVED: "resolved",
})  # fmt: skip
_LABELS = 3  # shown in a title


def usual_title(firing: Firing) -> str:
    """Return one line: `host-is-silent: web-1 missed`."""
    values = [value for value in firing.labels.values() if value]
    about = ", ".join(values[:_LABELS]) + (" …" if len(values) > _LABELS else "")
    word = f"still {_WORDS[firing.verdict]}" if firing.repeat else _WORDS[firing.verdict]
    return f"{firing.automation}: {about} {word}" if about else f"{firing.automation}: {word}"


def usual_body(call: Call) -> str:
    """Return the reason in a sentence, and below it a line for each of the rest that there is."""
    return "\n".join([call.firing.reason, *(f"{name}: {text}" for name, text in _rest(call) if text)])


def _rest(call: Call) -> Iterator[tuple[str, str]]:
    known = call.variables
    firing, automation = known["firing"], known["automation"]
    yield "What for", automation["description"]
    yield "Expected", _expected(call.automation.get("trigger") or {})
    yield "Due", _moment(firing["due"])
    yield "Since", _moment(firing["window"][0] if firing["window"] else known["events"][0]["occurred"]
                           if known["events"] else None)  # fmt: skip
    yield "Judged", _moment(firing["at"])
    yield "Severity", automation["severity"]
    yield "Owner", automation["owner"]
    yield "Runbook", automation["runbook"]


def _expected(trigger: Mapping[str, Any]) -> str:
    """Return what a trigger about silence waits for, as it is written; nothing for any other."""
    names = trigger.get("expect")
    if not names or (trigger.get("posture") != "Proactive" and trigger.get("type") != "deadline"):
        return ""
    threshold = trigger.get("threshold", 1)
    said = [f"{threshold} times"] if threshold > 1 else []
    said.append(_any_of(names))
    if "due" in trigger:
        said.append(f"by {trigger['due']} ({trigger.get('timezone', 'UTC')})")
    if "within" in trigger:
        said.append(f"within {trigger['within']}")
    if trigger.get("after"):
        said.append(f"of {_any_of(trigger['after'])}")
    return " ".join(said)


def _any_of(names: str | Sequence[str]) -> str:
    """Return event names as a sentence has them; a single one may stand without a list around it."""
    return names if isinstance(names, str) else " or ".join(names)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(sep=" ", timespec="seconds")

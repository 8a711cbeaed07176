"""Every HTTP call, from the server's own OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from docs.generate.markdown import code, page, table
from tocsin.api.metrics import Answered
from tocsin.api.rest import rest
from tocsin.api.stream import Bell
from tocsin.app import App

INTRODUCTION = """\
The server describes itself at `/openapi.json`, and at `/docs` for browsers. Lists answer
`{"items": [...], "next": cursor or null}`; give `next` as `cursor` to go on. An error answers
`{"error": "one sentence", "errors": [{"index": 0, "field": "resource.id", "message": "..."}]}`.

When a token is set, every call under `/api` needs `Authorization: Bearer TOKEN`. `/hooks` and `/ping` need no token:
a webhook source verifies by its own secret, and who knows a key may check in."""

SECTIONS = {
    "ingest": "Sending events", "events": "Events", "automations": "Automations", "firings": "Firings",
    "actions": "Actions", "flows": "Flows", "runs": "Runs", "queues": "Queues",
}  # fmt: skip


def http_page() -> str:
    """Return the page."""
    calls: dict[str, list[str]] = {}
    for path, methods in rest(cast(App, None), cast(Bell, None), cast(Answered, None)).openapi()["paths"].items():
        for method, call in methods.items():
            tag = (call.get("tags") or ["server"])[0]
            calls.setdefault(SECTIONS.get(tag, "The server itself"), []).append(_call(f"{method.upper()} {path}", call))
    order = [*SECTIONS.values(), "The server itself"]
    parts = [text for title in order if title in calls for text in (f"## {title}", *calls[title])]
    return page("HTTP", INTRODUCTION, *parts)


def _call(title: str, call: Mapping[str, Any]) -> str:
    told = call.get("description") or call["summary"]
    rows = [(code(one["name"]), one["in"], _about(one)) for one in call.get("parameters", ())]
    body = call.get("requestBody", {}).get("content", {})
    kinds = f"Body: {', '.join(map(code, body))}." if body else ""
    parts = [f"### {title}", " ".join(told.split()), kinds, table(("parameter", "in", "meaning"), rows)]
    return "\n\n".join(filter(None, [*parts, f"Answers: {', '.join(call['responses'])}."]))


def _about(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", {})
    default = schema.get("default")
    text = parameter.get("description") or schema.get("description") or ""
    return text if default is None else f"{text} Default {default}.".strip()

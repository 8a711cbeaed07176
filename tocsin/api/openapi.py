"""The description of the API: what FastAPI knows, and the calls in front of it that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from tocsin.schemas.event import Event

_JSON = "application/json"
_REF = {"$ref": "#/components/schemas/Event"}


def described(api: FastAPI) -> None:
    """Have the application's description also name the ingest calls, tokens and errors."""
    generate: Callable[[], dict[str, Any]] = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            _complete(generate())
        return generate()

    api.openapi = openapi  # type: ignore[method-assign]


def _complete(schema: dict[str, Any]) -> None:
    for path, calls in _ingest_paths().items():
        schema["paths"].setdefault(path, {}).update(calls)
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Event"] = Event.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["Errors"] = _ERRORS
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}, {}]


def _ingest_paths() -> dict[str, dict[str, Any]]:
    """Return what OpenAPI says about the calls that bring events."""
    batch = {"oneOf": [_REF, {"type": "array", "items": _REF}]}
    any_type: dict[str, Any] = {"schema": {}}
    native = {
        _JSON: {"schema": batch},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One event a line."}},
        "application/cloudevents+json": any_type,
        "application/cloudevents-batch+json": any_type,
    }
    events = _call(
        "send_events",
        "Send events: one, an array, lines, or CloudEvents. All of them are kept, or none.",
        body=native,
        errors=(400, 401, 403, 408, 413, 415, 422, 429, 503),
    )
    hook = _call(
        "receive_webhook",
        "What a webhook source receives.",
        body={"*/*": any_type},
        errors=(400, 401, 404, 408, 413, 415, 422, 429, 503),
        parameters=[_in_path("source", "The name of the source.")],
    )
    paths = {"/api/events": {"post": events}, "/hooks/{source}": {"post": hook}}
    key, signal = _in_path("key", "The key of the check-in."), _in_path("signal", "`start`, `fail` or an exit status.")
    for path, parameters in (("/ping/{key}", [key]), ("/ping/{key}/{signal}", [key, signal])):
        paths[path] = {
            method: _call(
                f"check_in_{method}{'_signal' if signal in parameters else ''}",
                "Check in: it went well, it started, it failed, or how it ended.",
                body={"text/plain": any_type} if method == "post" else None,
                errors=(404, 408, 413, 415, 422, 429, 503),
                parameters=[*parameters, _RID],
            )
            for method in ("get", "post")
        }
    return paths


def _call(
    name: str,
    summary: str,
    *,
    body: dict[str, Any] | None,
    errors: tuple[int, ...],
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    refusal = {"description": "Refused; nothing was kept.", "content": {_JSON: {"schema": {"$ref": _ERRORS_REF}}}}
    call: dict[str, Any] = {
        "operationId": name,
        "tags": ["ingest"],
        "summary": summary,
        "parameters": parameters or [],
        "responses": {"202": _RECEIPT, **{str(status): refusal for status in errors}},
    }
    if body is not None:
        call["requestBody"] = {"content": body}
    return call


def _in_path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


_RID = {"name": "rid", "in": "query", "description": "Tells runs apart.", "schema": {"type": "string"}}
_ERRORS_REF = "#/components/schemas/Errors"
_ERRORS = {
    "type": "object",
    "required": ["error", "errors"],
    "properties": {
        "error": {"type": "string", "description": "What is wrong, in one sentence."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": ["integer", "null"], "description": "Which event of the batch."},
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
_RECEIPT = {
    "description": "The events are safe.",
    "content": {
        _JSON: {
            "schema": {
                "type": "object",
                "required": ["accepted", "duplicates", "ids"],
                "properties": {
                    "accepted": {"type": "integer"},
                    "duplicates": {"type": ["integer", "null"], "description": "How many were known already."},
                    "ids": {"type": "array", "items": {"type": "string"}, "description": "In the order sent."},
                },
            }
        }
    },
}

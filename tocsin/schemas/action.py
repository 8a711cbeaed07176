"""What an automation does: one frozen spec for each type of action.

A spec says what is wanted; the room `actions` does it. The fields named in `templated` are templates, in their
whole structure.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from tocsin.schemas.event import RESERVED
from tocsin.schemas.moments import Duration
from tocsin.schemas.secret import Secret, TextOrSecret
from tocsin.schemas.spec import JMESPath, Spec, Text, with_id, with_id_and_role

HEADERS_THAT_ARE_SECRET = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)
"""Headers whose value is a secret, in lower case."""


class Retry(Spec):
    """How often an effect is attempted, and how long to wait in between."""

    attempts: int = Field(8, ge=1, le=100, description="The most attempts, the first one included.")
    delay: Duration = Field(timedelta(seconds=2), description="The wait before the second attempt; it doubles after.")
    max_delay: Duration = Field(timedelta(minutes=10), description="The longest wait between two attempts.")

    @model_validator(mode="after")
    def _delays_in_order(self) -> Retry:
        if self.delay > self.max_delay:
            raise ValueError("`delay` is longer than `max_delay`: make `max_delay` at least as long")
        return self


class ActionSpec(Spec):
    """What all actions take."""

    templated: ClassVar[tuple[str, ...]] = ()

    retry: Retry = Field(Retry(), description="How often to try again when the effect did not happen.")
    timeout: Duration = Field(timedelta(seconds=10), description="How long one attempt may take.")
    condition: JMESPath | None = Field(
        None, alias="if", description="JMESPath over what templates see; the action is skipped unless it is true."
    )

    @field_validator("timeout")
    @classmethod
    def _some_time(cls, timeout: timedelta) -> timedelta:
        if not timeout:
            raise ValueError("is 0: give the action some time, for example 10s")
        return timeout


def is_template(text: str) -> bool:
    """Return whether the text is more than plain text: a Jinja2 template."""
    return "{{" in text or "{%" in text or "{#" in text


def check_url(url: str) -> str:
    """Refuse what is not the address of a web server, and one that holds a password.

    Raises:
        ValueError: says what is wrong and how to mend it, without repeating a password.
    """
    if is_template(url) and not url.lower().startswith(("http://", "https://")):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not an address: write https://host/path") from None
    if "@" in parts.netloc:
        raise ValueError("holds a user or password: leave them out, send them as a header from a secret")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is not the address of a web server: write https://host/path")
    return url


def check_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """Refuse header names and values that can not be sent, and secrets that are written out.

    Raises:
        ValueError: says which header is wrong and how to mend it, without repeating its value.
    """
    for name, value in headers.items():
        if not name or not name.isascii() or not all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name):
            raise ValueError(f"{name!r} is not the name of a header: use letters, digits and `-`")
        if isinstance(value, str) and name.lower() in HEADERS_THAT_ARE_SECRET:
            raise ValueError(f"header {name!r} is a secret: write {{env: NAME}} or {{file: path}} instead of its value")
        if isinstance(value, str) and any(c in value for c in "\r\n\0"):
            raise ValueError(f"header {name!r} contains a line break: write it on one line")
    return headers


class CallWebhook(ActionSpec):
    """Send an HTTP request. Without a `body` it carries the firing as JSON."""

    templated: ClassVar[tuple[str, ...]] = ("url", "headers", "body")

    type: Literal["call-webhook"]
    url: Text = Field(description="Where to send the request (template).")
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"] = Field("POST", description="The HTTP method.")
    headers: dict[str, TextOrSecret] = Field(
        default_factory=dict, description="More headers (templates); a secret one is a reference."
    )
    body: JsonValue = Field(None, description="What to send (templates): a text as it is, anything else as JSON.")
    secret: Secret | None = Field(None, description="Signs the request with Standard Webhooks.")

    _check_url = field_validator("url")(check_url)
    _check_headers = field_validator("headers")(check_headers)


class SendNotification(ActionSpec):
    """Tell people through a channel."""

    templated: ClassVar[tuple[str, ...]] = ("title", "body")

    type: Literal["send-notification"]
    channel: Text = Field(description="The name of the channel.")
    title: str | None = Field(None, description="One line (template); by default it says what, and how it was judged.")
    body: str | None = Field(
        None, description="The text below it (template); by default why, since when, what was expected, who can help."
    )


class RunFlow(ActionSpec):
    """Start a run of a flow; the flow's own timeout applies to the run."""

    templated: ClassVar[tuple[str, ...]] = ("parameters",)

    type: Literal["run-flow"]
    flow: Text = Field(description="The name of the flow.")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Parameters of the run (templates); they win over the flow's own."
    )


class CancelRun(ActionSpec):
    """Cancel a run of a flow."""

    templated: ClassVar[tuple[str, ...]] = ("run",)

    type: Literal["cancel-run"]
    run: Text = Field(description="The id of the run (template).")


class PauseQueue(ActionSpec):
    """Start no more runs from a queue; runs that are under way go on."""

    templated: ClassVar[tuple[str, ...]] = ("queue",)

    type: Literal["pause-queue"]
    queue: Text = Field(description="The name of the queue (template).")


class ResumeQueue(ActionSpec):
    """Start runs from a paused queue again."""

    templated: ClassVar[tuple[str, ...]] = ("queue",)

    type: Literal["resume-queue"]
    queue: Text = Field(description="The name of the queue (template).")


class PauseAutomation(ActionSpec):
    """Pause an automation, as `tocsin automations pause` does (law S4)."""

    templated: ClassVar[tuple[str, ...]] = ("automation",)

    type: Literal["pause-automation"]
    automation: Text = Field(description="The name of the automation (template).")


class ResumeAutomation(ActionSpec):
    """Resume a paused automation (law S4)."""

    templated: ClassVar[tuple[str, ...]] = ("automation",)

    type: Literal["resume-automation"]
    automation: Text = Field(description="The name of the automation (template).")


class PauseFlow(ActionSpec):
    """Pause the schedule of a flow, as `tocsin flows pause` does; it can still be run."""

    templated: ClassVar[tuple[str, ...]] = ("flow",)

    type: Literal["pause-flow"]
    flow: Text = Field(description="The name of the flow (template).")


class ResumeFlow(ActionSpec):
    """Resume the paused schedule of a flow; `catch_up` says what of the pause is run (law T2)."""

    templated: ClassVar[tuple[str, ...]] = ("flow",)

    type: Literal["resume-flow"]
    flow: Text = Field(description="The name of the flow (template).")


class EmitEvent(ActionSpec):
    """Emit an event; it carries the chain of automations that led to it (law F5)."""

    templated: ClassVar[tuple[str, ...]] = ("event", "resource", "related", "payload")

    type: Literal["emit-event"]
    event: Text = Field(description="The event's name (template).")
    resource: dict[str, str] = Field(description="The labels of its resource (templates); `id` is required.")
    related: list[dict[str, str]] = Field(
        default_factory=list, description="Related resources (templates); `id` and `role` are required."
    )
    payload: JsonValue = Field(default_factory=dict, description="The event's payload (templates).")

    @field_validator("event")
    @classmethod
    def _not_reserved(cls, event: str) -> str:
        if event.startswith(RESERVED):
            raise ValueError(f"names that start with `{RESERVED}` are the engine's own: choose another")
        return event

    _with_id = field_validator("resource")(with_id)
    _with_id_and_role = field_validator("related")(with_id_and_role)


class Log(ActionSpec):
    """Write a line to the server's log."""

    templated: ClassVar[tuple[str, ...]] = ("message",)

    type: Literal["log"]
    message: str = Field("{{ firing.reason }}", description="What to write (template).")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="How urgent the line is.")


AnyAction = (
    CallWebhook | SendNotification | RunFlow | CancelRun | PauseQueue | ResumeQueue
    | PauseAutomation | ResumeAutomation | PauseFlow | ResumeFlow | EmitEvent | Log
)  # fmt: skip

Action = Annotated[AnyAction, Field(discriminator="type")]
"""Any action; `type` says which."""

ACTION_TYPES: tuple[type[ActionSpec], ...] = get_args(AnyAction)
"""The specs of all types of action."""

"""What actions need from the rest of the house; the real ones are built in app.py, the doubles in tests.

An effect on the world outside is awaited and may happen twice; an effect inside our own database is a `Unit`, which
runs in the transaction that records its outcome and so happens exactly once.
"""

from __future__ import annotations

from asyncio import Timeout
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Protocol, TypeAlias

from tocsin.errors import TocsinError
from tocsin.schemas.channel import AnyChannel, EmailChannel
from tocsin.schemas.event import Event
from tocsin.schemas.secret import SecretReference

Details: TypeAlias = dict[str, Any]
"""What an attempt leaves in its record: plain JSON, no secrets."""

Transaction: TypeAlias = Any
"""The writer's transaction; opaque here, handed on to the store by those who know it."""

Unit: TypeAlias = Callable[[Transaction], Details]
"""An effect inside our own database."""


class AddressRefused(TocsinError):
    """The address may not be called, whoever asks; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `trusted`: the host is written out in a definition, not filled in from event data.

    `limit` is that of the attempt, which makes one request. Once there is an answer, it ends the body, not the attempt.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    trusted: bool = False
    limit: Timeout | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, its headers, to be asked for by lower-case name, and the beginning of its body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


class Http(Protocol):
    """The web, seen from here."""

    async def request(self, request: Request) -> Response:
        """Send the request and return the answer, whatever its status; redirects are not followed.

        Raises:
            ActionFailed: there was no answer; its text holds neither the address's path nor any header.
            AddressRefused: the host may not be called.
        """
        ...


class Mail(Protocol):
    """A way to hand mail to an SMTP server."""

    async def send(self, message: EmailMessage, channel: EmailChannel, password: str | None) -> list[str]:
        """Return the addresses that were refused while others were taken. Raises ActionFailed: none was taken."""
        ...


class Services(Protocol):
    """The notification services that Apprise knows."""

    async def notify(self, url: str, *, title: str, body: str) -> None:
        """Raises ActionFailed when the service did not take the notification."""
        ...


class Channels(Protocol):
    """The channels that are declared."""

    def channel(self, name: str) -> AnyChannel | None:
        """Return the channel's spec, None if there is none of that name."""
        ...


class Secrets(Protocol):
    """The place where references become secrets."""

    def resolve(self, reference: SecretReference) -> str:
        """Raises NotFound when the secret is not there."""
        ...


class ServerLog(Protocol):
    """The server's own log."""

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """Write one line."""
        ...


@dataclass(frozen=True, slots=True)
class Cause:
    """Who acts: an automation, for a firing; `chain` ends with that automation (law F5)."""

    automation: str
    firing: str
    chain: tuple[str, ...]

    @property
    def by(self) -> str:
        """Who did it, as records say it."""
        return f"automation/{self.automation}"


class Queues(Protocol):
    """The queues of flow runs. A unit raises NotFound when there is no such queue."""

    def pause(self, name: str, *, cause: Cause) -> Unit: ...

    def resume(self, name: str, *, cause: Cause) -> Unit: ...


class Runs(Protocol):
    """Runs of flows. A unit raises NotFound when there is no such flow or run."""

    def start(self, flow: str, *, run_id: str, parameters: Mapping[str, Any], cause: Cause) -> Unit: ...

    def cancel(self, run_id: str, *, cause: Cause) -> Unit: ...


class Automations(Protocol):
    """The automations that are defined. A unit raises NotFound when there is no such automation."""

    def pause(self, name: str, *, cause: Cause) -> Unit: ...

    def resume(self, name: str, *, cause: Cause) -> Unit: ...


class Flows(Protocol):
    """The schedules of flows. A unit raises NotFound when there is no such flow, Conflict when it has no schedule."""

    def pause(self, name: str, *, cause: Cause) -> Unit: ...

    def resume(self, name: str, *, cause: Cause) -> Unit: ...


class Events(Protocol):
    """The log, seen by who emits."""

    def emit(self, event: Event, *, chain: tuple[str, ...], trace: str) -> Unit:
        """Append an event with the automations that led to it (law F5), and its `traceparent`."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All of them; each action uses one or two."""

    http: Http
    mail: Mail
    services: Services
    channels: Channels
    secrets: Secrets
    log: ServerLog
    queues: Queues
    runs: Runs
    automations: Automations
    flows: Flows
    events: Events

"""Doubles of the ports of actions: they remember what they were asked, and answer what a test tells them to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from pydantic import TypeAdapter

from tocsin.actions.call import Call
from tocsin.actions.handlers import HANDLERS
from tocsin.actions.ports import Cause, Details, Ports, Request, Response, Unit
from tocsin.errors import NotFound
from tocsin.schemas.action import Action
from tocsin.schemas.channel import AnyChannel, EmailChannel
from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.firing import Firing, Verdict, firing_id
from tocsin.schemas.moments import SECOND
from tocsin.schemas.secret import SecretReference

NOW = 1_780_000_000 * SECOND
SECRETS = {"SIGNING": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "TOKEN": "t0p-secret-token",
           "CHAT_URL": "https://chat.example/hooks/s3cret-path", "MAIL": "pa55word"}  # fmt: skip


@dataclass
class Web:
    """The port `Http`."""

    answer: Callable[[Request], Response | Awaitable[Response]] = lambda request: Response(200, {}, "ok")
    requests: list[Request] = field(default_factory=list)

    async def request(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self.answer(request)
        return answer if isinstance(answer, Response) else await answer


@dataclass
class Post:
    """The ports `Mail` and `Services`."""

    mails: list[tuple[EmailMessage, EmailChannel, str | None]] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)

    async def send(self, message: EmailMessage, channel: EmailChannel, password: str | None) -> list[str]:
        self.mails.append((message, channel, password))
        return []

    async def notify(self, url: str, *, title: str, body: str) -> None:
        self.notes.append((url, title, body))


@dataclass
class Vault:
    """The port `Secrets`."""

    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))

    def resolve(self, reference: SecretReference) -> str:
        return reference.resolve(self.secrets, lambda path: "")


@dataclass
class Diary:
    """The ports `ServerLog`, `Queues`, `Runs`, `Automations`, `Flows` and `Events`: everything becomes a line."""

    lines: list[tuple[Any, ...]] = field(default_factory=list)
    known: frozenset[str] = frozenset({"nightly", "backfill", "late", "r1"})

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        self.lines.append((level, message, dict(fields)))

    def pause(self, name: str, *, cause: Cause) -> Unit:
        return self._unit("pause", name, cause)

    def resume(self, name: str, *, cause: Cause) -> Unit:
        return self._unit("resume", name, cause)

    def start(self, flow: str, *, run_id: str, parameters: Mapping[str, Any], cause: Cause) -> Unit:
        return self._unit("start", flow, cause, run_id, dict(parameters))

    def cancel(self, run_id: str, *, cause: Cause) -> Unit:
        return self._unit("cancel", run_id, cause)

    def emit(self, event: Event, *, chain: tuple[str, ...], trace: str) -> Unit:
        return lambda tx: self._note("emit", event, chain)

    def _unit(self, verb: str, name: str, cause: Cause, *more: Any) -> Unit:
        def unit(tx: Any) -> Details:
            if name not in self.known:
                raise NotFound(f"there is no {name!r}")
            return self._note(verb, name, cause, *more)

        return unit

    def _note(self, *line: Any) -> Details:
        self.lines.append(line)
        return {"done": line[0]}


@dataclass
class Declared:
    """The port `Channels`."""

    specs: dict[str, AnyChannel] = field(default_factory=dict)

    def channel(self, name: str) -> AnyChannel | None:
        return self.specs.get(name)


@dataclass
class World:
    """All doubles, and the ports made of them."""

    web: Web = field(default_factory=Web)
    post: Post = field(default_factory=Post)
    vault: Vault = field(default_factory=Vault)
    diary: Diary = field(default_factory=Diary)
    declared: Declared = field(default_factory=Declared)

    @property
    def ports(self) -> Ports:
        diary = self.diary
        return Ports(
            http=self.web, mail=self.post, services=self.post, channels=self.declared, secrets=self.vault, log=diary,
            queues=diary, runs=diary, automations=diary, flows=diary, events=diary,
        )  # fmt: skip

    async def act(self, spec: Mapping[str, Any], call: Call | None = None) -> Details:
        """Perform one action through the table, a unit with no transaction."""
        action: Any = TypeAdapter(Action).validate_python(spec)
        result = await HANDLERS[type(action)](action, call or self.call())
        return result(None) if callable(result) else result

    def call(self, **more: Any) -> Call:
        values: dict[str, Any] = {
            "key": "6b0b6ad6-35a5-5f4b-8f5e-1f7a0a0f7c11", "attempt": 1, "now_us": NOW, "firing": firing(),
            "arrivals": {1: placed()}, "automation": lambda: AUTOMATION, "ports": self.ports,
        }  # fmt: skip
        return Call(**values | more)


AUTOMATION: Mapping[str, Any] = {
    "name": "late", "description": "Too late.", "severity": "high", "owner": "team/sales", "tags": ["sales"],
    "trigger": {"type": "deadline", "timezone": "Europe/Berlin"},
}  # fmt: skip


def placed(seq: int = 1, **more: Any) -> Arrival:
    """Return an event in the log."""
    values: dict[str, Any] = {"event": "table.updated", "resource": {"id": "table/sales"}, "id": f"e{seq}"}
    return arrival(Event(**values | more), seq=seq, received_us=NOW - SECOND)


def firing(number: int = 0, **more: Any) -> Firing:
    """Return a firing of the automation `late` about `table/sales`."""
    values: dict[str, Any] = {
        "id": firing_id("test", number), "automation": "late", "node": "n", "state_key": "k",
        "labels": {"id": "table/sales"}, "verdict": Verdict.MISSED, "at_us": NOW, "time_us": NOW,
        "due_us": NOW - 600 * SECOND, "events": (1,), "trigger_event": 1, "reason": "nothing came", "chain": ("first",),
    }  # fmt: skip
    return Firing(**values | more)

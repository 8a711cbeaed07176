"""One attempt as a handler sees it: what it is about, its idempotency key, its templates and secrets filled in."""

from __future__ import annotations

import json
import re
from asyncio import Timeout
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

from tocsin.actions import context
from tocsin.actions.ports import Cause, Details, Ports
from tocsin.schemas import trace
from tocsin.schemas.action import is_template
from tocsin.schemas.event import Arrival
from tocsin.schemas.firing import Firing
from tocsin.schemas.moments import Micros
from tocsin.schemas.secret import SecretReference
from tocsin.schemas.template import Template
from tocsin.schemas.trace import Span

_SEPARATORS = re.compile(r"[/?&=:@#]")
_PART_CHARS = 12  # shorter parts of an address are ordinary words

EXCERPT_CHARS = 500
"""How much of an answer is kept in the record of an attempt."""


class Call:
    """What a handler is told, and the ports that it works through.

    It also collects the secrets that were looked up (`revealed`), which must not get into any record, and for the
    record what templates had no value for, or failed at (`noted`). `limit` is that of the attempt, while it is made.
    """

    def __init__(
        self, *, key: str, attempt: int, now_us: Micros, firing: Firing, arrivals: Mapping[int, Arrival],
        automation: Callable[[], Mapping[str, Any] | None], ports: Ports,
    ) -> None:  # fmt: skip
        """Keep what the attempt is about; nothing is computed before it is asked for. `automation` looks it up."""
        self.key = key
        self.attempt = attempt
        self.now_us = now_us
        self.firing = firing
        self.ports = ports
        self.revealed: set[str] = set()
        self.limit: Timeout | None = None
        self._missing: dict[str, None] = {}
        self._failed: dict[str, None] = {}
        self._arrivals = arrivals
        self._look_up = automation

    @property
    def cause(self) -> Cause:
        """On whose behalf the call is made."""
        firing = self.firing
        return Cause(firing.automation, firing.id, (*firing.chain, firing.automation))

    @cached_property
    def span(self) -> Span:
        """Where the attempt stands in the trace of what it answers to."""
        return trace.of_attempt(trace.of_firing(self.firing, self._arrivals), self.key, self.attempt)

    def facts(self) -> dict[str, Any]:
        """Return what conditions see, as plain JSON."""
        return context.facts(self.firing, self._arrivals, self.automation)

    def body(self) -> dict[str, Any]:
        """Return what a webhook carries when its definition gives no body."""
        return context.body(self.firing, self._arrivals, self.automation)

    @cached_property
    def automation(self) -> Mapping[str, Any]:
        """The automation as it is written, empty when it is gone."""
        return self._look_up() or {}

    @cached_property
    def variables(self) -> Mapping[str, Any]:
        """What templates see: as `facts`, with times as datetimes in the trigger's zone."""
        return context.Variables(self.firing, self._arrivals, self.automation)

    def value(self, template: Any) -> Any:
        """Fill in a template, or all templates in a structure; one that is a single expression keeps its type."""
        rendered = _template(json.dumps(template)).render(self.variables)
        self._missing |= dict.fromkeys(rendered.missing)
        self._failed |= dict.fromkeys(rendered.failed)
        return rendered.value

    def noted(self) -> Details:
        """Return what the record says about templates: names without a value, and expressions that failed."""
        noted = {"missing": list(self._missing), "failed": list(self._failed)}
        return {name: found for name, found in noted.items() if found}

    def plain(self, template: Any) -> Any:
        """Fill in templates and return plain JSON: moments become text."""
        return json.loads(as_json(self.value(template)))

    def text(self, template: str) -> str:
        """Fill in a template and return its value as text."""
        if not is_template(template):
            return template
        value = self.value(template)
        return value if isinstance(value, str) else "" if value is None else as_text(value)

    def reveal(self, value: str | SecretReference) -> str:
        """Return a secret, looked up just now, or a template filled in.

        Raises:
            NotFound: the secret is not there.
        """
        if isinstance(value, str):
            return self.text(value)
        secret = self.ports.secrets.resolve(value)
        bare = secret.removeprefix(value.prefix)
        self.revealed |= {secret, bare, *_parts(bare)}
        return secret

    def excerpt(self, text: str) -> str:
        """Return how a text begins, without the secrets that were looked up for this call."""
        return str(scrub(text, self.revealed))[:EXCERPT_CHARS]


def _parts(secret: str) -> set[str]:
    """Return what is secret by itself of a secret that is an address: who is called may repeat a part of it only."""
    scheme, mark, rest = secret.partition("://")
    if not mark:
        return set()
    if scheme.lower() in ("http", "https"):  # here the host is no secret, elsewhere it may be a token
        login, at, _ = rest.partition("/")[0].rpartition("@")
        path = "".join(rest.partition("/")[1:])
        rest = f"{login}{at}{path}"
        whole = {path, path.partition("?")[0]}
    else:
        whole = {rest}
    return {part for part in {*whole, *_SEPARATORS.split(rest)} if len(part) >= _PART_CHARS}


@lru_cache(2_000)
def _template(value: str) -> Template:
    return Template(json.loads(value))


def as_text(value: Any) -> str:
    """Return a value as JSON writes it; a moment as ISO 8601."""
    return value.isoformat() if hasattr(value, "isoformat") else as_json(value)


def as_json(value: Any) -> str:
    """Return a value as JSON; what JSON does not know is written as text, moments as ISO 8601."""
    return json.dumps(value, default=lambda other: other.isoformat() if hasattr(other, "isoformat") else str(other))


def scrub(value: Any, secrets: Collection[str]) -> Any:
    """Return a JSON value in which every secret, as it is or quoted for a URL or JSON, is replaced by dots."""
    if not secrets:
        return value
    if isinstance(value, str):
        spelled = {form for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        for form in sorted(filter(None, spelled), key=len, reverse=True):
            value = value.replace(form, "•••")
        return value
    if isinstance(value, dict):
        return {name: scrub(item, secrets) for name, item in value.items()}
    return [scrub(item, secrets) for item in value] if isinstance(value, list) else value

"""Sending events from Python: `emit` for one, a `Client` for many.

    from tocsin import Client, emit

    emit("table.updated", resource="table/sales", labels={"env": "prod"}, payload={"rows": 1204})

    with Client() as tocsin:
        tocsin.emit_many([{"event": "host.heartbeat", "resource": {"id": host}} for host in hosts])

What has returned is safe on the server's disk. Every event gets its id here, before the first attempt, so that one
that is sent again because an answer was lost is a duplicate and counts once (law E2).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from threading import Event
from typing import Any, Self

import httpx

from tocsin.clock import Clock, SystemClock
from tocsin.errors import (
    Conflict,
    Forbidden,
    NotFound,
    Overloaded,
    TocsinError,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from tocsin.schemas.identity import uuid7s

DEFAULT_URL = "http://127.0.0.1:8710"

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_BUSY = {429, 502, 503, 504}
_WAITS_S = (0.1, 5.0)  # the first wait between two attempts at most, and the longest: it doubles
_KINDS: Mapping[int, type[TocsinError]] = {
    401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 413: TooLarge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the events of one call: how many are safe, how many of them were known already, and their ids."""

    accepted: int
    duplicates: int | None
    ids: list[str]


class Client:
    """A connection to a server, which is kept open between calls; a context manager, and safe to share by threads."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        timeout_s: float = 10.0,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Keep where to send; by default what `TOCSIN_URL` and `TOCSIN_TOKEN` say.

        `timeout_s` is how long one call may take with all of its attempts. The rest is for tests.

        Raises:
            Unavailable: the address is not one.
        """
        given = url or os.environ.get("TOCSIN_URL") or DEFAULT_URL
        self.url = given.rstrip("/")
        self._timeout_s = timeout_s
        self._http = connection(given, token or os.environ.get("TOCSIN_TOKEN"), timeout_s, transport=transport)
        self._clock = clock or SystemClock()
        self._wait = wait or Event().wait
        self._random = Random()  # noqa: S311 - spreads retries, hides nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def emit(self, event: str, resource: str | Mapping[str, Any], **more: Any) -> str:
        """Send one event and return its id; it is safe when this returns.

        `resource` is the id of what it happened to, or all of its labels. `more` are `labels` (further labels of the
        resource), `related` (maps with `id` and `role`), `payload`, `occurred` (a datetime, or ISO 8601; default when
        it is received), `id`, `source`, `follows`.

        Raises:
            TocsinError: as for `emit_many`.
        """
        return self.emit_many([{"event": event, "resource": resource, **more}]).ids[0]

    def emit_many(self, events: Iterable[Mapping[str, Any]]) -> Receipt:
        """Send events, each a map of what `emit` takes, all of them or none; they are safe when this returns.

        Raises:
            Unavailable: the server did not answer, or could not write, until the time was over.
            Overloaded: the server took no more until the time was over.
            TocsinError: the server refuses them, and says why; they would be refused again.
        """
        sent = list(events)
        ids = uuid7s(self._clock.now_us(), len(sent))
        written = [_written(event, identity) for event, identity in zip(sent, ids, strict=True)]
        try:
            body = json.dumps(written, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise TocsinError(f"the events can not be sent as JSON: {error}") from None
        answer = self._send(body)
        return Receipt(answer["accepted"], answer["duplicates"], answer["ids"])

    def _send(self, body: bytes) -> Any:
        """Attempt it until it is answered, or the time is over."""
        until_s = self._clock.monotonic_s() + self._timeout_s
        most_s = _WAITS_S[0]
        failure: TocsinError
        while True:
            left_s = max(until_s - self._clock.monotonic_s(), 0.001)
            try:
                response = self._http.post(
                    "/api/events", content=body, headers={"Content-Type": "application/json"}, timeout=left_s
                )
            except httpx.HTTPError as error:
                failure, asked_s = unreachable(error, self.url), 0.0
            else:
                if response.is_success:
                    return answered(response, self.url)
                failure, asked_s = refusal(response, self.url), _retry_after_s(response)
                if response.status_code not in _BUSY:
                    raise failure
            wait_s = max(asked_s, self._random.uniform(0, most_s))
            if self._clock.monotonic_s() + wait_s >= until_s:
                raise failure
            self._wait(wait_s)
            most_s = min(most_s * 2, _WAITS_S[1])


def emit(event: str, resource: str | Mapping[str, Any], **more: Any) -> str:
    """Send one event to the server at `TOCSIN_URL` and return its id; as `Client.emit`, which many share better."""
    with Client() as client:
        return client.emit(event, resource, **more)


def _written(event: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """Return an event as it is sent: with an id, its labels together, and its time as text."""
    written = {name: value for name, value in event.items() if name != "labels" and value is not None}
    resource, labels = event.get("resource"), event.get("labels") or {}
    written["resource"] = {**labels, "id": resource} if isinstance(resource, str) else {**(resource or {}), **labels}
    written.setdefault("id", identity)
    occurred = written.get("occurred")
    if isinstance(occurred, datetime):
        written["occurred"] = (occurred if occurred.tzinfo else occurred.astimezone()).isoformat()
    return written


# What any client of a server needs: an address, and what its answers mean.


def connection(
    url: str, token: str | None, timeout_s: float, *, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Return a connection to a server; a proxy is not asked for what is on this machine.

    Raises:
        Unavailable: the address is not one.
    """
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise Unavailable(f"TOCSIN_URL is {url!r}: write an address such as {DEFAULT_URL}")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    trust_env = address.host not in _LOOPBACK
    return httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=trust_env, transport=transport)


def answered(response: httpx.Response, url: str) -> Any:
    """Return the JSON of an answer, None for an empty one. Raises Unavailable when it is not a server of ours."""
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        kind = response.headers.get("content-type", "of no type").partition(";")[0]
        raise Unavailable(f"what answers at {url} is not tocsin ({kind}): set TOCSIN_URL") from error


def unreachable(error: httpx.HTTPError, url: str) -> Unavailable:
    """Return what it means that there is no answer."""
    if isinstance(error, httpx.ConnectError):
        return Unavailable(f"no server answers at {url}: start one with `tocsin serve`, or set TOCSIN_URL")
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(f"the server at {url} did not answer in time ({type(error).__name__}): try again")
    return Unavailable(f"the server at {url} broke off ({str(error) or type(error).__name__}): try again")


def refusal(response: httpx.Response, url: str) -> TocsinError:
    """Return what an answer says that is an error, in the server's words."""
    try:
        said = response.json()
        text = str(said.get("error") or "")
        text = _listed(said.get("errors") or []) or text
    except (ValueError, AttributeError):
        text = ""
    text = text or f"the server at {url} answered {response.status_code} {response.reason_phrase}"
    if response.status_code == 401:
        text += ": set TOCSIN_TOKEN to a token that it knows"
    if response.status_code in (429, 503):
        kind = Overloaded if response.status_code == 429 else Unavailable
        return kind(f"{text} (again in {response.headers.get('retry-after', 'a few')} s)")
    return _KINDS.get(response.status_code, TocsinError)(text)


def _listed(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return several problems, one on a line; nothing for one, which the sentence names already."""
    if len(problems) < 2:
        return ""
    return "\n  ".join([f"{len(problems)} things are wrong:", *map(_problem, problems)])


def _problem(problem: Mapping[str, Any]) -> str:
    index = problem.get("index")
    place = ("" if index is None else f"[{index}] ") + (problem.get("field") or "")
    return f"{place}: {problem.get('message')}".removeprefix(": ")


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0

"""HTTP requests: what is sent, and what an answer means.

Every attempt of one effect carries the same `Idempotency-Key`, and a `traceparent` (W3C Trace Context) of its own.
Signatures follow Standard Webhooks (https://www.standardwebhooks.com), where `webhook-id` is that key.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from standardwebhooks.webhooks import Webhook

from tocsin.actions.call import Call, as_json
from tocsin.actions.ports import Details, Request, Response
from tocsin.actions.targets import host_is_written
from tocsin.errors import ActionFailed
from tocsin.schemas.action import CallWebhook
from tocsin.schemas.moments import SECOND, from_micros, to_micros
from tocsin.schemas.secret import SecretReference

_WORTH_A_RETRY = frozenset({408, 425, 429})
_WITHOUT_BODY = frozenset({"GET", "HEAD"})


async def call_webhook(spec: CallWebhook, call: Call) -> Details:
    """Send the request; by default it carries the firing as JSON."""
    headers = {name: call.reveal(value) for name, value in spec.headers.items()}
    wanted = None if spec.body is None else call.value(spec.body)
    if wanted is None and spec.method in _WITHOUT_BODY:
        body = None
    elif isinstance(wanted, str):
        body = wanted.encode(errors="replace")
        headers = {"Content-Type": "text/plain; charset=utf-8"} | headers
    else:
        body = as_json(call.body() if wanted is None else wanted).encode()
        headers = {"Content-Type": "application/json"} | headers
    request = Request(
        method=spec.method,
        url=call.text(spec.url),
        headers=headers,
        body=body,
        trusted=host_is_written(spec.url),
    )
    return await send(request, call, secret=spec.secret)


async def send(request: Request, call: Call, *, secret: SecretReference | None = None) -> Details:
    """Send a request under the call's idempotency key, signed when there is a secret; return what the record keeps.

    Raises:
        ActionFailed: there was no answer, or one that is not a success; says whether a retry can help.
    """
    headers = {**request.headers, "Idempotency-Key": call.key}
    if not any(name.lower() == "traceparent" for name in headers):
        headers["traceparent"] = str(call.span)
    if secret is not None:
        headers |= _signature(call, request.body or b"", call.reveal(secret))
    if any(c in value for value in headers.values() for c in "\r\n\0"):
        raise ActionFailed("a header's value contains a line break: check what its template gives", permanent=True)
    answer = await call.ports.http.request(replace(request, headers=headers, limit=call.limit))
    host = urlsplit(request.url).hostname
    excerpt = call.excerpt(answer.text)
    if 200 <= answer.status < 300:
        return {"host": host, "status": answer.status, "excerpt": excerpt}
    what = f"{host} answered {_named(answer.status)}"
    if 300 <= answer.status < 400:
        raise ActionFailed(f"{what}: redirects are not followed, write the address that it leads to", permanent=True)
    retry = answer.status in _WORTH_A_RETRY or answer.status >= 500
    reason = f"{what}: {excerpt}" if excerpt else what
    raise ActionFailed(reason, permanent=not retry, retry_after_s=_retry_after_s(answer, call))


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after_s(answer: Response, call: Call) -> float | None:
    """Return what the answer asks to wait: seconds or a date (RFC 9110, section 10.2.3); None if it asks nothing."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:12])
    try:
        moment = parsedate_to_datetime(asked)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (to_micros(moment) - call.now_us) / SECOND)


def _signature(call: Call, body: bytes, secret: str) -> dict[str, str]:
    sent: datetime = from_micros(call.now_us)
    try:
        signature = Webhook(secret).sign(call.key, sent, body.decode())
    except Exception:  # noqa: BLE001 - the library lets through what base64 raises, and its own error knows no base
        raise ActionFailed(
            "the secret can not sign: Standard Webhooks needs base64, for example whsec_MfKQ9r8GKYqrTwjU...",
            permanent=True,
        ) from None
    timestamp = str(call.now_us // SECOND)
    return {"webhook-id": call.key, "webhook-timestamp": timestamp, "webhook-signature": signature}

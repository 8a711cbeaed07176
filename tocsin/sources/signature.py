"""Who sent a request: signatures over its body, tokens, passwords; compared in constant time.

Sources: RFC 2104 (HMAC) over the bytes of the body as they were sent; RFC 7617 (HTTP Basic);
https://www.standardwebhooks.com (signature over `webhook-id`, `webhook-timestamp` and the body).
"""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from tocsin.errors import Unauthorized, Unavailable
from tocsin.schemas.moments import MINUTE, SECOND, Micros
from tocsin.schemas.source import (
    BasicVerification,
    HmacVerification,
    NoVerification,
    StandardWebhooksVerification,
    TokenVerification,
    Verification,
)
from tocsin.sources.request import Request

TOLERANCE_US: Micros = 5 * MINUTE
"""How far the time that a sender gives may be away from when its request came."""

_TIMESTAMP_DIGITS = 12
_BASIC = 'Basic realm="tocsin", charset="UTF-8"'
_STANDARD = 'Signature realm="tocsin", header="webhook-signature"'


def verify(request: Request, verification: Verification, secret: str) -> None:
    """Return when the request proves that its sender knows the secret.

    Raises:
        Unauthorized: it does not.
        Unavailable: the secret is not one that can verify.
    """
    match verification:
        case NoVerification():
            return
        case BasicVerification():
            _verify_basic(request, verification, secret)
        case StandardWebhooksVerification():
            _verify_standard(request, secret)
        case HmacVerification() | TokenVerification():
            _verify_one_place(request, verification, secret)


def message_id(request: Request, verification: Verification) -> str | None:
    """Return what identifies a verified request to its sender; None where nothing does."""
    return request.headers["webhook-id"] if isinstance(verification, StandardWebhooksVerification) else None


def signature(body: bytes, verification: HmacVerification, secret: str) -> str:
    """Return the signature that a sender who knows the secret gives to a body, without the prefix."""
    digest = hmac.digest(secret.encode(), body, verification.algorithm)
    return digest.hex() if verification.encoding == "hex" else base64.b64encode(digest).decode()


def _verify_one_place(request: Request, verification: HmacVerification | TokenVerification, secret: str) -> None:
    place, given = _given(request, verification)
    challenge = _challenge(verification)
    if not given:
        raise Unauthorized(f"{place} is missing: it carries the {_carried(verification)}", challenge=challenge)
    if not given.startswith(verification.prefix):
        raise Unauthorized(f"{place} does not begin with {verification.prefix!r}", challenge=challenge)
    given = given.removeprefix(verification.prefix).strip()
    if isinstance(verification, TokenVerification):
        expected = secret
    else:
        expected = signature(request.body, verification, secret)
        given = given.lower() if verification.encoding == "hex" else given
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise _wrong(place, _carried(verification), request, challenge=challenge)


def _challenge(verification: HmacVerification | TokenVerification) -> str:
    """Return what RFC 9110 has every 401 say: the scheme that would be right, and where its proof goes.

    No registered scheme says that a header of one's own carries a signature or a token: those names are ours.
    """
    if isinstance(verification, HmacVerification):
        place = f'header="{_quoted(verification.header)}"'
        return f'Signature realm="tocsin", {place}, algorithm="hmac-{verification.algorithm}"'
    if verification.query is not None:
        return f'Token realm="tocsin", query="{_quoted(verification.query)}"'
    header = verification.header or ""
    if header.lower() == "authorization":
        scheme = verification.prefix.strip()
        return scheme if scheme.isascii() and scheme.isalnum() else "Bearer"
    return f'Token realm="tocsin", header="{_quoted(header)}"'


def _quoted(name: str) -> str:
    """Return a name as it may stand between quotation marks in a header."""
    return "".join(one if one.isascii() and one.isprintable() and one not in '"\\' else "?" for one in name)


def _verify_basic(request: Request, verification: BasicVerification, password: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Unauthorized("the header Authorization is missing: it carries user and password", challenge=_BASIC)
    try:
        credentials = base64.b64decode(given.strip(), validate=True)
    except ValueError:
        raise Unauthorized("the header Authorization is not base64 behind `Basic`", challenge=_BASIC) from None
    if not hmac.compare_digest(credentials, f"{verification.user}:{password}".encode()):
        raise _wrong("the header Authorization", "user or password", request, challenge=_BASIC)


def _verify_standard(request: Request, secret: str) -> None:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    if missing := [name for name in names if not request.headers.get(name)]:
        message = f"the header {missing[0]} is missing: Standard Webhooks has {', '.join(names)}"
        raise Unauthorized(message, challenge=_STANDARD)
    identity, timestamp, signatures = (request.headers[name] for name in names)
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _TIMESTAMP_DIGITS):
        message = "the header webhook-timestamp is not a Unix time in whole seconds"
        raise Unauthorized(message, challenge=_STANDARD)
    expected = _standard_signature(request, secret, identity=identity, timestamp=int(timestamp))
    # All are compared: how many there are is no secret, which of them is right may be one.
    matches = [hmac.compare_digest(given.encode(), expected.encode()) for given in signatures.split()]
    if not any(matches):
        raise _wrong("the header webhook-signature", "signature", request, challenge=_STANDARD)
    if abs(int(timestamp) * SECOND - request.received_us) > TOLERANCE_US:
        message = "the header webhook-timestamp is more than 5 minutes away: is the request old?"
        raise Unauthorized(message, challenge=_STANDARD)


def _standard_signature(request: Request, secret: str, *, identity: str, timestamp: int) -> str:
    try:
        webhook = Webhook(secret)
    except Exception:  # noqa: BLE001 - the library lets through what base64 raises, and its own error knows no base
        raise Unavailable(
            f"the source {request.source!r} can not verify requests now: its secret is not one of Standard Webhooks"
        ) from None
    try:
        return webhook.sign(identity, datetime.fromtimestamp(timestamp, UTC), request.body.decode())
    except (UnicodeDecodeError, OverflowError, ValueError, OSError):
        message = "the request is not one of Standard Webhooks: text in UTF-8, sent at a time"
        raise Unauthorized(message, challenge=_STANDARD) from None


def _wrong(place: str, carried: str, request: Request, *, challenge: str) -> Unauthorized:
    same = f"do the sender and the source {request.source!r} have the same secret?"
    return Unauthorized(f"{place} carries a wrong {carried}: {same}", challenge=challenge)


def _given(request: Request, verification: HmacVerification | TokenVerification) -> tuple[str, str]:
    """Return where the proof has to be, in words, and what is there."""
    if isinstance(verification, TokenVerification) and verification.query is not None:
        return f"the query parameter {verification.query!r}", request.query.get(verification.query, "")
    header = verification.header or ""
    return f"the header {header}", request.headers.get(header.lower(), "")


def _carried(verification: HmacVerification | TokenVerification) -> str:
    return "signature" if isinstance(verification, HmacVerification) else "token"

"""Who sent a request: signatures over its body, and tokens; compared in constant time.

Source for the signatures: RFC 2104 (HMAC) over the bytes of the body as they were sent.
"""

from __future__ import annotations

import base64
import hmac

from tocsin.errors import Unauthorized
from tocsin.schemas.source import HmacVerification, NoVerification, TokenVerification, Verification
from tocsin.sources.request import Request


def verify(request: Request, verification: Verification, secret: str) -> None:
    """Return when the request proves that its sender knows the secret.

    Raises:
        Unauthorized: it does not.
    """
    if isinstance(verification, NoVerification):
        return
    place, given = _given(request, verification)
    if not given:
        raise Unauthorized(f"{place} is missing: it carries the {_carried(verification)}")
    if not given.startswith(verification.prefix):
        raise Unauthorized(f"{place} does not begin with {verification.prefix!r}")
    given = given.removeprefix(verification.prefix).strip()
    if isinstance(verification, TokenVerification):
        expected = secret
    else:
        expected = signature(request.body, verification, secret)
        given = given.lower() if verification.encoding == "hex" else given
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Unauthorized(
            f"{place} carries a wrong {_carried(verification)}: do the sender and the source"
            f" {request.source!r} have the same secret?"
        )


def signature(body: bytes, verification: HmacVerification, secret: str) -> str:
    """Return the signature that a sender who knows the secret gives to a body, without the prefix."""
    digest = hmac.digest(secret.encode(), body, verification.algorithm)
    return digest.hex() if verification.encoding == "hex" else base64.b64encode(digest).decode()


def _given(request: Request, verification: HmacVerification | TokenVerification) -> tuple[str, str]:
    """Return where the proof has to be, in words, and what is there."""
    if isinstance(verification, TokenVerification) and verification.query is not None:
        return f"the query parameter {verification.query!r}", request.query.get(verification.query, "")
    header = verification.header or ""
    return f"the header {header}", request.headers.get(header.lower(), "")


def _carried(verification: HmacVerification | TokenVerification) -> str:
    return "signature" if isinstance(verification, HmacVerification) else "token"

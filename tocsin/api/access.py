"""Who may call what.

With a token every call needs `Authorization: Bearer`, except for the few that are open to all and those that prove
themselves in another way (a signature, a key that stands in the address). Without one the server listens on loopback
only, and what is left to keep out are web pages that a browser on this machine shows: a page of another site may send
requests to loopback (the browser then says so in `Origin`), or have a name of its own resolve to loopback and read the
answers (DNS rebinding; the browser then sends that name as `Host`).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from pydantic import SecretStr
from starlette.types import Scope

from tocsin.errors import Forbidden, Unauthorized
from tocsin.settings import LOOPBACK

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
"""What anybody may read."""

PROVEN_OTHERWISE = ("/hooks/", "/ping/")
"""What authenticates by a signature, or by a key in the address."""


class Access:
    """Decides whether a request may go on."""

    def __init__(self, token: SecretStr | None, emit_token: SecretStr | None) -> None:
        """Keep the tokens of administrators and of those who may only send events."""
        self._admin = _bytes(token)
        self._emitter = _bytes(emit_token)

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Return when the request may go on.

        Raises:
            Unauthorized: it has no token, or a wrong one.
            Forbidden: its token does not allow this, or it comes from a web page of another site.
        """
        path: str = scope["path"]
        if path.startswith(PROVEN_OTHERWISE):
            return
        if self._admin is None:
            _check_browser(headers)
        elif path not in OPEN:
            self._check_token(headers, emits=path == "/api/events" and scope["method"] == "POST")

    def _check_token(self, headers: Mapping[bytes, bytes], *, emits: bool) -> None:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized("this call needs a token: send `Authorization: Bearer TOKEN`")
        given = given.strip()
        is_admin = hmac.compare_digest(given, self._admin or b"")
        is_emitter = self._emitter is not None and hmac.compare_digest(given, self._emitter)
        if not (is_admin or is_emitter):
            raise Unauthorized("the token is wrong")
        if not (is_admin or emits):
            raise Forbidden("this token may only POST /api/events: use the token of an administrator")


def _bytes(token: SecretStr | None) -> bytes | None:
    return token.get_secret_value().encode() if token is not None else None


def _check_browser(headers: Mapping[bytes, bytes]) -> None:
    host = headers.get(b"host", b"").decode("latin-1")
    if host and not _is_loopback(host):
        raise Forbidden(
            f"{host!r} is not a name of this machine: without TOCSIN_TOKEN use http://127.0.0.1 or http://localhost"
        )
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and origin.rpartition("://")[2] != host:
        raise Forbidden(f"a page of {origin!r} may not call this server: without TOCSIN_TOKEN only its own pages may")


def _is_loopback(host: str) -> bool:
    """Return whether a `Host` header names the loopback interface, with or without a port."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name in LOOPBACK or name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

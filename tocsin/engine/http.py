"""Outgoing HTTP: one client for the process, that calls only what may be called.

The check is made on the numeric address, at the moment when the socket for it is made: whatever a name resolves to,
and however an address is spelled, what was checked is what is called. Hosts that event data fills in have connections
of their own, so that they can not use one that was opened to a trusted host.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tocsin.actions.ports import AddressRefused, Request, Response
from tocsin.engine.addresses import why_refused
from tocsin.errors import ActionFailed

_BODY_BYTES = 16_384
_BODY_S = 2.0  # an answer counts by its status; a body that does not come is not waited for
_NAMES_S = 30  # how long a resolved name is used
_IDLE_S = 4.0  # less than the 5 s after which common servers close, so that a request rarely meets a closing one
_RESOLVERS = 16


class HttpClient:
    """Fits the port `Http`; an asynchronous context manager. `allow_hosts` may be named by event data as well."""

    def __init__(self, *, allow_hosts: Collection[str] = ()) -> None:
        """Prepare; connections are made when they are needed."""
        self._allowed = frozenset(host.lower() for host in allow_hosts)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the sessions."""
        resolver = _Resolver()
        self._stack.callback(resolver.shut)
        self._trusted = await self._stack.enter_async_context(_session(resolver, public_only=False))
        self._public = await self._stack.enter_async_context(_session(resolver, public_only=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._stack.aclose()

    async def request(self, request: Request) -> Response:
        """Send the request and return the answer, whatever its status.

        Raises:
            ActionFailed: there was no answer; the text holds host and port, never the path or a header.
            AddressRefused: the host may not be called.
        """
        url = _checked(request.url)
        trusted = request.trusted or (url.host or "").lower() in self._allowed
        session = self._trusted if trusted else self._public
        place = f"{url.host}:{url.port}"
        try:
            async with session.request(
                request.method, url, headers=request.headers, data=request.body, allow_redirects=False
            ) as answer:
                ends_s = None
                if request.limit is not None:  # or else an effect that is known to have arrived would be repeated
                    ends_s = request.limit.when()
                    request.limit.reschedule(None)
                return Response(answer.status, answer.headers, await _beginning(answer, ends_s))
        except aiohttp.ClientConnectorCertificateError:
            raise ActionFailed(f"{place}: its certificate is not valid for it") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _Refused):
                raise AddressRefused(f"{url.host} {error.os_error}") from None
            raise ActionFailed(f"{place}: {error.os_error.strerror or 'can not be reached'}") from None
        except aiohttp.ClientResponseError:
            raise ActionFailed(f"{place}: what it answered is not HTTP") from None
        except (aiohttp.InvalidURL, ValueError):
            raise ActionFailed(f"{place}: the request can not be written", permanent=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ActionFailed(f"{place}: the connection broke ({type(error).__name__})") from None


def _checked(address: str) -> URL:
    """Read an address that a template may have filled in; nothing of it is repeated, it may be a secret."""
    try:
        url = URL(address)
        host, port = url.host, url.port
    except ValueError:
        host, port = None, None
    if not host or port is None or url.scheme not in ("http", "https") or url.user is not None:
        raise ActionFailed("the url did not come out as http(s)://HOST/PATH without a user", permanent=True)
    return url


async def _beginning(answer: aiohttp.ClientResponse, ends_s: float | None) -> str:
    """Return how the body begins, until a moment of the loop; less of it when it is slow or breaks off."""
    if answer.content.is_eof():  # a short one came with the headers
        return answer.content.read_nowait(_BODY_BYTES).decode(errors="replace")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S), asyncio.timeout_at(ends_s):
            while len(body) < _BODY_BYTES and (part := await answer.content.read(_BODY_BYTES - len(body))):
                body += part
    except (TimeoutError, aiohttp.ClientError):
        answer.close()
    return body.decode(errors="replace")


def _session(resolver: AbstractResolver, *, public_only: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # the dispatcher's lanes bound how much is under way
        resolver=resolver,
        ttl_dns_cache=_NAMES_S,
        keepalive_timeout=_IDLE_S,
        socket_factory=partial(_socket, public_only=public_only),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # the action's own time limit holds
        auto_decompress=False,
        headers={"User-Agent": "tocsin", "Accept-Encoding": "identity"},
    )


class _Refused(OSError):
    """The address may not be called."""


def _socket(address: tuple[Any, ...], *, public_only: bool) -> socket.socket:
    """Make the socket for one address that is about to be called, unless it may not be."""
    family, kind, protocol, _name, place = address
    refusal = why_refused(place[0], public_only=public_only)
    if refusal is not None:
        raise _Refused(refusal)
    return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """Looks names up in threads of its own: names that hang do not keep others from the threads of the process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="tocsin-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(hostname=host, host=str(place[0]), port=port, family=kind, proto=protocol,
                          flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
            for kind, _type, protocol, _name, place in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Do nothing: both sessions share this resolver, `shut` ends it."""

    def shut(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

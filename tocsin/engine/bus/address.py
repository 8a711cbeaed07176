"""Where the bus is: from a URL to FastStream's broker; one Redis, Sentinel or a cluster, with or without TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from faststream.redis import RedisBroker, RedisSentinelBroker
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import SentinelManagedSSLConnection

from tocsin.engine.bus.cluster import PipeliningClusterBroker
from tocsin.errors import TocsinError

REDIS_PORT, SENTINEL_PORT = 6379, 26379
CONNECT_S, ANSWER_S = 3.0, 5.0
"""How long Redis may take to accept a connection, and to answer, in seconds; what takes longer has failed."""

_USE = (
    "use redis://HOST:PORT/DB (rediss:// for TLS), redis+sentinel://HOST:PORT,HOST:PORT/SERVICE?db=DB"
    " or redis+cluster://HOST:PORT,HOST:PORT"
)


class Kind(StrEnum):
    """What is behind the address."""

    SINGLE = "redis"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


@dataclass(frozen=True)
class Address:
    """A bus: `kind`, the hosts, and what `redis.asyncio` takes from a URL. Its `str` holds no password."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    url: str = field(repr=False)
    service: str = ""
    tls: bool = False
    sentinel_login: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @cached_property
    def shown(self) -> str:
        """The address as people may see it: no login, no options."""
        scheme = self.kind.replace("redis", "rediss", 1) if self.tls else self.kind.value
        if not self.hosts:
            return f"unix://{urlsplit(self.url).path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{scheme}://{hosts}{'/' + self.service if self.service else ''}"

    def __str__(self) -> str:
        """Return it as people may see it."""
        return self.shown

    def broker(self, **options: Any) -> RedisBroker:
        """Return a broker that is not connected yet; it is silent: who uses it says what is wrong.

        Nothing is retried in there: a publisher must know what came of an attempt, and everything else has a loop.
        """
        shared: dict[str, Any] = {
            "logger": None,
            "apply_types": False,  # nothing is injected into our one handler, and each message would pay for it
            "graceful_timeout": 5.0,
            "socket_timeout": ANSWER_S,
            "socket_connect_timeout": CONNECT_S,
            "specification_url": self.shown,
            **options,
        }
        if self.kind is Kind.CLUSTER:
            return PipeliningClusterBroker(self.url, startup_nodes=self.hosts, **shared)
        if self.kind is Kind.SENTINEL:
            nodes: dict[str, Any] = {"socket_timeout": CONNECT_S, "socket_connect_timeout": CONNECT_S, "ssl": self.tls}
            if self.tls:
                shared["connection_class"] = SentinelManagedSSLConnection
                nodes |= _tls_options(self.url)
            nodes |= dict(self.sentinel_login)
            return RedisSentinelBroker(
                self.url,
                sentinels=list(self.hosts),
                sentinel_master_name=self.service,
                sentinel_kwargs=nodes,
                **shared,
            )
        return RedisBroker(self.url, **shared)


def address_of(url: str) -> Address:
    """Return the bus that a URL names.

    Raises:
        TocsinError: the URL is none of a bus; the message repeats nothing of its login.
    """
    parts = urlsplit(url)
    secure = parts.scheme.startswith("rediss")
    if parts.scheme == "unix":
        return Address(Kind.SINGLE, (), url)
    try:
        kind = Kind(parts.scheme.replace("rediss", "redis", 1))
        login, _, places = parts.netloc.rpartition("@")
        port = SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT
        hosts = tuple(_place(place, port) for place in places.split(","))
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise TocsinError(f"the address of the bus is none: {_USE}") from None
    path = unquote(parts.path.strip("/"))
    if len(hosts) > 1 and kind is Kind.SINGLE:
        raise TocsinError(f"the address of the bus names several hosts, and neither sentinel nor cluster: {_USE}")
    if kind is Kind.SENTINEL and not path:
        raise TocsinError(f"the address of the bus names no service of the sentinels: {_USE}")
    if kind is Kind.CLUSTER and (path or "db" in query):
        raise TocsinError("the address of the bus names a database, and a cluster has none: leave it out")
    sentinel_login = tuple(
        (name.removeprefix("sentinel_"), query.pop(name))
        for name in ("sentinel_username", "sentinel_password")
        if name in query
    )
    host, port = hosts[0]
    plain = f"{'rediss' if secure else 'redis'}://{login + '@' if login else ''}{_netloc(host)}:{port}"
    plain += f"/{path}" if kind is Kind.SINGLE and path else ""
    plain += f"?{urlencode(query)}" if query else ""
    service = path if kind is Kind.SENTINEL else ""
    address = Address(kind, hosts, plain, service, secure, sentinel_login)
    _options(plain)
    return address


def _place(text: str, default: int) -> tuple[str, int]:
    """Return host and port of `host`, `host:port` or `[v6]:port`. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or default


def _netloc(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _options(url: str) -> dict[str, Any]:
    """Return what redis-py reads from a URL. Raises TocsinError without repeating it."""
    try:
        return dict(parse_url(url))
    except (ValueError, TypeError):
        raise TocsinError(f"the options of the bus's address are wrong: {_USE}") from None


def _tls_options(url: str) -> dict[str, Any]:
    return {name: value for name, value in _options(url).items() if name.startswith("ssl_")}

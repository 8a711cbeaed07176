"""One frozen `Settings`, read once from the environment and the flags, and passed down as values."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tocsin.schemas.moments import Duration
from tocsin.sources.limits import Limits

Role = Literal["api", "recorder", "evaluator", "dispatcher", "worker"]
ROLES: tuple[Role, ...] = get_args(Role)
"""What a process can do: take events and answer, record them from the bus, judge, act, run flows."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(BaseSettings):
    """Everything that can be set; one environment variable `TOCSIN_<NAME>` each, flags win."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(Path(".tocsin"), description="Where the SQLite file, the lock and the output of runs live.")
    database: str | None = Field(None, repr=False, description="Database URL; by default SQLite in the home directory.")
    roles: Annotated[frozenset[Role], NoDecode] = Field(
        frozenset(ROLES), description="What this process does; by default everything. Fewer need a PostgreSQL database."
    )
    shards: int = Field(
        8, ge=1, le=1024, description="Among how many shards a new PostgreSQL database divides its automations."
    )
    bus: str | None = Field(
        None, repr=False,
        description="URL of a Redis stream in front of the log: `redis://`, `rediss://`, `redis+sentinel://` or"
        " `redis+cluster://`. Needs a PostgreSQL database.",
    )  # fmt: skip
    bus_durability: Literal["strict", "relaxed"] = Field(
        "strict", description="What is answered is safe in Redis (`strict`), or Redis may lose its last second."
    )
    bus_replicas: int | None = Field(
        None, ge=0, le=10,
        description="How many replicas of Redis must have an event; by default 1 behind Sentinel or a cluster, else 0.",
    )  # fmt: skip
    bus_max_entries: int = Field(
        1_000_000, ge=1, description="The most entries in the bus's stream, one a request; beyond: 429."
    )
    bus_stream: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,100}$")] = Field(
        "tocsin:events",
        description="The key of the bus's stream; servers of one database share it, others have their own.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on; other than loopback needs a token.")
    port: int = Field(8710, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/]+")] | None = Field(
        None, description="Where commands find the API, and runs of flows; by default the address listened on."
    )
    token: SecretStr | None = Field(None, description="Bearer token of administrators.")
    emit_token: SecretStr | None = Field(None, description="Bearer token that may only POST events.")
    api_secrets: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="Environment variables that definitions sent over the API may use as secrets."
    )
    allow_hosts: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="Hosts that templates may fill in although they are not public."
    )
    settle: Duration = Field(timedelta(seconds=60), description="How long verdicts wait after an outage (law S2).")
    blind_after: Duration = Field(
        timedelta(seconds=10), ge=timedelta(seconds=3), description="A longer gap is an outage (law S2); at least 3s."
    )
    lateness: Duration = Field(timedelta(seconds=60), description="Default `lateness` of triggers (law R3).")
    max_depth: int = Field(3, ge=1, le=100, description="How often an automation may fire from its own chain (law F5).")
    event_bytes: int = Field(1 << 20, ge=1024, description="The largest event, in bytes.")
    batch_events: int = Field(10_000, ge=1, description="The most events in one request.")
    batch_bytes: int = Field(16 << 20, ge=1024, description="The largest request, in bytes.")
    name_chars: int = Field(1_024, ge=1, description="The longest event name, in characters.")
    labels: int = Field(500, ge=1, description="The most labels on one resource.")
    related: int = Field(100, ge=0, description="The most related resources of one event.")
    keep_events: Duration = Field(timedelta(days=90), description="How long events and their identities are kept.")
    keep_firings: Duration = Field(timedelta(days=365), description="How long firings and their actions are kept.")
    keep_runs: Duration = Field(timedelta(days=90), description="How long runs of flows and their output are kept.")
    queue_events: int = Field(50_000, ge=1, description="The most events waiting to be appended; beyond: 429.")
    heartbeat_url: SecretStr | None = Field(
        None, description="An address that is called while this process does its work, for a check from outside."
    )
    heartbeat_every: Duration = Field(
        timedelta(seconds=30), ge=timedelta(seconds=1), description="How often `heartbeat_url` is called."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        for name in ("api_secrets", "allow_hosts", "roles"):
            if isinstance(text := values.get(name), str):
                values[name] = frozenset(part.strip() for part in text.split(",") if part.strip())
        return values

    @field_validator("token", "emit_token")
    @classmethod
    def _not_empty(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not token.get_secret_value().strip():
            raise ValueError("an empty token keeps nobody out: give it a value, or leave it out")
        return token

    @field_validator("heartbeat_url")
    @classmethod
    def _callable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("the heartbeat is sent to http://… or https://…")
        return url

    @model_validator(mode="after")
    def _token_where_needed(self) -> Self:
        if self.token is None and self.host not in LOOPBACK:
            raise ValueError(f"listening on {self.host} needs TOCSIN_TOKEN; without a token only loopback is allowed")
        if self.token is None and self.emit_token is not None:
            raise ValueError("TOCSIN_EMIT_TOKEN protects nothing without TOCSIN_TOKEN: set that, too")
        return self

    @model_validator(mode="after")
    def _split_where_shared(self) -> Self:
        if not self.roles:
            raise ValueError(f"a process without a role does nothing: name some of {', '.join(ROLES)}")
        if self.roles != frozenset(ROLES) and self.database_url().startswith("sqlite"):
            raise ValueError("roles are divided among processes that share a PostgreSQL database: set TOCSIN_DATABASE")
        if self.bus is None and "recorder" in self.roles and self.roles != frozenset(ROLES):
            raise ValueError("a recorder takes events from a bus into the log: set TOCSIN_BUS, or leave that role out")
        if self.bus is not None and self.database_url().startswith("sqlite"):
            raise ValueError("a bus is in front of a PostgreSQL database: set TOCSIN_DATABASE, or leave out TOCSIN_BUS")
        return self

    def limits(self) -> Limits:
        """Return what bounds one request, or one entry of a bus."""
        return Limits(
            event_bytes=self.event_bytes,
            batch_events=self.batch_events,
            batch_bytes=self.batch_bytes,
            name_chars=self.name_chars,
            labels=self.labels,
            related=self.related,
        )

    def database_url(self) -> str:
        """Return the database's URL; the default is a SQLite file in the home directory."""
        return self.database or f"sqlite:///{(self.home / 'tocsin.db').absolute()}"

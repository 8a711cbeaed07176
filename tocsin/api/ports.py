"""What the API needs of an App: `tocsin.app.App` fits by shape, and so do the doubles of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tocsin.clock import Clock
from tocsin.schemas.document import Document
from tocsin.schemas.event import Event
from tocsin.schemas.flow import Flow, Queue
from tocsin.schemas.source import AnySource
from tocsin.settings import Settings
from tocsin.store.writer import Fresh, Transaction

T = TypeVar("T")


class Receipt(Protocol):
    """What became of the events of one request."""

    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int | None: ...
    @property
    def ids(self) -> Sequence[str]: ...


class Recorder(Protocol):
    """What puts events into the log; they are durable when it returns (law E3)."""

    async def record(self, events: Sequence[Event]) -> Receipt:
        """Raises Overloaded and Unavailable; nothing was kept then."""
        ...


class Definitions(Protocol):
    """What is defined, by files and over the API."""

    @property
    def document(self) -> Document: ...

    def source(self, name: str) -> AnySource | None: ...

    def flow(self, name: str) -> Flow | None: ...

    def queue(self, name: str) -> Queue | None: ...

    async def automations(self) -> list[dict[str, Any]]:
        """Return `{definition, origin, paused, state, ...}` of every automation."""
        ...

    async def put(self, kind: str, name: str, spec: Any) -> object:
        """Raises InvalidDefinition, and Conflict for what comes from files."""
        ...

    async def delete(self, kind: str, name: str) -> object:
        """Raises NotFound, and Conflict for what comes from files."""
        ...

    async def pause(self, kind: str, name: str) -> object:
        """Raises NotFound."""
        ...

    async def resume(self, kind: str, name: str) -> object:
        """Raises NotFound."""
        ...


class Writer(Protocol):
    """The one writer of the process."""

    on_fresh: list[Callable[[list[Fresh]], None]]

    async def run(self, unit: Callable[[Transaction], T]) -> T: ...


class Readiness(Protocol):
    """Whether the server does its work now; its other fields say what is late or missing."""

    @property
    def ready(self) -> bool: ...


class Served(Protocol):
    """A running App."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def recorder(self) -> Recorder: ...
    @property
    def definitions(self) -> Definitions: ...
    @property
    def writer(self) -> Writer: ...

    async def read(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a query of the store in a thread."""
        ...

    async def readiness(self) -> Readiness: ...

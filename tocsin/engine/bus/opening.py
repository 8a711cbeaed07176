"""What the composition root opens: the two ends of the bus, from the settings."""

from __future__ import annotations

from tocsin.clock import Clock
from tocsin.engine.bus.address import Kind, address_of
from tocsin.engine.bus.intake import Intake, Name
from tocsin.engine.bus.publisher import Bounds, Publisher
from tocsin.errors import TocsinError
from tocsin.settings import Settings
from tocsin.sources.native import NativeParser
from tocsin.store.writer import Writer


def publisher_of(settings: Settings, clock: Clock) -> Publisher:
    """Return the publisher of a process that takes events; it is not started. Raises TocsinError: no or a wrong bus."""
    address = address_of(_url(settings))
    strict = settings.bus_durability == "strict"
    replicas = settings.bus_replicas
    if replicas is None:  # where a replica may take over, it must have what was answered
        replicas = int(strict and address.kind is not Kind.SINGLE)
    bounds = Bounds(entries=settings.bus_max_entries, events=settings.queue_events, strict=strict, replicas=replicas)
    return Publisher(address, clock, stream=settings.bus_stream, bounds=bounds)


def intake_of(settings: Settings, writer: Writer, *, parser: NativeParser, process: str) -> Intake:
    """Return the intake of a process, which has a name of its own; it is not started. Raises TocsinError."""
    name = Name(settings.bus_stream, process)
    return Intake(address_of(_url(settings)), writer, name=name, parser=parser)


def shown(settings: Settings) -> str | None:
    """Return the bus's address without its login, None without a bus. Raises TocsinError."""
    return None if settings.bus is None else str(address_of(settings.bus))


def _url(settings: Settings) -> str:
    if settings.bus is None:
        raise TocsinError("there is no bus: set TOCSIN_BUS")
    return settings.bus

"""From settings to the parts of the bus that a process needs."""

from __future__ import annotations

from tocsin.clock import Clock
from tocsin.engine.bus.address import Address, Kind, address_of
from tocsin.engine.bus.intake import Intake, Name
from tocsin.engine.bus.publisher import Bounds, Publisher
from tocsin.settings import Settings
from tocsin.sources.native import NativeParser
from tocsin.store.writer import Writer


def shown(settings: Settings) -> str | None:
    """Return the address of the bus without its secrets; None where there is no bus."""
    return None if settings.bus is None else f"{_address(settings)} {settings.bus_stream}"


def publisher_of(settings: Settings, clock: Clock) -> Publisher:
    """Return what takes events to the bus. Raises TocsinError: the URL is none."""
    address = _address(settings)
    replicas = settings.bus_replicas
    if replicas is None:
        replicas = 0 if address.kind is Kind.SINGLE else 1
    strict = settings.bus_durability == "strict"
    bounds = Bounds(settings.bus_max_entries, settings.queue_events, strict=strict, replicas=replicas)
    return Publisher(address, clock, stream=settings.bus_stream, bounds=bounds)


def intake_of(settings: Settings, writer: Writer, *, name: str) -> Intake:
    """Return what records what is on the bus, under a name of its own. Raises TocsinError: the URL is none."""
    parser = NativeParser(settings.limits())
    return Intake(_address(settings), writer, name=Name(settings.bus_stream, name), parser=parser)


def _address(settings: Settings) -> Address:
    assert settings.bus is not None
    return address_of(settings.bus)

"""A look at the bus from outside: is it there, what is in it, and may it lose what it has answered?"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tocsin.engine.bus.address import CONNECT_S, address_of
from tocsin.engine.bus.channel import BUS_ERRORS, Channel, away
from tocsin.engine.bus.durability import waits_for
from tocsin.errors import TocsinError
from tocsin.settings import Settings

_PATIENCE_S = 2 * CONNECT_S


async def check_up(settings: Settings) -> str:
    """Return in words how the bus is; nothing is written to it.

    Raises:
        TocsinError: it does not answer, or may lose what it has answered although durability is strict.
    """
    address = address_of(settings.bus or "")
    strict = settings.bus_durability == "strict"
    broker = address.broker()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            client = await broker.connect()
            risk = ""
            try:
                await waits_for(client, str(address), strict=True, replicas=0)
            except TocsinError as error:
                if strict:
                    raise
                risk = f"; relaxed: {str(error).partition(': ')[0]}"
            there = "no stream yet"
            if await client.exists(settings.bus_stream):
                figures = await Channel(client, settings.bus_stream).figures()
                there = f"{figures.length:,} entries, {figures.pending:,} being recorded"
    except BUS_ERRORS as error:
        raise away(str(address), error) from None
    finally:
        with suppress(*BUS_ERRORS):
            await broker.stop()
    return f"{address} answers, {there}{risk}"

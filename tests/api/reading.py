"""What tests read behind the API's back."""

from __future__ import annotations

from tocsin.app import App
from tocsin.schemas.event import Event
from tocsin.store import log


async def kept(app: App) -> list[Event]:
    """Return the events of others that are in the log, in order."""
    arrivals = await app.read(log.after, 0, limit=1_000)
    return [arrival.event for arrival in arrivals if arrival.event.source != log.OWN_SOURCE]

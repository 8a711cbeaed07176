"""`/api/firings`: what was judged."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, Since, Text, found, paged
from tocsin.schemas.firing import Verdict
from tocsin.store import firings

router = APIRouter(prefix="/api/firings", tags=["firings"])


@router.get("")
async def list_firings(
    app: Running,
    *,
    since_us: Since,
    automation: Text = None,
    verdict: Verdict | None = None,
    state: Literal["open"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Json:
    """Return firings, the newest first; `state=open` are those that were missed and are not resolved."""
    page = await app.read(
        firings.page,
        automation=automation,
        verdict=verdict,
        state=state,
        since_us=since_us,
        limit=limit,
        cursor=cursor,
    )
    return paged(page)


@router.get("/{firing_id}")
async def get_firing(app: Running, *, firing_id: str) -> Json:
    """Return one firing."""
    return found(await app.read(firings.find, firing_id), f"firing {firing_id!r}")

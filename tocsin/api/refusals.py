"""`/api/refusals`: what came over the bus and is no event."""

from __future__ import annotations

from fastapi import APIRouter

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, paged
from tocsin.store import refusals

router = APIRouter(prefix="/api/refusals", tags=["events"])


@router.get("")
async def list_refusals(app: Running, *, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return the entries of the bus that were refused, newest first: when, why, and what came."""
    return paged(await app.read(refusals.page, limit=limit, cursor=cursor))

"""`/api/flows`: what can be run, and the schedules by which it runs by itself."""

from __future__ import annotations

from fastapi import APIRouter

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, found, part_of
from tocsin.app import App

KIND = "flow"

router = APIRouter(prefix="/api/flows", tags=["flows"])


@router.get("")
async def list_flows(app: Running, *, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return flows by name, with the moment at which each runs next by its schedule."""
    return part_of(await app.flows(), limit=limit, cursor=cursor)


@router.get("/{name}")
async def get_flow(app: Running, *, name: str) -> Json:
    """Return one flow, with the moment at which it runs next."""
    return await _shown(app, name)


@router.post("/{name}/pause")
async def pause_flow(app: Running, *, name: str) -> Json:
    """Pause a flow's schedule; the flow can still be run."""
    await app.definitions.pause(KIND, name)
    return await _shown(app, name)


@router.post("/{name}/resume")
async def resume_flow(app: Running, *, name: str) -> Json:
    """Resume a flow's schedule; its `catch_up` says what of the pause is run (law T2)."""
    await app.definitions.resume(KIND, name)
    return await _shown(app, name)


async def _shown(app: App, name: str) -> Json:
    return found(await app.flow(name), f"flow {name!r}")

"""`/api/queues`: how much waits and runs, and pausing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, part_of
from tocsin.app import App
from tocsin.errors import NotFound
from tocsin.store import queues
from tocsin.store.writer import Transaction

BY = "api"
"""Who pauses and resumes, as far as the store is told."""

router = APIRouter(prefix="/api/queues", tags=["queues"])

_UNUSED: Mapping[str, Any] = {"paused": False, "paused_by": None, "paused_at": None, "waiting": 0, "running": 0}


@router.get("")
async def list_queues(app: Running, *, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return queues by name, those that are declared and those that are in use."""
    known = await _known(app)
    return part_of([known[name] for name in sorted(known)], limit=limit, cursor=cursor)


@router.post("/{name}/pause")
async def pause_queue(app: Running, name: str) -> Json:
    """Start nothing more from a queue; what runs goes on."""

    def unit(tx: Transaction) -> bool:
        return queues.pause(tx, name, BY)

    await _check(app, name)
    await app.writer.run(unit)
    return Json((await _known(app))[name])


@router.post("/{name}/resume")
async def resume_queue(app: Running, name: str) -> Json:
    """Start runs from a queue again."""

    def unit(tx: Transaction) -> bool:
        return queues.resume(tx, name, BY)

    await _check(app, name)
    await app.writer.run(unit)
    return Json((await _known(app))[name])


async def _check(app: App, name: str) -> None:
    if name not in await _known(app):
        raise NotFound(f"there is no queue {name!r}")


async def _known(app: App) -> dict[str, dict[str, Any]]:
    declared = {
        queue.name: {"name": queue.name, "concurrency": queue.concurrency, **_UNUSED}
        for queue in app.definitions.queues()
    }
    used = {
        name: {"name": name, "concurrency": None, **declared.get(name, {}), **state}
        for name, state in (await app.read(queues.states)).items()
    }
    return declared | used

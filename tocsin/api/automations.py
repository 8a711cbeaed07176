"""`/api/automations`: definitions and their live state. What came from files is changed in files (409)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from tocsin.api.answers import Json
from tocsin.api.ports import Served
from tocsin.api.query import App, Cursor, Limit, found, paged
from tocsin.store.page import Page, decode_cursor, encode_cursor

KIND = "automation"

router = APIRouter(prefix="/api/automations", tags=["automations"])

Definition = Annotated[dict[str, Any], Body(description="An automation, as in YAML.")]


@router.get("")
async def list_automations(app: App, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return automations by name, with their state."""
    start = decode_cursor(cursor) if cursor is not None else 0
    known = sorted(await app.definitions.automations(), key=_name)
    following = encode_cursor(start + limit) if start + limit < len(known) else None
    return paged(Page(known[start : start + limit], following))


@router.get("/{name}")
async def get_automation(app: App, name: str) -> Json:
    """Return one automation, with its state."""
    return await _shown(app, name)


@router.put("/{name}")
async def put_automation(app: App, name: str, definition: Definition) -> Json:
    """Create or replace an automation; it is active when this answers."""
    await app.definitions.put(KIND, name, definition)
    return await _shown(app, name)


@router.delete("/{name}", status_code=204)
async def delete_automation(app: App, name: str) -> None:
    """Remove an automation."""
    await app.definitions.delete(KIND, name)


@router.post("/{name}/pause")
async def pause_automation(app: App, name: str) -> Json:
    """Pause an automation; it keeps its windows and gives no verdicts (law S4)."""
    await app.definitions.pause(KIND, name)
    return await _shown(app, name)


@router.post("/{name}/resume")
async def resume_automation(app: App, name: str) -> Json:
    """Resume an automation; the pause is treated like an outage (law S4)."""
    await app.definitions.resume(KIND, name)
    return await _shown(app, name)


async def _shown(app: Served, name: str) -> Json:
    known = await app.definitions.automations()
    return found(next((one for one in known if _name(one) == name), None), f"automation {name!r}")


def _name(automation: dict[str, Any]) -> str:
    name: str = automation["definition"]["name"]
    return name

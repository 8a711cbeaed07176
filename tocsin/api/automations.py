"""`/api/automations`: definitions and their live state. What came from files is changed in files (409)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, found, paged
from tocsin.app import App
from tocsin.errors import NotFound
from tocsin.store.page import Page, decode_cursor, encode_cursor

KIND = "automation"

router = APIRouter(prefix="/api/automations", tags=["automations"])

Definition = Annotated[dict[str, Any], Body(description="An automation, as in YAML.")]


class Key(BaseModel):
    """One key of an automation."""

    model_config = ConfigDict(extra="forbid")

    labels: dict[str, str] = Field(description="The labels that make the key, under the names in `for_each`.")


@router.get("")
async def list_automations(app: Running, *, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Return automations by name, in brief."""
    start = decode_cursor(cursor) if cursor is not None else 0
    known = await app.automations(start=start, limit=limit + 1)
    following = encode_cursor(start + limit) if len(known) > limit else None
    return paged(Page(known[:limit], following))


@router.get("/{name}")
async def get_automation(app: Running, *, name: str) -> Json:
    """Return one automation with what it waits for: open windows, next deadlines; and its last firing."""
    return await _shown(app, name)


@router.put("/{name}")
async def put_automation(app: Running, *, name: str, definition: Definition) -> Json:
    """Create or replace an automation; it is active when this answers."""
    await app.definitions.put(KIND, name, definition)
    return await _shown(app, name)


@router.delete("/{name}", status_code=204)
async def delete_automation(app: Running, *, name: str) -> None:
    """Remove an automation."""
    await app.definitions.delete(KIND, name)


@router.post("/{name}/pause")
async def pause_automation(app: Running, *, name: str) -> Json:
    """Pause an automation; it keeps its windows and gives no verdicts (law S4)."""
    await app.definitions.pause(KIND, name)
    return await _shown(app, name)


@router.post("/{name}/resume")
async def resume_automation(app: Running, *, name: str) -> Json:
    """Resume an automation; the pause is treated like an outage (law S4)."""
    await app.definitions.resume(KIND, name)
    return await _shown(app, name)


@router.post("/{name}/forget")
async def forget_key(app: Running, *, name: str, key: Key) -> Json:
    """Stop watching one key, until its next event (law P8); answer with what was decided about it."""
    if app.definitions.origin(KIND, name) is None:
        raise NotFound(f"there is no automation {name!r}")
    decisions = await app.forget(name, key.labels)
    return Json({"decisions": [decision.document() for decision in decisions]})


async def _shown(app: App, name: str) -> Json:
    return found(await app.automation(name), f"automation {name!r}")

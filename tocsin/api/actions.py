"""`/api/actions`: what is done about firings, with every attempt."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, Text, paged
from tocsin.store import intents
from tocsin.store.intents import IntentState

router = APIRouter(prefix="/api/actions", tags=["actions"])


class Farewell(BaseModel):
    """Why an action is given up."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1_000, description="Stands in the action's record.")


@router.get("")
async def list_actions(
    app: Running,
    *,
    state: IntentState | None = None,
    automation: Text = None,
    type: Text = None,
    firing: Text = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Json:
    """Return actions, the newest first; those with `state=dead` have failed for good and can be retried."""
    page = await app.read(
        intents.page, state=state, automation=automation, type=type, firing=firing, limit=limit, cursor=cursor
    )
    return paged(page)


@router.get("/{action_id}")
async def get_action(app: Running, *, action_id: str) -> Json:
    """Return one action with every attempt."""
    return Json(await app.read(intents.show, action_id))


@router.post("/{action_id}/retry")
async def retry_action(app: Running, *, action_id: str) -> Json:
    """Attempt an action again, now, under the same idempotency key."""
    return Json(await app.dispatcher.retry(action_id))


@router.post("/{action_id}/discard")
async def discard_action(app: Running, *, action_id: str, farewell: Farewell) -> Json:
    """Give up on an action that waits or has failed for good, saying why; a retry takes that back."""
    return Json(await app.dispatcher.discard(action_id, farewell.reason))

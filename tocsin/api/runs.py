"""`/api/runs`: runs of flows."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, Text, found, paged
from tocsin.errors import NotFound
from tocsin.flows.output import log_path, read_log
from tocsin.schemas.identity import uuid7
from tocsin.schemas.run import Run
from tocsin.store import runs
from tocsin.store.writer import Transaction

router = APIRouter(prefix="/api/runs", tags=["runs"])

LOG_BYTES = 1 << 20
"""The most of a log in one answer."""


class Order(BaseModel):
    """What is to be run."""

    model_config = ConfigDict(extra="forbid")

    flow: str = Field(description="The name of a flow.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters; they win over the flow's own.")
    id: str | None = Field(None, description="The id of the run; sent again, nothing more is started.")


@router.get("")
async def list_runs(
    app: Running, *, flow: Text = None, queue: Text = None, state: Text = None, limit: Limit = 50, cursor: Cursor = None
) -> Json:
    """Return runs, the newest first."""
    return paged(await app.read(runs.page, flow=flow, queue=queue, state=state, limit=limit, cursor=cursor))


@router.get("/{run_id}")
async def get_run(app: Running, *, run_id: str) -> Json:
    """Return one run with its attempts."""
    return found(await app.read(runs.show, run_id), f"run {run_id!r}")


@router.get("/{run_id}/logs", response_class=Response)
async def get_logs(
    app: Running,
    *,
    run_id: str,
    offset: Annotated[int, Query(ge=0, le=1 << 60, description="The byte to begin with.")] = 0,
) -> Response:
    """Return what a run has written so far as text, 1 MiB at most; `Tocsin-Next-Offset` is where to read on."""
    if await app.read(runs.find, run_id) is None:
        raise NotFound(f"there is no run {run_id!r}")
    path = log_path(app.settings.home, run_id)
    part = await asyncio.to_thread(read_log, path, offset=offset, limit=LOG_BYTES)
    headers = {"Tocsin-Next-Offset": str(offset + len(part)), "X-Content-Type-Options": "nosniff"}
    return Response(part, media_type="text/plain; charset=utf-8", headers=headers)


@router.post("", status_code=202)
async def start_run(app: Running, *, order: Order) -> Json:
    """Let a flow run; the run waits in its queue."""
    flow = app.definitions.flow(order.flow)
    if flow is None:
        raise NotFound(f"there is no flow {order.flow!r}")

    def unit(tx: Transaction) -> Run:
        return runs.create(
            tx,
            flow=flow.name,
            queue=flow.queue,
            parameters={**flow.parameters, **order.parameters},
            run_id=order.id or uuid7(tx.now_us),
        )

    run = await app.writer.run(unit)
    return Json(run.document(), 202)


@router.post("/{run_id}/cancel")
async def cancel_run(app: Running, *, run_id: str) -> Json:
    """End a run: one that waits does not start, one that runs is stopped."""

    def unit(tx: Transaction) -> Run:
        return runs.cancel(tx, run_id, "api")

    run = await app.writer.run(unit)
    return Json(run.document())

"""`/healthz` and `/readyz`: alive, and doing its work; `/api/diagnosis`: what keeps it from that."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from tocsin.api.answers import Json
from tocsin.api.query import Running

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def is_alive() -> Json:
    """Answer at all."""
    return Json({"status": "alive"})


@router.get("/readyz")
async def is_ready(app: Running) -> Json:
    """Say whether the server does its work, and how far behind it is; 503 when it does not."""
    readiness = await app.readiness()
    if readiness.ready:
        return Json(readiness)
    return Json({**asdict(readiness), "error": f"not ready: {readiness.reason}", "errors": []}, 503)


@router.get("/api/diagnosis")
async def diagnose(app: Running) -> Json:
    """Say in words what is wrong with all the processes that share the database, and what to do about it."""
    return Json({"items": await app.watch.diagnosis(), "next": None})

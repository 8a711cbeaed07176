"""`/api/definitions`: everything that is defined; what a document would change, and changing it.

What came from files is changed in files. A document that is put here takes the place of all that came over the API
before, or with `keep` stands beside it; a name that files define is refused with 409, and nothing is changed.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query

from tocsin.api.answers import Json
from tocsin.api.query import Cursor, Limit, Running, paged
from tocsin.engine.entries import wanted_of
from tocsin.engine.plan import plan
from tocsin.store.page import Page, decode_cursor, encode_cursor

router = APIRouter(prefix="/api/definitions", tags=["definitions"])

Document = Annotated[dict[str, Any], Body(description="Definitions by section, as in a file; `tests` are not kept.")]
Keep = Annotated[bool, Query(description="Leave what came over the API before and is not in the document.")]


@router.get("")
async def list_definitions(
    app: Running,
    *,
    kind: Literal["automation", "source", "channel", "flow", "queue"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Json:
    """Return what is defined, by kind and name, with where it came from."""
    kinds = [kind] if kind is not None else ["automation", "source", "channel", "flow", "queue"]
    known = [(one, name) for one in kinds for name in sorted(app.definitions.entries(one))]
    start = decode_cursor(cursor) if cursor is not None else 0
    following = encode_cursor(start + limit) if start + limit < len(known) else None
    items = [_shown(app, *key) for key in known[start : start + limit]]
    return paged(Page(items, following))


@router.post("/plan")
async def plan_definitions(
    app: Running, *, document: Document, origin: Literal["api", "file"] = "api", keep: Keep = False
) -> Json:
    """Say what a document would change if it were put here, or with `origin=file` if files said so; nothing is done.

    For each definition that would change: `change` (`conflict` where its name belongs to the other origin), `fields`
    that differ, and for what is judged whether its `windows` are kept, and if not `because` of what (law S4).
    """
    wanted = await asyncio.to_thread(app.definitions.read_document, document, origin=origin, keep=keep)
    steps = await app.read(plan, wanted_of(wanted), origin=origin, keep=keep)
    return Json({"items": [step.document() for step in steps], "next": None})


@router.put("")
async def put_definitions(app: Running, *, document: Document, keep: Keep = False) -> Json:
    """Put a document into force; it is active when this answers with the names of what changed."""
    wanted = await asyncio.to_thread(app.definitions.read_document, document, origin="api", keep=keep)
    changes = await app.definitions.put_all(wanted, keep=keep)
    return Json(changes.document())


def _shown(app: Running, kind: str, name: str) -> dict[str, Any]:
    entry = app.definitions.entries(kind)[name]
    return {"kind": kind, "name": name, "origin": entry.origin, "definition": json.loads(entry.text)}

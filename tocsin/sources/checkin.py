"""Check-ins: a job says that it started, went well or failed by calling an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from tocsin.errors import NotFound
from tocsin.schemas.event import Event
from tocsin.schemas.source import CheckinSource
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request

BODY_BYTES = 10_000
"""The most that is kept of what a job sends with its check-in, from its end."""

_EXIT_STATUS = re.compile(r"[0-9]{1,3}")
_EXIT_STATUS_MAX = 255
_NAMES: Mapping[str, str] = {"": "checkin.ok", "start": "checkin.started", "fail": "checkin.failed"}


def checkin(spec: CheckinSource, signal: str, request: Request, *, parser: NativeParser) -> list[Event]:
    """Return the event of a call of `/ping/KEY[/SIGNAL]`: `checkin.ok`, `checkin.started` or `checkin.failed`.

    `signal` is empty, `start`, `fail` or an exit status; `?rid=` tells the runs of one job apart.

    Raises:
        NotFound: the signal is none of these.
        InvalidEvent: the run's id can not be kept.
    """
    status = int(signal) if _EXIT_STATUS.fullmatch(signal) else None
    resource: dict[str, Any] = {"id": f"checkin/{spec.address_key}", "name": spec.name}
    if rid := request.query.get("rid"):
        resource["rid"] = rid
    payload: dict[str, Any] = {} if status is None else {"exit_status": status}
    if text := request.body[-BODY_BYTES:].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"):
        payload["output"] = text
    event = {"event": _name(signal, status), "resource": resource, "payload": payload, "source": spec.name}
    return parser.parse(to_json(event))


def _name(signal: str, status: int | None) -> str:
    if status is not None and status <= _EXIT_STATUS_MAX:
        return _NAMES["fail" if status else ""]
    if signal not in _NAMES:
        raise NotFound(f"{signal!r} is no check-in: call /ping/KEY, or that with /start, /fail or an exit status")
    return _NAMES[signal]

"""What an automation is waiting for, told to people."""

from __future__ import annotations

from typing import Any

from tocsin.cli import output
from tocsin.clock import SystemClock
from tocsin.schemas.moments import Micros

_COLUMNS = ("key", "waits for", "counted", "next", "state", "last verdict")


def show_automation(found: dict[str, Any]) -> None:
    """Print an automation: its definition, then each of its keys on a line, then what was decided without an event."""
    now_us = SystemClock().now_us()
    about = {name: found[name] for name in ("state", "origin", "definition")}
    output.document(about)
    if last := found["last_firing"]:
        output.heading("last firing")
        output.line(f"{last['verdict']} {output.relative(last['at'], now_us)}: {last['reason']}")
    if keys := found["keys"]:
        output.heading(f"waiting ({len(keys)}{' shown' if len(keys) == found['keys_max'] else ''})")
        output.table(_COLUMNS, (_row(key, now_us) for key in keys))
    if decisions := found["decisions"]:
        output.heading("decided")
        rows = ((output.local(one["at"]), one["labels"], one["outcome"], one["text"]) for one in decisions)
        output.table(("at", "key", "outcome", "why"), rows)


def _row(key: dict[str, Any], now_us: Micros) -> tuple[Any, ...]:
    if "error" in key:
        return ("?", "", "", "", key["error"], "")
    counted, following = _progress(key)
    last = key["last"]
    said = f"{last['verdict']} {output.relative(last['at'], now_us)}" if last else None
    moment = f"{output.local(following)} ({output.relative(following, now_us)})" if following else None
    return key["labels"] or "(one key)", key.get("waits for"), counted, moment, _state(key, now_us), said


def _progress(key: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return how much was counted of how much, and the next moment at which something is decided by itself."""
    windows = [one for one in key.get("windows", ()) if one["outcome"] in (None, "late")]
    if windows:
        first = windows[0]
        return f"{first['counted']} of {first['of']}" if first["of"] > 1 else None, first["due"]
    if "children" in key:
        kept = sum(1 for child in key["children"] if child["kept"] and not child["not"])
        wanted = sum(1 for child in key["children"] if not child["not"])
        return f"{kept} of {wanted}", min(filter(None, key["decided"]), default=None)
    counted = key.get("counted", key.get("kept"))
    return (None if counted is None else f"{counted} of {key['of']}"), key.get("due") or key.get("next")


def _state(key: dict[str, Any], now_us: Micros) -> str | None:
    missed = key.get("missed")
    if isinstance(missed, dict):
        return f"missed since {output.local(missed['due'])}"
    if missed:
        return f"missed {', '.join(str(output.local(due)) for due in missed)}"
    if key.get("closed"):
        return "closed for good"
    if quiet := key.get("quiet until"):
        return f"quiet until {output.local(quiet)}" if output.is_ahead(quiet, now_us) else None
    if opened := key.get("opened"):
        return f"open since {output.local(opened)}"
    return None

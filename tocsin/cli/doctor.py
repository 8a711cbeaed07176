"""What is configured, and whether it is right, there and reachable."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Generator, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tocsin.cli.client import Client
from tocsin.cli.configuration import read_settings
from tocsin.clock import SystemClock
from tocsin.engine.diagnosis import Finding, diagnose
from tocsin.errors import TocsinError, Unavailable
from tocsin.review.check import check
from tocsin.schemas.moments import duration_us
from tocsin.settings import Settings
from tocsin.store import postgres, schema, vitals
from tocsin.store.database import Database

_ENOUGH_BYTES = 1 << 30
_SECRET = frozenset({"token", "emit_token", "database", "bus", "heartbeat_url"})  # or some part of it is
_ALIKE = 0.85  # two letters exchanged or one left out; TOCSIN_ATTEMPT and others belong to runs


def examine(path: Path | None) -> Iterator[Finding]:
    """Look at settings, home, definitions, secrets and server, and say what was found."""
    configured: Settings | None = None
    try:
        configured = read_settings()
    except TocsinError as error:
        yield Finding("settings", str(error), ok=False)
    else:
        yield Finding("settings", _settings(configured))
        yield _home(configured.home)
        if configured.database is not None:
            yield _database(configured.database)
        if configured.bus is not None:
            yield _bus(configured)
    yield from _misspelt()
    if path is not None:
        yield from _definitions(path)
    answered = yield from _server()
    if not answered and configured is not None and configured.database is not None:
        yield from _by_itself(configured)


def _settings(configured: Settings) -> str:
    """Return what differs from the defaults; secrets are never shown."""
    given = {name: getattr(configured, name) for name in sorted(configured.model_fields_set)}
    shown = ", ".join(f"{name} is {_shown(name, value)}" for name, value in given.items())
    return shown or "all by default"


def _misspelt() -> Iterator[Finding]:
    """Name each environment variable that looks like a setting, has almost its name, and is none."""
    known = {f"TOCSIN_{name.upper()}" for name in Settings.model_fields} | {"TOCSIN_URL"}
    for name in sorted(os.environ):
        if name.startswith("TOCSIN_") and name not in known and (near := get_close_matches(name, known, 1, _ALIKE)):
            yield Finding("setting", f"{name} is not known: did you mean {near[0]}?", ok=False)


def _shown(name: str, value: Any) -> str:
    return "set" if name in _SECRET else str(value)


def _home(home: Path) -> Finding:
    place = next(one for one in (home.absolute(), *home.absolute().parents) if one.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        return Finding("home", f"{place} can not be written: choose another TOCSIN_HOME", ok=False)
    free = shutil.disk_usage(place).free
    state = "there" if place == home.absolute() else "made at the first start"
    message = f"{home.absolute()} ({state}, {free >> 20:,} MiB free)"
    return Finding("home", message, ok=free >= _ENOUGH_BYTES)


def _database(url: str) -> Finding:
    try:
        database = Database(url)
        try:
            version = database.read(schema.version_of)
        finally:
            database.close()
    except TocsinError as error:
        return Finding("database", str(error), ok=False)
    if version in (schema.NEWEST, None):
        state = "empty, to be filled at the first start" if version is None else f"at version {version}"
        return Finding("database", f"reachable, {state}")
    message = f"at version {version}, this program needs {schema.NEWEST}: see tocsin migrate"
    return Finding("database", message, ok=False)


def _bus(configured: Settings) -> Finding:
    from tocsin.engine.bus.checkup import check_up

    try:
        return Finding("bus", asyncio.run(check_up(configured)))
    except TocsinError as error:
        return Finding("bus", str(error), ok=False)


def _definitions(path: Path) -> Iterator[Finding]:
    try:
        checked = check(path)
    except TocsinError as error:
        yield Finding("definitions", str(error), ok=False)
        return
    if checked.problems:
        yield Finding("definitions", f"{len(checked.problems)} things are wrong, see tocsin check {path}", ok=False)
        return
    yield Finding("definitions", f"{path}: {checked.summary()}")
    missing = checked.missing(os.environ, lambda file: Path(file).read_text(encoding="utf-8"))
    for reference in map(str, checked.secrets):
        yield Finding("secret", missing.get(reference, f"{reference} is there"), ok=reference not in missing)


def _server() -> Generator[Finding, None, bool]:
    """Ask a server how it is, and what is wrong with all processes that share its database; return if one answered."""
    try:
        with Client() as client:
            try:
                ready = client.get("/readyz")
                yield Finding("server", f"{client.url} is ready, judging is {ready['lag_s']:g} s late")
            except Unavailable as error:
                yield Finding("server", str(error), ok=False)
                if not client.alive():
                    return False
            yield from (Finding(**one) for one in client.get("/api/diagnosis")["items"])
    except TocsinError as error:
        yield Finding("server", str(error), ok=False)
        return False
    return True


def _by_itself(configured: Settings) -> Iterator[Finding]:
    """Look at the database, where no server says what is wrong."""
    try:
        database = Database(configured.database_url())
        try:
            now_us = SystemClock().now_us() if database.is_sqlite else database.read(postgres.now_us)
            seen = database.read(vitals.look, now_us=now_us)
        finally:
            database.close()
    except TocsinError as error:
        yield Finding("database", str(error), ok=False)
        return
    yield from diagnose(seen, blind_after_us=duration_us(configured.blind_after), shared=not database.is_sqlite)

"""What is configured, and whether it is right, there and reachable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tocsin.cli.client import Client
from tocsin.cli.configuration import read_settings
from tocsin.errors import InvalidInput, NotFound, TocsinError
from tocsin.schemas.document import Document
from tocsin.schemas.secret import SecretReference
from tocsin.settings import Settings
from tocsin.store import schema
from tocsin.store.database import Database
from tocsin.store.files import read_definitions

_ENOUGH_BYTES = 1 << 30
_ALIKE = 0.85  # two letters exchanged or one left out; TOCSIN_ATTEMPT and others belong to runs


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    finding: str
    ok: bool = True


def examine(path: Path | None) -> Iterator[Finding]:
    """Look at settings, home, definitions, secrets and server, and say what was found."""
    try:
        configured = read_settings()
    except TocsinError as error:
        yield Finding("settings", str(error), ok=False)
    else:
        yield Finding("settings", _settings(configured))
        yield _home(configured.home)
        if configured.database is not None:
            yield _database(configured.database)
    yield from _misspelt()
    if path is not None:
        yield from _definitions(path)
    yield from _server()


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
    return "set" if "token" in name or name == "database" else str(value)


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


def _definitions(path: Path) -> Iterator[Finding]:
    try:
        document = read_definitions(path)
    except InvalidInput as error:
        yield Finding("definitions", f"{len(error.problems)} things are wrong, see tocsin check {path}", ok=False)
        return
    yield Finding("definitions", f"{path}: {', '.join(_counts(document)) or 'nothing is defined'}")
    for reference in dict.fromkeys(map(str, _secrets(document))):
        yield _secret(next(one for one in _secrets(document) if str(one) == reference))


def _counts(document: Document) -> Iterator[str]:
    for section in type(document).model_fields:
        if count := len(getattr(document, section)):
            yield f"{count} {section}"


def _secrets(value: Any) -> Iterator[SecretReference]:
    """Return every reference to a secret below a value."""
    if isinstance(value, SecretReference):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _secret(reference: SecretReference) -> Finding:
    try:
        reference.resolve(os.environ, lambda file: Path(file).read_text(encoding="utf-8"))
    except NotFound as error:
        return Finding("secret", str(error), ok=False)
    return Finding("secret", f"{reference} is there")


def _server() -> Iterator[Finding]:
    try:
        with Client() as client:
            ready = client.get("/readyz") or {}
            yield Finding("server", f"{client.url} is ready")
    except TocsinError as error:
        yield Finding("server", str(error), ok=False)
        return
    for name, value in ready.items():
        if "lag" in name:
            yield Finding(name, str(value))

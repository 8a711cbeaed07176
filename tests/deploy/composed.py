"""docker-compose.yml as Compose reads it: variables are filled in, and what services share is put together.

Rules: https://docs.docker.com/reference/compose-file/interpolation/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
GIVEN = {
    "POSTGRES_PASSWORD": "postgres-password",
    "REDIS_PASSWORD": "redis-password",
    "TOCSIN_TOKEN": "the-token",
    "TOCSIN_EMIT_TOKEN": "the-emit-token",
}
"""What `.env` has to say at least."""

VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<operator>:-|:\?)(?P<rest>[^}]*))?\}")


class Missing(Exception):
    """A variable that has to be set is not."""


def services(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services by name, with the variables of an environment.

    Raises:
        Missing: one that has no default is not set, or empty.
    """
    found: dict[str, dict[str, Any]] = _filled(document()["services"], environment)
    return found


def own(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services that run tocsin."""
    return {name: one for name, one in services(environment).items() if "build" in one}


def document() -> dict[str, Any]:
    """Return the file with its variables in it."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, environment) for inner in value]
    return VARIABLE.sub(lambda found: _value(found, environment), value) if isinstance(value, str) else value


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    if found["name"] is None:
        return "$"
    given = environment.get(found["name"], "")
    if given or found["operator"] is None:
        return given
    if found["operator"] == ":?":
        raise Missing(f"{found['name']} {found['rest']}")
    return found["rest"] or ""

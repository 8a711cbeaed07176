"""What a recipe is: how one well-known sender proves who it is, and what its requests say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tocsin.schemas.secret import SecretReference
from tocsin.schemas.source import Verification
from tocsin.sources.request import Request


@dataclass(frozen=True, slots=True)
class Recipe:
    """`verification` makes the proof that the sender gives from where the secret is found; `events` reads a request.

    Events are returned as JSON that still has to be checked, without `source`.
    """

    verification: Callable[[SecretReference], Verification]
    events: Callable[[Request], list[dict[str, Any]]]

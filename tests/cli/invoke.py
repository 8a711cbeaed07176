"""The command line, called in this process as its entry point calls it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from os import environ
from unittest.mock import patch

from tocsin.cli import main

CLEAN = {name: value for name, value in environ.items() if not name.startswith("TOCSIN_") and name != "FORCE_COLOR"}
"""The environment without what would configure tocsin."""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it wrote."""

    status: object
    out: str
    err: str


def invoke(*arguments: object, env: Mapping[str, str] | None = None) -> Done:
    """Run a command with a clean environment and `env`."""
    out, err = (TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        redirect_stdout(out), redirect_stderr(err),
        patch.dict(environ, CLEAN | dict(env or {}), clear=True),
        patch.object(sys, "argv", ["tocsin", *map(str, arguments)]),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    written = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return Done(status, *written)

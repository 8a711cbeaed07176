"""What to start for a run: the command, its folder and its environment, without the server's secrets."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from tocsin.errors import NotFound
from tocsin.flows.output import blotted, log_path
from tocsin.flows.processes import RUN_ID
from tocsin.schemas.flow import Flow
from tocsin.schemas.run import JSON_BYTES, Run, json_text
from tocsin.schemas.secret import SecretReference

log = logging.getLogger(__name__)

_RESULT_FILE_BYTES = 4 * JSON_BYTES  # JSON from Python escapes what is not ASCII


@dataclass(frozen=True, slots=True)
class Launch:
    """A command that is ready to be started; `secrets` are blotted out of what it writes."""

    command: list[str]
    folder: Path
    environment: dict[str, str] = field(repr=False)
    log: Path
    result: Path
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def clear(self) -> None:
        """Remove what an attempt before has told."""
        self.result.unlink(missing_ok=True)

    def told(self) -> tuple[JsonValue, str | None]:
        """Return what the run returned, and what it raised in one line; secrets are blotted out.

        A result that is too large or not JSON is not kept, and the run is none the worse for it.
        """
        try:
            descriptor = os.open(self.result, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                told = json.loads(file.read(_RESULT_FILE_BYTES + 1))
            escaped = [json.dumps(secret, ensure_ascii=False)[1:-1] for secret in self.secrets]
            told = json.loads(blotted(json_text(told).encode(), escaped))
        except (OSError, ValueError, RecursionError):
            told = {}
        self.clear()
        if not isinstance(told, dict):
            return None, None
        error = told.get("error")
        return told.get("result"), error if isinstance(error, str) else None


def forget_output(home: Path, run_ids: Iterable[str]) -> None:
    """Delete what runs left on disk; what can not be deleted is told to the log, and stays."""
    for run_id in run_ids:
        for kind in ("log", "result"):
            try:
                (_folder(home) / f"{run_id}.{kind}").unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s can not be deleted: %s", error.filename, error.strerror)


def _folder(home: Path) -> Path:
    return home.absolute() / "runs"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where runs run: what the launch of any run needs to know about the server.

    `home` gets their output. Relative paths in flows start at `folder`. `environment` is what a process inherits,
    less the names that `hidden` returns (the secrets of definitions) and all of `TOCSIN_*`.
    """

    home: Path
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    hidden: Callable[[], Collection[str]]
    secret: Callable[[SecretReference], str]
    url: Callable[[], str]

    def launch(self, run: Run, flow: Flow) -> Launch:
        """Return what to start for the present attempt of a run.

        Raises:
            NotFound: the working directory or a secret is not there; the message says how to mend it.
        """
        folder = self.folder.absolute() / (flow.working_directory or "")
        if not folder.is_dir():
            raise NotFound(f"the working directory {folder} is not there: create it, or change `working_directory`")
        runs = _folder(self.home)
        own = {name: value for name, value in flow.env.items() if isinstance(value, str)}
        secret = {name: self.secret(value) for name, value in flow.env.items() if not isinstance(value, str)}
        result = runs / f"{run.id}.result"
        about = {
            RUN_ID: run.id,
            "TOCSIN_FLOW": run.flow,
            "TOCSIN_ATTEMPT": str(run.attempt),
            "TOCSIN_PARAMETERS": json.dumps(run.parameters, ensure_ascii=False),
            "TOCSIN_RESULT": str(result),
            "TOCSIN_URL": self.url(),
        }
        environment = self._inherited() | own | secret | about
        values = tuple(secret.values())
        return Launch(self._command(flow), folder, environment, log_path(self.home, run.id), result, values)

    def _command(self, flow: Flow) -> list[str]:
        if flow.entrypoint is None:
            return list(flow.command or ())
        path, _, function = flow.entrypoint.rpartition(":")
        entrypoint = f"{self.folder.absolute() / path}:{function}"
        # -P: what lies in the working directory must not shadow the standard library; -u: no output is lost in a kill.
        return [sys.executable, "-P", "-u", "-m", "tocsin.flows.child", entrypoint]

    def _inherited(self) -> dict[str, str]:
        hidden = set(self.hidden())
        return {
            name: value
            for name, value in self.environment.items()
            if name not in hidden and not name.upper().startswith("TOCSIN_")
        }

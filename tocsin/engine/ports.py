"""The real ports of actions that take only a few lines each: secrets, the server's log, the event log."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from tocsin.actions.ports import Details, Unit
from tocsin.schemas.event import Event
from tocsin.schemas.secret import SecretReference
from tocsin.store.log import Draft, append
from tocsin.store.writer import Transaction

_LOG = logging.getLogger("tocsin.action")


class FoundSecrets:
    """Fits the port `Secrets`: the process's environment, and files, read anew each time, so that they can change."""

    def resolve(self, reference: SecretReference) -> str:
        """Return the secret. Raises NotFound."""
        return reference.resolve(os.environ, lambda path: Path(path).read_text())


class ProcessLog:
    """Fits the port `ServerLog`."""

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """Write one line at a level of the standard library's logging."""
        _LOG.log(logging.getLevelNamesMapping()[level.upper()], "%s", message, extra=dict(fields))


class LogEvents:
    """Fits the port `Events`: appends to the event log."""

    def emit(self, event: Event, *, chain: tuple[str, ...], trace: str) -> Unit:
        """Return the unit that appends the event; evaluators are told after its commit."""

        def unit(tx: Transaction) -> Details:
            appended = append(tx, [Draft(event, chain, trace=trace)])
            return {"event": appended.ids[0]}

        return unit

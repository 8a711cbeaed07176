"""Runs and queues as actions and the API ask for them: units for the writer, checked against what is declared.

A `cause` is the automation that asks; without one a person does, through the API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tocsin.actions.ports import Cause, Details, Unit
from tocsin.errors import NotFound
from tocsin.flows.worker import Catalog
from tocsin.store import queues, runs
from tocsin.store.writer import Transaction


class RunPort:
    """Starts and cancels runs."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep what is declared."""
        self._catalog = catalog

    def start(self, flow: str, *, run_id: str, parameters: Mapping[str, Any], cause: Cause | None = None) -> Unit:
        """Return a unit that adds a run, once for each `run_id`; the flow's own parameters fill in what is not given.

        The unit raises NotFound when there is no such flow.
        """

        def unit(tx: Transaction) -> Details:
            spec = self._catalog.flow(flow)
            if spec is None:
                raise NotFound(f"there is no flow {flow!r}: declare it under `flows`")
            run = runs.create(
                tx,
                flow=flow,
                queue=spec.queue,
                parameters=spec.parameters | dict(parameters),
                run_id=run_id,
                automation=cause.automation if cause else None,
                firing=cause.firing if cause else None,
                chain=_chain(cause),
            )
            return {"run": run.id, "flow": run.flow, "queue": run.queue, "state": run.state.value}

        return unit

    def cancel(self, run_id: str, *, cause: Cause | None = None) -> Unit:
        """Return a unit that cancels a run; it raises NotFound, and IllegalTransition when the run has ended."""

        def unit(tx: Transaction) -> Details:
            run = runs.cancel(tx, run_id, _by(cause))
            return {"run": run.id, "state": run.state.value}

        return unit


class QueuePort:
    """Pauses and resumes queues."""

    def __init__(self, declared: Callable[[str], bool]) -> None:
        """Keep the look-up that says whether a queue is declared."""
        self._declared = declared

    def pause(self, name: str, *, cause: Cause | None = None) -> Unit:
        """Return a unit that pauses a queue; it raises NotFound when there is no such queue."""

        def unit(tx: Transaction) -> Details:
            self._check(tx, name)
            return {"queue": name, "paused": True, "changed": queues.pause(tx, name, _by(cause), chain=_chain(cause))}

        return unit

    def resume(self, name: str, *, cause: Cause | None = None) -> Unit:
        """Return a unit that resumes a queue; it raises NotFound when there is no such queue."""

        def unit(tx: Transaction) -> Details:
            self._check(tx, name)
            return {"queue": name, "paused": False, "changed": queues.resume(tx, name, _by(cause), chain=_chain(cause))}

        return unit

    def _check(self, tx: Transaction, name: str) -> None:
        # A queue that is not declared any more can still hold runs, and have to be resumed.
        if not self._declared(name) and not queues.exists(tx.connection, name):
            raise NotFound(f"there is no queue {name!r}: declare it under `queues`, or name one that a flow uses")


def _by(cause: Cause | None) -> str:
    return "api" if cause is None else cause.by


def _chain(cause: Cause | None) -> tuple[str, ...]:
    return () if cause is None else cause.chain

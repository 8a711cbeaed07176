"""The ledger of up-time: when events could be received, and the outages between (law S2).

It is read and written in the writer's thread only, in the transactions of the evaluator: a process that was stopped
for a while learns of it before it judges the first silence.
"""

from __future__ import annotations

import itertools

from tocsin.schemas.moments import SECOND, Micros
from tocsin.store import uptime
from tocsin.store.writer import Transaction
from tocsin.triggers.machine import Outage

_BEAT_US: Micros = SECOND


class Ledger:
    """Stretches of time in which this server could receive; a gap longer than `blind_after_us` is an outage."""

    def __init__(self, *, blind_after_us: Micros, settle_us: Micros) -> None:
        """Keep the two settings."""
        self._blind_after_us = blind_after_us
        self._settle_us = settle_us
        self._until_us: Micros | None = None
        self.outages: tuple[Outage, ...] = ()

    def touch(self, tx: Transaction, *, judged_us: Micros) -> Outage | None:
        """Note that events can be received now; return the outage that this ends, if it does.

        It began behind `judged_us`, up to which verdicts were given: none of them may come to lie in an outage.
        """
        if self._until_us is None:
            self._load(tx)
        until_us = self._until_us
        if until_us is not None and tx.now_us - until_us < _BEAT_US:
            return None
        tx.on_rollback(self._forget)
        self._until_us = tx.now_us
        if until_us is None:
            uptime.begin(tx.connection, tx.now_us)
            return None
        start_us = max(until_us, judged_us)
        if tx.now_us - start_us <= self._blind_after_us:
            uptime.extend(tx.connection, tx.now_us)
            return None
        uptime.extend(tx.connection, start_us)
        uptime.begin(tx.connection, tx.now_us)
        outage = self._outage(start_us, tx.now_us)
        self.outages += (outage,)
        return outage

    def _load(self, tx: Transaction) -> None:
        stretches = uptime.stretches(tx.connection)
        pairs = itertools.pairwise(stretches)
        self.outages = tuple(self._outage(before[1], after[0]) for before, after in pairs)
        self._until_us = stretches[-1][1] if stretches else None

    def _forget(self) -> None:
        self._until_us = None

    def _outage(self, start_us: Micros, end_us: Micros) -> Outage:
        return Outage(start_us, end_us, end_us + self._settle_us)

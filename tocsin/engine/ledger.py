"""The ledger of law S2: when events could be received, and the outages between.

The log keeps it: its time is moved by whoever can receive, and a gap in that time is an outage (`store.log`, rule 4).
Silence is judged up to the time of the log and no further: then everything received before is in the log (law S1).
"""

from __future__ import annotations

import logging

from tocsin.schemas.moments import SECOND, Micros, span
from tocsin.store import log
from tocsin.store.log import Head
from tocsin.store.writer import Transaction
from tocsin.triggers.machine import Outage

_LOG = logging.getLogger(__name__)

BEAT_US: Micros = SECOND
JUST_US: Micros = 10 * SECOND
"""Of outages that ended before this process came, one that ended so shortly before is told: it came to end it."""


class Ledger:
    """Where the log stands, and the outages so far; used in the thread of one writer.

    With `beats`, the evaluator's own transactions move the time of the log: that is for the one process on SQLite.
    Where there are more, it would keep the others from appending while a batch is judged, and receivers beat apart.
    """

    def __init__(self, *, settle_us: Micros, beats: bool) -> None:
        """Keep how long verdicts wait after an outage, and whether to move the log's time."""
        self._settle_us = settle_us
        self._beats = beats
        self._known: int | None = None
        self._looked: tuple[Transaction, Head] | None = None
        self.outages: tuple[Outage, ...] = ()

    def look(self, tx: Transaction, *, due_us: Micros | None = None) -> Head:
        """Return where the log stands; where this process beats, its time is moved when it is old, or something is due.

        `due_us` is the next moment at which silence is judged.
        """
        if self._looked is not None and self._looked[0] is tx:  # by another shard; what was appended since comes next
            return self._looked[1]
        head = log.newest(tx.connection)
        if self._beats and tx.now_us > head.received_us:
            old = tx.now_us - head.received_us >= BEAT_US
            if old or (due_us is not None and head.received_us <= due_us < tx.now_us):
                log.advance(tx)
                head = log.newest(tx.connection)
        if head.outages != self._known:
            self._load(tx, head.outages)
        self._looked = (tx, head)
        return head

    def _load(self, tx: Transaction, newest: int) -> None:
        found = log.outages_of(tx.connection)
        self.outages = tuple(Outage(start_us, end_us, end_us + self._settle_us) for start_us, end_us in found)
        if found and (self._known is not None or tx.now_us - found[-1][1] < JUST_US):
            length_us = found[-1][1] - found[-1][0]
            shown = span(length_us - length_us % SECOND if length_us > SECOND else length_us)
            _LOG.warning("nothing could be received for %s: silence in that time ends `unknown`", shown)
        self._known = newest
        tx.on_rollback(self._forget)

    def _forget(self) -> None:
        self._known = None

"""Checkpoints of SQLite's write-ahead log keep nobody waiting, and wait for nobody."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.flows.opened import Opened
from tests.servers import in_folder
from tocsin.schemas.event import Event
from tocsin.store import checkpoint, log
from tocsin.store.checkpoint import Checkpointer
from tocsin.store.writer import Transaction

PATIENCE_S = 5.0
LOOK_S = 0.01


def test_a_checkpoint_moves_what_is_committed_while_a_unit_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.005)
    store = Opened(in_folder(tmp_path), serves=True)
    database = tmp_path / "tocsin.db"
    for number in range(20):
        drafts = [log.Draft(Event(event="a", resource={"id": "r" * 1_000}, id=f"{number}-{n}")) for n in range(50)]
        store.do(log.append, drafts)
    before = database.stat().st_size
    checkpointer = Checkpointer(store.database, store.writer)
    pause = threading.Event()

    def slow(tx: Transaction) -> bool:
        log.append(tx, [log.Draft(Event(event="a", resource={"id": "last"}, id="last"))])
        checkpointer.start()
        looks = range(int(PATIENCE_S / LOOK_S))
        return any(database.stat().st_size > before or pause.wait(LOOK_S) for _ in looks)

    try:
        assert store.writer.submit(slow).result(timeout=2 * PATIENCE_S)
        assert store.read(log.newest).seq == 1_001
    finally:
        checkpointer.close()
        store.close()

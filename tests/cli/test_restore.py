"""A backup made under load is restored elsewhere and served: a prefix of the log, judged once, an outage behind it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, select

from tests.cli.invoke import invoke
from tests.cli.served import PATIENCE_S, serving
from tests.servers import BOTH, Postgres, in_folder, programs
from tocsin.client import Client
from tocsin.clock import SystemClock
from tocsin.schemas.moments import SECOND
from tocsin.store import firings, log
from tocsin.store.database import Database
from tocsin.store.restored import GAP
from tocsin.store.tables import firings as firings_table

DEFINITIONS = """\
automations:
  - {name: every, trigger: {expect: service.error, for_each: [id]}, actions: [{type: log}]}
"""
BLIND_S = 3
BATCH = 20
ENOUGH = 10


@dataclass
class Sender:
    """Sends batches until it is stopped, and knows which were acknowledged."""

    url: str
    acknowledged: list[str] = field(default_factory=list)
    _stop: Event = field(default_factory=Event)
    _more: Event = field(default_factory=Event)

    @contextmanager
    def sending(self) -> Iterator[None]:
        thread = Thread(target=self._send)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def wait_for(self, count: int) -> None:
        while len(self.acknowledged) < count:
            self._more.clear()
            assert self._more.wait(PATIENCE_S), "nothing is acknowledged any more"

    def _send(self) -> None:
        number = 0
        with Client(self.url) as client:
            while not self._stop.is_set():
                client.emit_many([event_of(f"{number}-{place}") for place in range(BATCH)])
                self.acknowledged += [f"{number}-{place}" for place in range(BATCH)]
                self._more.set()
                number += 1


def event_of(event_id: str) -> dict[str, object]:
    return {"event": "service.error", "id": event_id, "source": "test", "resource": {"id": event_id}}


@dataclass(frozen=True)
class Found:
    """What a database holds: its log by place, who of others fired under which id, its outages, its time."""

    told: dict[int, str | None]
    fired: dict[str, str]
    firings: int
    outages: list[tuple[int, int]]
    head: log.Head


def look(url: str) -> Found:
    def query(connection: Connection) -> Found:
        told = log.after(connection, 0, limit=1_000_000)
        ids = {placed.seq: placed.event.id for placed in told}
        rows = [firings.read_firing(row) for row in connection.execute(select(firings_table))]
        fired = {ids[one.events[0]] or "": one.id for one in rows}
        return Found(ids, fired, len(rows), log.outages_of(connection), log.newest(connection))

    database = Database(url)
    try:
        return database.read(query)
    finally:
        database.close()


def program(name: str) -> str:
    folder = programs()
    return shutil.which(name) or str(folder / name if folder else name)


@contextmanager
def restored(url: str, backup: Path, folder: Path, postgres: Postgres | None) -> Iterator[str]:
    """Restore a backup into a new place."""
    with ExitStack() as stack:
        if postgres is None:
            (folder / "home").mkdir(parents=True)
            shutil.copy(backup, folder / "home" / "tocsin.db")
            yield in_folder(folder / "home")
            return
        folder.mkdir()
        new = stack.enter_context(postgres.database())
        subprocess.run([program("pg_restore"), "--exit-on-error", "--no-owner", "--dbname", new, backup], check=True)
        yield new


def settings_of(url: str) -> dict[str, str]:
    more = {} if url.startswith("sqlite") else {"TOCSIN_DATABASE": url}
    return more | {"TOCSIN_BLIND_AFTER": f"{BLIND_S}s"}


def back_up(url: str, home: Path, file: Path) -> None:
    if url.startswith("sqlite"):
        made = invoke("db", "backup", file, env={"TOCSIN_HOME": str(home)})
        assert made.status == 0, made.err
    else:
        subprocess.run([program("pg_dump"), "--format=custom", "--file", file, url], check=True)


def wait_until(moment_us: int) -> None:
    """Wait until a moment that is a few seconds away at most."""
    clock, pause = SystemClock(), Event()
    left_s = (moment_us - clock.now_us()) / SECOND
    assert left_s < PATIENCE_S
    while left_s > 0:
        pause.wait(left_s)
        left_s = (moment_us - clock.now_us()) / SECOND


@pytest.mark.parametrize("kind", BOTH)
def test_what_was_backed_up_under_load_is_served_elsewhere(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres: Postgres | None = request.getfixturevalue("postgres") if kind == "postgres" else None
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    old.mkdir()
    url = in_folder(old / "home") if postgres is None else request.getfixturevalue("empty_postgres")
    with serving(old, definitions=DEFINITIONS, **settings_of(url)) as server:
        sender = Sender(server.url)
        with sender.sending():
            sender.wait_for(ENOUGH * BATCH)
            back_up(url, old / "home", backup)
            sender.wait_for(len(sender.acknowledged) + ENOUGH * BATCH)
    before = look(url)
    with restored(url, backup, new, postgres) as there:
        kept = look(there)
        assert kept.told == {seq: event_id for seq, event_id in before.told.items() if seq <= kept.head.seq}
        env = {"TOCSIN_HOME": str(new / "home"), "TOCSIN_DATABASE": there}
        said = invoke("db", "restored", env=env)
        assert said.out == f"the backup ends at event {kept.head.seq}; what comes next begins at {GAP + 1}\n", said.err
        wait_until(kept.head.received_us + (BLIND_S + 1) * SECOND)
        with serving(new, definitions=DEFINITIONS, **settings_of(there)) as server, Client(server.url) as client:
            receipt = client.emit_many([event_of(event_id) for event_id in sender.acknowledged])
            known = {event_id for event_id in kept.told.values() if event_id in sender.acknowledged}
            assert receipt.duplicates == len(known)
            server.until(lambda: [{}] if look(there).fired.keys() >= set(sender.acknowledged) else [])
        after = look(there)
    assert after.firings == len(after.fired)  # nothing was judged twice
    assert {one: after.fired[one] for one in known & before.fired.keys()} == {
        one: before.fired[one] for one in known & before.fired.keys()
    }
    again = {after.fired[one] for one in sender.acknowledged if one not in known}
    assert again
    assert not again & set(before.fired.values())  # no idempotency key was used for something else
    assert after.outages[-1][0] == kept.head.received_us

"""PostgreSQL: its schema, its locks, what it does with connections and with transactions that meet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from random import Random
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, select, text

from tests.flows.opened import Opened
from tests.servers import ON_POSTGRES, Postgres, ask
from tests.store.starting import start_at_once
from tocsin.errors import HomeInUse, TocsinError, Unavailable
from tocsin.schemas.event import Event
from tocsin.store import locks, log, schema, search
from tocsin.store import writer as writer_module
from tocsin.store.database import Database
from tocsin.store.partitions import REST
from tocsin.store.search import EventFilter
from tocsin.store.tables import NEWEST, events, metadata
from tocsin.store.writer import TRIES, Transaction

pytestmark = ON_POSTGRES


def appending(number: int, **more: Any) -> Callable[[Transaction], int]:
    """Return a unit that appends one event and returns its place."""
    made = Event.model_validate({"event": "table.updated", "resource": {"id": "a"}, "id": f"e{number}"} | more)
    return lambda tx: log.append(tx, [log.Draft(made)]).arrivals[0].seq


def ids(store: Opened) -> list[str | None]:
    return [arrival.event.id for arrival in store.told()]


def shape(url: str) -> dict[str, list[Any]]:
    """Return what there is to a database, without the partitions: they are made by the calendar."""
    ours = (
        "FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND NOT relispartition "
        "AND relkind IN ('r', 'p') AND relname <> 'alembic_version'"
    )
    of = f"FROM (SELECT c.oid, c.relname {ours}) t JOIN"
    queries = {
        "tables": f"SELECT relname::text, pg_get_partkeydef(c.oid), reloptions::text {ours} ORDER BY 1",
        "columns": "SELECT t.relname::text, attname::text, format_type(atttypid, atttypmod), attnotnull, "
        f"attcollation::regcollation::text, attidentity::text {of} pg_attribute a ON attrelid = t.oid "
        "WHERE attnum > 0 ORDER BY 1, attnum",
        "indexes": f"SELECT pg_get_indexdef(indexrelid) {of} pg_index i ON indrelid = t.oid ORDER BY 1",
        "constraints": f"SELECT conname::text, pg_get_constraintdef(k.oid) {of} pg_constraint k ON conrelid = t.oid "
        "ORDER BY 1",
    }
    return {name: ask(url, query) for name, query in queries.items()}


def test_the_migrations_make_exactly_the_tables_that_are_written_down(url: str, empty_postgres: str) -> None:
    made = Database(empty_postgres)
    with made.writing.begin() as connection:
        metadata.create_all(connection)
    made.close()
    there = shape(url)
    assert there == shape(empty_postgres)
    assert ("events", "RANGE (received_us)", None) in there["tables"]
    assert ("events_pkey", "PRIMARY KEY (seq, received_us)") in there["constraints"]


def test_texts_are_in_the_order_of_their_bytes_whatever_the_server_prefers(url: str) -> None:
    """As in SQLite; and an update of the system's collations can not break an index."""
    texts = (
        "SELECT DISTINCT collation_name::text FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'text'"
    )
    assert ask(url, texts) == [("C",)]


def test_a_database_of_an_older_version_is_migrated_by_command_only(url: str) -> None:
    database = Database(url)
    with database.writing.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(TocsinError, match=r"has version 0000, this program needs .* run `tocsin migrate`"):
        schema.prepare(database)
    assert database.read(schema.version_of) == "0000"
    with database.writing.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for verb in (schema.prepare, schema.migrate):
        verb(database)  # as long as it says that it works with programs of this version
    with database.writing.begin() as connection:
        connection.execute(text("UPDATE compatibility SET oldest = '9998'"))
    for verb in (schema.prepare, schema.migrate):
        with pytest.raises(
            TocsinError, match=r"has version 9999, .* from version 9998 on, .*: install the newer tocsin"
        ):
            verb(database)
    with database.writing.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :now"), {"now": schema.NEWEST})
        connection.execute(text("UPDATE compatibility SET oldest = :now"), {"now": schema.NEWEST})
    assert schema.migrate(database) == schema.NEWEST
    database.close()


def test_migrating_says_where_it_came_from(empty_postgres: str, url: str) -> None:
    database = Database(empty_postgres)
    assert schema.migrate(database) is None
    assert schema.migrate(database) == schema.NEWEST
    database.close()


def test_two_that_start_at_once_make_one_database(empty_postgres: str, url: str) -> None:
    assert start_at_once(lambda: Database(empty_postgres), count=3) == []


def test_readers_can_not_write_and_see_one_snapshot(store: Opened) -> None:
    with pytest.raises(Unavailable, match="read-only transaction"):
        store.read(lambda connection: connection.execute(text("DELETE FROM head")))

    def twice(connection: Connection) -> list[int]:
        before = log.newest(connection)[0]
        store.do(appending(1))
        return [before, log.newest(connection)[0]]

    assert store.read(twice) == [0, 0]
    assert store.read(log.newest)[0] == 1


def test_a_refusal_names_neither_statement_nor_values(store: Opened) -> None:
    with pytest.raises(Unavailable, match=r"^the database refused: duplicate key value[^\n]*$") as refused:
        store.do(lambda tx: tx.connection.execute(text("INSERT INTO head VALUES (1, 4711, 0, 0)")))
    assert "4711" not in str(refused.value)


def test_an_address_that_is_none_or_leads_nowhere_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(TocsinError, match=r"use sqlite:///PATH or postgresql://"):
        Database("hunter2 at the db")
    database = Database("postgres://tocsin:hunter2@127.0.0.1:1/tocsin")
    with pytest.raises(Unavailable, match=r"^the database refused: connection failed[^\n]*$") as refused:
        schema.prepare(database)
    assert "hunter2" not in str(refused.value)
    database.close()


def test_names_and_resources_longer_than_a_row_of_an_index_are_kept_and_found(store: Opened) -> None:
    """A row of an index has at most 2.7 kB; what can be compressed would not show it."""
    random = Random(1)
    long = ["".join(chr(random.randint(0x4E00, 0x9FFF)) for _ in range(5_000)) for _ in range(2)]
    twin = long[0][:-1] + "x"  # differs behind what the index holds
    for number, name in enumerate((*long, twin)):
        store.do(appending(number, event=name, resource={"id": name}))
    for number, name in enumerate((*long, twin)):
        for wanted in (EventFilter(event=name), EventFilter(resource=name)):
            assert [one["id"] for one in store.read(search.page, wanted).items] == [f"e{number}"]
    identity = "".join(chr(random.randint(0x10000, 0x1FFFF)) for _ in range(255))
    assert store.do(appending(0, id=identity, source=identity[::-1])) == 4
    found = store.read(log.find, identity, identity[::-1])
    assert found is not None
    assert found.seq == 4


def test_names_and_resources_are_looked_up_by_index(store: Opened) -> None:
    def plan(connection: Connection) -> str:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        query = select(events.c.seq).where(log.exactly(connection, events.c.resource_id, "a"))
        text_of = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {text_of}").scalars())

    text_of = store.read(plan)
    assert "Seq Scan" not in text_of
    assert f"events_{REST}_left_seq_idx1" in text_of


# Servers, and who wants to be without them


def shutting_out(tx: Transaction) -> None:
    locks.shut_out(tx.connection, [int(NEWEST)], because="to make room")


def test_servers_run_side_by_side_and_who_must_be_alone_is_told_of_them(url: str, store: Opened) -> None:
    with Opened(url, serves=True) as first, Opened(url, serves=True) as second:
        assert (first.do(appending(1)), second.do(appending(2))) == (1, 2)
        with pytest.raises(HomeInUse, match=r"a server \(.*PostgreSQL process \d+\) runs .*first, to make room"):
            store.do(shutting_out)
    store.do(shutting_out)


def test_no_server_starts_while_one_must_be_alone(url: str, store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_WAIT_S", 0.05)
    refused: list[str] = []

    def unit(tx: Transaction) -> None:
        shutting_out(tx)
        try:
            schema.prepare(late)
        except HomeInUse as error:
            refused.append(str(error))

    late = Database(url, serves=True)
    store.do(unit)
    assert refused == ["the database is being migrated or copied into: try again when that has ended"]
    schema.prepare(late)
    late.close()


def test_a_server_whose_session_broke_gets_its_lock_again(url: str, store: Opened, postgres: Postgres) -> None:
    with Opened(url, serves=True) as server:
        server.do(appending(1))
        postgres.kick(url)
        assert server.do(appending(2)) == 2
        with pytest.raises(HomeInUse):
            store.do(shutting_out)


def test_a_server_that_was_cut_off_does_not_come_back_to_a_database_that_it_does_not_know(
    url: str, store: Opened, postgres: Postgres
) -> None:
    with Opened(url, serves=True) as server:
        server.do(appending(1))
        ask(url, "UPDATE compatibility SET oldest = '0002' RETURNING 1")
        postgres.kick(url)
        try:
            with pytest.raises(TocsinError, match="needs a program of version 0002 at least, and this one knows 0001"):
                server.do(appending(2))
        finally:
            ask(url, "UPDATE compatibility SET oldest = '0001' RETURNING 1")
        assert ids(store) == ["e1"]


# Durability


def test_e3_commits_are_durable_although_the_server_has_that_off(
    url: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    name = url.rpartition("/")[2]
    postgres.administer(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        with Opened(url) as store:
            show = "SHOW synchronous_commit"
            assert store.do(lambda tx: tx.connection.exec_driver_sql(show).scalar()) == "on"
        assert [record.getMessage()[:25] for record in caplog.records][:1] == ["synchronous_commit is off"]
    finally:
        postgres.administer(f"ALTER DATABASE {name} RESET synchronous_commit")


def test_e3_a_connection_that_breaks_between_units_is_not_noticed(store: Opened, postgres: Postgres, url: str) -> None:
    assert store.do(appending(1)) == 1
    postgres.kick(url)
    assert store.do(appending(2)) == 2
    postgres.kick(url)
    assert len(store.told()) == 2


def test_e3_while_the_server_is_away_units_are_refused_and_then_it_goes_on(
    store: Opened, postgres: Postgres, url: str
) -> None:
    undone: list[int] = []

    def unit(tx: Transaction) -> int:
        tx.on_rollback(lambda: undone.append(1))
        place = appending(2)(tx)
        if not undone:
            postgres.cut(url)
        return place

    store.do(appending(1))
    try:
        with pytest.raises(Unavailable, match="the database refused"):
            store.do(unit)
        with pytest.raises(Unavailable, match="not currently accepting connections"):
            store.do(appending(2))
        with pytest.raises(Unavailable, match="not currently accepting connections"):
            store.told()
    finally:
        postgres.cut(url, off=False)
    assert undone == [1]
    assert store.do(appending(2)) == 2
    assert ids(store) == ["e1", "e2"]


@pytest.mark.parametrize("stored", [True, False])
def test_e3_when_a_commit_is_cut_off_the_server_is_asked_what_came_of_it(
    store: Opened, postgres: Postgres, url: str, stored: bool
) -> None:
    """Nothing is doubled although events without an id of their own were on their way."""
    cuts: list[Connection] = []

    def cut(connection: Connection) -> None:
        if threading.current_thread().name == "tocsin-writer" and not cuts:
            cuts.append(connection)
            if stored:
                connection.connection.driver_connection.commit()  # type: ignore[union-attr]
            postgres.kick(url)

    event.listen(store.database.writing, "commit", cut)
    calls: list[str] = []

    def unit(tx: Transaction) -> int:
        tx.after_commit(lambda: calls.append("committed"))
        tx.on_rollback(lambda: calls.append("undone"))
        return log.append(tx, [log.Draft(Event(event="a", resource={"id": "a"}))]).arrivals[0].seq

    assert store.do(unit) == 1
    assert len(store.told()) == 1
    assert calls == (["committed"] if stored else ["undone", "committed"])


def test_e3_a_commit_about_which_nobody_can_be_asked_is_refused(
    store: Opened, postgres: Postgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "ASK_EVERY_S", 0.001)
    event.listen(store.database.writing, "commit", lambda _: postgres.cut(url), once=True)
    try:
        with pytest.raises(Unavailable, match="does not say what it stored"):
            store.do(appending(1))
    finally:
        postgres.cut(url, off=False)
    assert store.do(appending(2)) == 1


# Transactions that meet


def test_a_deadlock_with_another_process_is_tried_again(store: Opened, url: str) -> None:
    runs: list[int] = []
    store.do(lambda tx: tx.connection.execute(text("INSERT INTO queues VALUES ('a', false), ('b', false)")))
    with closing(psycopg.connect(url)) as other:
        other.execute("SET deadlock_timeout = '10s'")  # so that it is the writer that is broken off
        other.execute("SELECT FROM queues WHERE name = 'b' FOR UPDATE")
        answer: list[Future[None]] = []
        held = threading.Event()

        def unit(tx: Transaction) -> None:
            runs.append(1)
            tx.connection.execute(text("SELECT FROM queues WHERE name = 'a' FOR UPDATE"))
            held.set()
            tx.connection.execute(text("SELECT FROM queues WHERE name = 'b' FOR UPDATE"))

        answer.append(store.writer.submit(unit))
        assert held.wait(10)
        other.execute("SELECT FROM queues WHERE name = 'a' FOR UPDATE")  # waits until the writer is broken off
        other.commit()
    answer[0].result(10)
    assert 2 <= len(runs) <= 1 + TRIES  # the other one may be quicker again

"""Leases of shards: renewed without waiting, taken when they end, and never from who is storing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, insert, select
from sqlalchemy.engine import Engine

from tests.servers import Postgres
from tocsin.store import leases, states
from tocsin.store.leases import LEASE_US
from tocsin.store.states import Cursor
from tocsin.store.tables import shards
from tocsin.store.writer import Transaction

NOW_US = 1_000_000_000
LATER_US = NOW_US + LEASE_US + 1
SHARDS = 4


@pytest.fixture
def engine(postgres: Postgres, postgres_url: str) -> Iterator[Engine]:
    found = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with found.begin() as connection:
        rows = [{"shard": number, "cursor": 0, "judged_us": 0, "epoch": 0} for number in range(1, SHARDS)]
        connection.execute(insert(shards), rows)
    yield found
    found.dispose()


@contextmanager
def transaction(engine: Engine, now_us: int) -> Iterator[Transaction]:
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        yield Transaction(connection, now_us, [])


def tend(engine: Engine, owner: str, *, at_us: int, most: int = SHARDS) -> set[int]:
    with transaction(engine, at_us) as tx:
        return leases.tend(tx, owner=owner, most=most)


def until_of(engine: Engine, shard: int) -> int:
    with engine.begin() as connection:
        found: int = connection.execute(select(shards.c.leased_until_us).where(shards.c.shard == shard)).scalar_one()
        return found


def test_renewing_does_not_wait_for_a_shard_that_its_owner_is_storing(engine: Engine) -> None:
    """Or else a step of several shards and the renewal would each hold what the other one waits for."""
    assert tend(engine, "a", at_us=NOW_US) == {0, 1, 2, 3}
    with transaction(engine, LATER_US) as step:
        at = Cursor(1, 0, 0, 1)
        states.move_cursor(step.connection, at, Cursor(1, 5, 7, 1), leased_until_us=LATER_US + LEASE_US)
        assert tend(engine, "a", at_us=LATER_US) == {0, 1, 2, 3}
        assert until_of(engine, 0) == LATER_US + LEASE_US
    assert until_of(engine, 1) == LATER_US + LEASE_US


def test_nobody_takes_a_shard_that_is_being_stored_though_its_lease_has_ended(engine: Engine) -> None:
    tend(engine, "a", at_us=NOW_US)
    with transaction(engine, NOW_US) as step:
        at = Cursor(1, 0, 0, 1)
        states.move_cursor(step.connection, at, Cursor(1, 5, 7, 1), leased_until_us=LATER_US + LEASE_US)
        assert tend(engine, "b", at_us=LATER_US) == {0, 2, 3}
    assert tend(engine, "b", at_us=LATER_US) == {0, 2, 3}


def test_who_leaves_gives_back_everything_that_is_leased_and_nothing_of_others(engine: Engine) -> None:
    """Also what it has just taken, and does not know of yet."""
    tend(engine, "a", at_us=NOW_US, most=2)
    tend(engine, "b", at_us=NOW_US, most=2)
    with transaction(engine, NOW_US) as tx:
        leases.release(tx, None, owner="a")
    assert tend(engine, "c", at_us=NOW_US) == {0, 1}


def test_a_lease_that_has_ended_is_renewed_by_its_owner_who_stays_the_same(engine: Engine) -> None:
    tend(engine, "a", at_us=NOW_US)
    assert tend(engine, "a", at_us=LATER_US) == {0, 1, 2, 3}
    with engine.begin() as connection:
        assert set(connection.execute(select(shards.c.epoch)).scalars()) == {1}

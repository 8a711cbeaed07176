"""The tables. Moments are whole microseconds since the Unix epoch; documents are JSON in UTF-8.

- `events` is the log: `seq` is the one order of arrivals, `received_us` never goes back along it. On PostgreSQL it lies
  in partitions by `received_us` (`store.partitions`), and `days` says which places belong to which day.
- `identities` is what law E2 asks: narrow, ordered by id, kept at least as long as events.
- `shards` holds one cursor each; who moves the cursor owns the shard, in the transaction that stores the judgement.
- `states` holds the judge's states with the moment at which each wants to be called again.
- `firings`, `intents` and `attempts` are what was judged, what is to be done about it, and what was tried.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.ext.compiler import compiles

NEWEST = "0001"
"""The revision of these tables; a test holds it against the migrations there are."""

metadata = MetaData()

_Sequence = BigInteger().with_variant(Integer, "sqlite")
_Text = Text().with_variant(Text(collation="C"), "postgresql")  # in the order of their bytes, as SQLite has them

# How PostgreSQL stores what is updated again and again, measured under load: 69 of 100 updates of states find room on
# their page and leave the indexes as they are, instead of 6; those of intents always change an index. Vacuuming begins
# after a few thousand dead rows, not after a fifth of the table.
_BUSY = {"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000}
_HOT = {"fillfactor": 70} | _BUSY
_SMALL = {"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 200}

INDEXED_CHARS = 500
"""PostgreSQL's indexes of names and resources hold so many characters: a row of an index has at most 2.7 kB there."""


class _PartedKey(PrimaryKeyConstraint):
    """A primary key of places; PostgreSQL wants the column by which a table is parted in its key."""


@compiles(_PartedKey, "postgresql")
def _with_received(key: _PartedKey, compiler: Any, **_: Any) -> str:
    return f"PRIMARY KEY ({', '.join([*key.columns.keys(), 'received_us'])})"


events = Table(
    "events",
    metadata,
    Column("seq", _Sequence, nullable=False, autoincrement=False),
    Column("received_us", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("source", _Text, nullable=False),
    Column("id", _Text, nullable=False),
    Column("event", _Text, nullable=False),
    Column("resource_id", _Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("chain", _Text, nullable=True),
    Column("trace", _Text, nullable=True),
    _PartedKey("seq"),
    Index("events_by_received", "received_us"),
    postgresql_partition_by="RANGE (received_us)",
)
for _name, _column in (("events_by_name", events.c.event), ("events_by_resource", events.c.resource_id)):
    Index(_name, _column, events.c.seq).ddl_if(dialect="sqlite")
    Index(_name, func.left(_column, INDEXED_CHARS), events.c.seq).ddl_if(dialect="postgresql")

days = Table(
    "days",
    metadata,
    Column("from_us", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, nullable=False),
)
"""What is received from midnight (UTC) on has this place or a later one, what was received before has an earlier one:
so places are looked up in the partition in which they are. A day on which the log's time did not move has no row."""

NOBODY_YET = -1
"""Stands for the number of the newest outage until somebody has received: a first start has none (law S2)."""

head = Table(
    "head",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("outages", BigInteger, nullable=False),
    postgresql_with=_SMALL,
)
"""One row: the newest place, the time of the log, and the number of the newest outage. Who appends holds it, so places
become visible in their order; only what can receive events moves the time."""

outages = Table(
    "outages",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
)
"""The ledger of law S2: stretches of time in which no event could be received."""

arrival_decisions = Table(
    "arrival_decisions",
    metadata,
    Column("seq", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    _PartedKey("seq", "shard"),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (received_us)",
)
"""What an arrival did, as each shard judged it; in partitions as `events` is."""

identities = Table(
    "identities",
    metadata,
    Column("id", _Text, nullable=False),
    Column("source", _Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("id", "source"),
    sqlite_with_rowid=False,
    postgresql_with=_BUSY,
)

shards = Table(
    "shards",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("cursor", BigInteger, nullable=False),
    Column("judged_us", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", _Text, nullable=True),
    Column("leased_until_us", BigInteger, nullable=True),
    postgresql_with=_SMALL,
)

states = Table(
    "states",
    metadata,
    Column("state_key", _Text, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("automation", _Text, nullable=False),
    Column("wake_us", BigInteger, nullable=True),
    Column("needs_seq", BigInteger, nullable=True),
    Column("idle_us", BigInteger, nullable=True),
    Column("blob", LargeBinary, nullable=False),
    Index("states_by_wake", "shard", "wake_us", sqlite_where=text("wake_us IS NOT NULL"),
          postgresql_where=text("wake_us IS NOT NULL")),
    Index("states_by_automation", "automation"),
    postgresql_with=_HOT,
)  # fmt: skip
"""`needs_seq` is the first place of the events that a state knows, `idle_us` since when nothing is open in it. Both are
for retention, which scans for them: an index would have to be written with every judged event."""

definitions = Table(
    "definitions",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("kind", _Text, nullable=False),
    Column("name", _Text, nullable=False),
    Column("origin", _Text, nullable=False),
    Column("document", _Text, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("active_seq", BigInteger, nullable=False),
    Column("removed_seq", BigInteger, nullable=True),
    Column("armed_seq", BigInteger, nullable=False),
    Column("armed_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("definitions_by_name", "kind", "name", "active_seq", unique=True),
    Index("definitions_by_beginning", "active_seq"),
    Index("definitions_by_end", "removed_seq", sqlite_where=text("removed_seq IS NOT NULL"),
          postgresql_where=text("removed_seq IS NOT NULL")),
)  # fmt: skip
"""A row is one version of one definition: in force for the events with active_seq < seq <= removed_seq.
`armed_seq` and `armed_us` are T0 of its trigger (law O3), which versions with the same trigger share (law S4)."""

applied = Table(
    "applied",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("digest", _Text, nullable=False),
)
"""At most one row: the digest of the definitions files whose definitions are in force."""

pauses = Table(
    "pauses",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("kind", _Text, nullable=False),
    Column("name", _Text, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("to_seq", BigInteger, nullable=True),
    Column("to_us", BigInteger, nullable=True),
    Index("pauses_by_name", "kind", "name"),
    Index("pauses_by_beginning", "from_seq"),
    Index("pauses_by_end", "to_seq", sqlite_where=text("to_seq IS NOT NULL"),
          postgresql_where=text("to_seq IS NOT NULL")),
)  # fmt: skip

firings = Table(
    "firings",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("id", _Text, nullable=False, unique=True),
    Column("automation", _Text, nullable=False),
    Column("node", _Text, nullable=False),
    Column("state_key", _Text, nullable=False),
    Column("labels", _Text, nullable=False),
    Column("verdict", _Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=True),
    Column("window_from_us", BigInteger, nullable=True),
    Column("window_to_us", BigInteger, nullable=True),
    Column("events", _Text, nullable=False),
    Column("trigger_event", BigInteger, nullable=True),
    Column("reason", _Text, nullable=False),
    Column("resolves", _Text, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("first", _Text, nullable=True),
    Column("chain", _Text, nullable=False),
    Column("mode", _Text, nullable=False),
    Column("severity", _Text, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("resolved_by", _Text, nullable=True),
    Index("firings_by_automation", "automation", "n"),
    Index("firings_open", "open", "n", sqlite_where=text("open"), postgresql_where=text("open")),
)
"""`events` is a JSON list of [seq, id, source]. `open`: missed and not resolved, repeats apart."""

decisions = Table(
    "decisions",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("automation", _Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=True),
    Column("document", _Text, nullable=False),
    Index("decisions_by_automation", "automation", "n"),
)
"""Decisions without an event (moments), and errors. Those of an arrival are in `arrival_decisions`."""

intents = Table(
    "intents",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("id", _Text, nullable=False, unique=True),
    Column("firing", _Text, nullable=False),
    Column("automation", _Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("type", _Text, nullable=False),
    Column("spec", _Text, nullable=False),
    Column("state", _Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    Column("owner", _Text, nullable=True),
    Column("leased_until_us", BigInteger, nullable=True),
    Column("created_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=True),
    Column("result", _Text, nullable=True),
    Column("leader", _Text, nullable=True),
    Column("followers", Integer, nullable=False),
    Index("intents_open", "state", "not_before_us", sqlite_where=text("ended_us IS NULL"),
          postgresql_where=text("ended_us IS NULL")),
    Index("intents_by_firing", "firing"),
    Index("intents_by_leader", "leader", sqlite_where=text("leader IS NOT NULL"),
          postgresql_where=text("leader IS NOT NULL")),
    Index("intents_dead", "n", sqlite_where=text("state = 'dead'"), postgresql_where=text("state = 'dead'")),
    postgresql_with=_BUSY,
)  # fmt: skip
"""`state`: waiting, running, succeeded, skipped, dead (a dead letter, can be retried) or discarded. One with a `leader`
is performed with that one, which knows how many `followers` it has."""

attempts = Table(
    "attempts",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("intent", _Text, ForeignKey("intents.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("outcome", _Text, nullable=False),
    Column("detail", _Text, nullable=False),
    Index("attempts_by_intent", "intent", "number"),
)

queues = Table(
    "queues",
    metadata,
    Column("name", _Text, primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("paused_by", _Text, nullable=True),
    Column("paused_us", BigInteger, nullable=True),
)
"""The live state of a queue; what is declared about it (concurrency) is its definition."""

runs = Table(
    "runs",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("id", _Text, nullable=False, unique=True),
    Column("flow", _Text, nullable=False),
    Column("queue", _Text, nullable=False),
    Column("state", _Text, nullable=False),
    Column("parameters", _Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=True),
    Column("ended_us", BigInteger, nullable=True),
    Column("owner", _Text, nullable=True),
    Column("leased_until_us", BigInteger, nullable=True),
    Column("process", _Text, nullable=True),
    Column("automation", _Text, nullable=True),
    Column("firing", _Text, nullable=True),
    Column("chain", _Text, nullable=False),
    Column("detail", _Text, nullable=False),
    Index("runs_by_state", "state", "queue", "not_before_us"),
    Index("runs_by_flow", "flow", "n"),
)

processes = Table(
    "processes",
    metadata,
    Column("name", _Text, primary_key=True),
    Column("roles", _Text, nullable=False),
    Column("host", _Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", _Text, nullable=False),
    Column("bus", _Text, nullable=True),
    Column("started_us", BigInteger, nullable=False),
    Column("beat_us", BigInteger, nullable=False),
    Column("detail", _Text, nullable=False),
    postgresql_with=_SMALL,
)
"""The processes that run on this database, and when each of them last said so. `bus` names its bus, without secrets;
`detail` is a JSON document of what it says of itself."""

refusals = Table(
    "refusals",
    metadata,
    Column("n", _Sequence, primary_key=True, autoincrement=True),
    Column("received_us", BigInteger, nullable=False),
    Column("entry", _Text, nullable=False),
    Column("reason", _Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What came over the bus and is no event: a dead letter of the bus."""

compatibility = Table(
    "compatibility",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("oldest", _Text, nullable=False),
)
"""One row: the oldest revision whose programs work with this database. Its own revision is in `alembic_version`."""

"""The tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
oldest = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_BUSY = {"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000}
_HOT = {"fillfactor": 70} | _BUSY
_SMALL = {"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 200}


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "compatibility",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("oldest", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("one"),
    )
    _create_log()
    _create_days()
    _create_shards()
    _create_refusals()
    _create_definitions()
    _create_judgement()
    _create_effects()
    _create_runs()


def _parted_key(*columns: str) -> tuple[str, ...]:
    """PostgreSQL wants the column by which a table is parted in its key."""
    return columns if op.get_context().dialect.name == "sqlite" else (*columns, "received_us")


def _create_log() -> None:
    """The log, its time, and what was decided as it arrived."""
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("chain", _TEXT, nullable=True),
        sa.Column("trace", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint(*_parted_key("seq")),
        postgresql_partition_by="RANGE (received_us)",
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("events_by_received", ["received_us"], unique=False)
    for name, column in (("events_by_name", "event"), ("events_by_resource", "resource_id")):
        first = column if op.get_context().dialect.name == "sqlite" else sa.text(f"left({column}, 500)")
        op.create_index(name, "events", [first, "seq"])
    op.create_table(
        "head",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("outages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one"),
        postgresql_with=_SMALL,
    )
    op.create_table(
        "outages",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
    )
    op.create_table(
        "arrival_decisions",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(*_parted_key("seq", "shard")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (received_us)",
    )
    if op.get_context().dialect.name == "postgresql":
        for name in ("events", "arrival_decisions"):
            op.execute(f"CREATE TABLE {name}_rest PARTITION OF {name} DEFAULT")


def _create_days() -> None:
    """What is kept of the log beside its days: where they begin, and which events there were."""
    op.create_table(
        "days",
        sa.Column("from_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("from_us"),
    )
    op.create_table(
        "identities",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "source"),
        sqlite_with_rowid=False,
        postgresql_with=_BUSY,
    )


def _create_shards() -> None:
    """How far the log is judged, and by whom."""
    op.create_table(
        "shards",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("judged_us", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", _TEXT, nullable=True),
        sa.Column("leased_until_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("shard"),
        postgresql_with=_SMALL,
    )
    op.create_table(
        "processes",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("roles", _TEXT, nullable=False),
        sa.Column("host", _TEXT, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", _TEXT, nullable=False),
        sa.Column("bus", _TEXT, nullable=True),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("beat_us", sa.BigInteger(), nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        postgresql_with=_SMALL,
    )


def _create_refusals() -> None:
    """What came over the bus and was no event."""
    op.create_table(
        "refusals",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("entry", _TEXT, nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
    )


def _create_definitions() -> None:
    """What is defined, and what is paused."""
    op.create_table(
        "definitions",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
        sa.Column("document", _TEXT, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("active_seq", sa.BigInteger(), nullable=False),
        sa.Column("removed_seq", sa.BigInteger(), nullable=True),
        sa.Column("armed_seq", sa.BigInteger(), nullable=False),
        sa.Column("armed_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
    )
    with op.batch_alter_table("definitions", schema=None) as batch_op:
        batch_op.create_index("definitions_by_name", ["kind", "name", "active_seq"], unique=True)
        batch_op.create_index("definitions_by_beginning", ["active_seq"], unique=False)
        batch_op.create_index(
            "definitions_by_end",
            ["removed_seq"],
            unique=False,
            sqlite_where=sa.text("removed_seq IS NOT NULL"),
            postgresql_where=sa.text("removed_seq IS NOT NULL"),
        )
    op.create_table(
        "applied",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("one"),
    )
    op.create_table(
        "pauses",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=True),
        sa.Column("to_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("n"),
    )
    with op.batch_alter_table("pauses", schema=None) as batch_op:
        batch_op.create_index("pauses_by_name", ["kind", "name"], unique=False)
        batch_op.create_index("pauses_by_beginning", ["from_seq"], unique=False)
        batch_op.create_index(
            "pauses_by_end",
            ["to_seq"],
            unique=False,
            sqlite_where=sa.text("to_seq IS NOT NULL"),
            postgresql_where=sa.text("to_seq IS NOT NULL"),
        )


def _create_judgement() -> None:
    """What is judged."""
    op.create_table(
        "states",
        sa.Column("state_key", _TEXT, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("automation", _TEXT, nullable=False),
        sa.Column("wake_us", sa.BigInteger(), nullable=True),
        sa.Column("needs_seq", sa.BigInteger(), nullable=True),
        sa.Column("idle_us", sa.BigInteger(), nullable=True),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("state_key"),
        postgresql_with=_HOT,
    )
    with op.batch_alter_table("states", schema=None) as batch_op:
        batch_op.create_index("states_by_automation", ["automation"], unique=False)
        batch_op.create_index(
            "states_by_wake",
            ["shard", "wake_us"],
            unique=False,
            sqlite_where=sa.text("wake_us IS NOT NULL"),
            postgresql_where=sa.text("wake_us IS NOT NULL"),
        )
    op.create_table(
        "firings",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("automation", _TEXT, nullable=False),
        sa.Column("node", _TEXT, nullable=False),
        sa.Column("state_key", _TEXT, nullable=False),
        sa.Column("labels", _TEXT, nullable=False),
        sa.Column("verdict", _TEXT, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=True),
        sa.Column("window_from_us", sa.BigInteger(), nullable=True),
        sa.Column("window_to_us", sa.BigInteger(), nullable=True),
        sa.Column("events", _TEXT, nullable=False),
        sa.Column("trigger_event", sa.BigInteger(), nullable=True),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("resolves", _TEXT, nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("first", _TEXT, nullable=True),
        sa.Column("chain", _TEXT, nullable=False),
        sa.Column("mode", _TEXT, nullable=False),
        sa.Column("severity", _TEXT, nullable=False),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("resolved_by", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("firings", schema=None) as batch_op:
        batch_op.create_index("firings_by_automation", ["automation", "n"], unique=False)
        batch_op.create_index(
            "firings_open", ["open", "n"], unique=False, sqlite_where=sa.text("open"), postgresql_where=sa.text("open")
        )
    op.create_table(
        "decisions",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("automation", _TEXT, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("document", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("n"),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index("decisions_by_automation", ["automation", "n"], unique=False)


def _create_effects() -> None:
    """What is to be done, and what was tried."""
    op.create_table(
        "intents",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("firing", _TEXT, nullable=False),
        sa.Column("automation", _TEXT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("type", _TEXT, nullable=False),
        sa.Column("spec", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), nullable=False),
        sa.Column("owner", _TEXT, nullable=True),
        sa.Column("leased_until_us", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("result", _TEXT, nullable=True),
        sa.Column("leader", _TEXT, nullable=True),
        sa.Column("followers", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
        postgresql_with=_BUSY,
    )
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.create_index("intents_by_firing", ["firing"], unique=False)
        batch_op.create_index(
            "intents_by_leader",
            ["leader"],
            unique=False,
            sqlite_where=sa.text("leader IS NOT NULL"),
            postgresql_where=sa.text("leader IS NOT NULL"),
        )
        batch_op.create_index(
            "intents_dead",
            ["n"],
            unique=False,
            sqlite_where=sa.text("state = 'dead'"),
            postgresql_where=sa.text("state = 'dead'"),
        )
        batch_op.create_index(
            "intents_open",
            ["state", "not_before_us"],
            unique=False,
            sqlite_where=sa.text("ended_us IS NULL"),
            postgresql_where=sa.text("ended_us IS NULL"),
        )
    op.create_table(
        "attempts",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("intent", _TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sa.Column("outcome", _TEXT, nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["intent"],
            ["intents.id"],
        ),
        sa.PrimaryKeyConstraint("n"),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("attempts_by_intent", ["intent", "number"], unique=False)


def _create_runs() -> None:
    """Queues and the runs in them."""
    op.create_table(
        "queues",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("paused_by", _TEXT, nullable=True),
        sa.Column("paused_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "runs",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("flow", _TEXT, nullable=False),
        sa.Column("queue", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("parameters", _TEXT, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("owner", _TEXT, nullable=True),
        sa.Column("leased_until_us", sa.BigInteger(), nullable=True),
        sa.Column("process", _TEXT, nullable=True),
        sa.Column("automation", _TEXT, nullable=True),
        sa.Column("firing", _TEXT, nullable=True),
        sa.Column("chain", _TEXT, nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("runs_by_flow", ["flow", "n"], unique=False)
        batch_op.create_index("runs_by_state", ["state", "queue", "not_before_us"], unique=False)

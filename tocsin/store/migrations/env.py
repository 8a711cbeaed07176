"""Run by Alembic: it is handed an open connection and runs the versions on it."""

from alembic import context

from tocsin.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()

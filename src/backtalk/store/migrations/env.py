"""Alembic environment: runs in the transaction opened by ``backtalk.store.migrations``."""

from alembic import context

from backtalk.store.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()

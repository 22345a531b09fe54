"""Alembic environment: runs in the transaction opened by ``backtalk.store.migrations``."""

from alembic import context

from backtalk.store.schema import metadata

for table in metadata.tables.values():
    for index in table.indexes:
        if "where" in index.info:
            for dialect in ("sqlite", "postgresql"):
                index.dialect_kwargs[f"{dialect}_where"] = index.info["where"]

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()

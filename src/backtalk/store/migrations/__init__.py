"""Schema migrations."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from backtalk.errors import BacktalkError
from backtalk.store.engine import connect, database_url, writing

HEAD = "0009"
"""Schema revision of this version of Backtalk."""

SQLITE_SCHEMA = Path(__file__).with_name("sqlite_schema.sql")
"""Schema that the migrations make of an empty SQLite database; written by
``scripts/write_sqlite_schema.py``."""

_LOCK = 0x6261636B  # key of the advisory lock, the same in every process


def upgrade(engine: Engine) -> None:
    """Migrate a database to the current schema, if necessary.

    Safe if several processes open a store at the same time.

    Raises
    ------
    BacktalkError
        If the database has the schema of a newer version.
    """
    with engine.connect() as connection:
        current = revision(connection)
    if current == HEAD:
        return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        current = revision(connection)
        if current is not None and current > HEAD:
            raise BacktalkError(
                f"The store has schema {current}; this version of Backtalk supports up to {HEAD}",
                "Install the version that wrote the store, or a newer one",
            )
        if current is None and engine.dialect.name == "sqlite":
            _create_sqlite_schema(connection)
        elif current != HEAD:
            _run(connection)


def revision(connection: Connection) -> str | None:
    """Return the schema revision of a database, ``None`` if it has no schema yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if current is None else str(current)


def migrated_sqlite_schema() -> str:
    """Return the SQL of the schema that the migrations make of an empty SQLite database."""
    engine = connect(database_url(":memory:"))
    with writing(engine) as connection:
        _run(connection)
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        statements = connection.exec_driver_sql(query).scalars().all()
    engine.dispose()
    return "".join(f"{statement};\n" for statement in statements)


def _create_sqlite_schema(connection: Connection) -> None:
    """Create the current schema in an empty database, without the time that migrations take."""
    for statement in SQLITE_SCHEMA.read_text(encoding="utf-8").removesuffix(";\n").split(";\n"):
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (HEAD,))


def _run(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, rarely needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "backtalk.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)

"""The schema's history. ``upgrade`` brings a database to the schema of this version."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from backtalk.errors import BacktalkError
from backtalk.store.engine import writing

HEAD = "0005"
"""The revision that this version of Backtalk reads and writes."""

_LOCK = 0x6261636B  # any number, the same for every process that upgrades


def upgrade(engine: Engine) -> None:
    """Bring a database to the present schema; do nothing where it is there already.

    Safe when several processes open a store at once.

    Raises
    ------
    BacktalkError
        If the database was made by a newer version.
    """
    with engine.connect() as connection:
        result = revision(connection)
    if result == HEAD:
        return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        result = revision(connection)
        if result is not None and result > HEAD:
            raise BacktalkError(
                f"The store has schema {result}, this version of Backtalk knows up to {HEAD}",
                "Install the version that made the store, or a newer one",
            )
        if result != HEAD:
            _run(connection)


def revision(connection: Connection) -> str | None:
    """Return the schema revision of a database, ``None`` where there is no schema yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    result = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if result is None else str(result)


def _run(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, rarely needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "backtalk.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)

"""Connecting to a database: SQLite in WAL mode, or PostgreSQL."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from backtalk.errors import BacktalkError, MissingExtra

BUSY_SECONDS = 30
"""How long a SQLite writer waits for another to finish."""


def database_url(store: str | Path) -> URL:
    """Return the URL of a store named by a URL or by the path of a SQLite file.

    >>> str(database_url("feedback.db"))
    'sqlite:///feedback.db'
    """
    text = str(store)
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise BacktalkError(f"{text!r} is not the URL of a store", _URL_MEND) from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise BacktalkError(f"{url.drivername!r} is not a database for a store", _URL_MEND)
    return url


_URL_MEND = "Give the path of a SQLite file, sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def connect(url: URL) -> Engine:
    """Return an engine whose transactions are what they seem on both databases.

    Raises
    ------
    BacktalkError
        If the database cannot be reached; ``MissingExtra`` if its driver is not installed.
    """
    if url.get_backend_name() == "postgresql":
        if importlib.util.find_spec("psycopg") is None:
            raise MissingExtra.named("postgres", "A store in PostgreSQL")
        engine = create_engine(url, pool_pre_ping=True)
    else:
        engine = _sqlite(url)
    try:
        engine.connect().close()
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        shown = url.render_as_string(hide_password=True)
        raise BacktalkError(
            f"The store {shown} cannot be opened: {reason}",
            "Check that it is a store, in a folder that can be written, or a running server",
        ) from error
    return engine


def _sqlite(url: URL) -> Engine:
    in_memory = url.database in {None, "", ":memory:"}
    engine = create_engine(
        url.set(query={}),
        **(
            {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            if in_memory
            else {"creator": _opener(url)}
        ),
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # The driver would begin transactions by itself, late and not before DDL.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "cache_size=-65536",
            "wal_autocheckpoint=10000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer that began as a reader could not wait for another writer.
        mode = connection.get_execution_options().get("transaction", "read")
        if mode != "none":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")

    return engine


def _opener(url: URL) -> Callable[[], sqlite3.Connection]:
    """Return what opens a file.

    Only the first connection makes one where there is none: a file that is moved away while it is
    in use would otherwise have an empty one in its place, and nowhere to come back to. With
    ``mode=rw`` in the URL's query, not even the first does.
    """
    place = Path(str(url.database)).absolute().as_uri()
    mode = str(url.query.get("mode", "rwc"))

    def opened() -> sqlite3.Connection:
        nonlocal mode
        connection = sqlite3.connect(
            f"{place}?mode={mode}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )
        mode = "rw"
        return connection

    return opened


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes; it is durable once the block is left."""
    options = {"transaction": "write"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def empty_log(engine: Engine) -> None:
    """Move SQLite's write-ahead log into the database file, so that nothing deleted stays in it."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(transaction="none") as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

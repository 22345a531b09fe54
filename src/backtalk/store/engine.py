"""Database connections: SQLite in WAL mode, or PostgreSQL."""

from __future__ import annotations

import importlib.util
import os
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
"""Time for which a SQLite writer waits for another one, in seconds."""


def database_file(url: URL) -> Path | None:
    """Return the file of a SQLite database; ``None`` for other databases and in memory."""
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def in_memory(url: URL) -> bool:
    """Return whether a database is in memory and ends with its process."""
    return url.get_backend_name() == "sqlite" and database_file(url) is None


def database_url(store: str | Path) -> URL:
    """Return the URL of a store, from a URL or the path of a SQLite file.

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
        raise BacktalkError(f"A store cannot be in a {url.drivername!r} database", _URL_MEND)
    return url


_URL_MEND = "Give the path of a SQLite file, sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def artifacts_folder(url: URL, *, in_memory: Path | None = None) -> Path:
    """Return the folder of weights and recordings of a store.

    It is ``BACKTALK_ARTIFACTS``, or else beside a SQLite file, in ``in_memory`` if that is given,
    and in the current folder for a database on a server.
    """
    if folder := os.environ.get("BACKTALK_ARTIFACTS"):
        return Path(folder)
    parent = Path() if in_memory is None else in_memory
    return (database_file(url) or parent / "backtalk").with_suffix(".artifacts")


def state_folder(url: URL) -> Path:
    """Return the folder of a gateway's log, caches and address, if its settings name no other."""
    file = database_file(url)
    return (Path("backtalk") if file is None else file).with_suffix(".serve")


def connect(url: URL) -> Engine:
    """Return an engine with explicit transactions on both databases.

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
        location = url.render_as_string(hide_password=True)
        raise BacktalkError(
            f"The store {location} cannot be opened: {reason}",
            "Check that the file is a store in a folder that can be written, or a running server",
        ) from error
    return engine


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url.set(query={}),
        **(
            {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            if database_file(url) is None
            else {"creator": _opener(url)}
        ),
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # The driver would begin transactions implicitly, late, and not before DDL.
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
        # A transaction that began as a reader cannot wait for another writer.
        mode = connection.get_execution_options().get("transaction", "read")
        if mode != "none":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")

    return engine


def _opener(url: URL) -> Callable[[], sqlite3.Connection]:
    """Return a function that connects to a SQLite file.

    Only the first connection creates a missing file. A file that is moved away while in use would
    otherwise be replaced by an empty one. With ``mode=rw`` in the URL's query, the first connection
    does not create it either.
    """
    uri = Path(str(url.database)).absolute().as_uri()
    mode = str(url.query.get("mode", "rwc"))

    def open_file() -> sqlite3.Connection:
        nonlocal mode
        connection = sqlite3.connect(
            f"{uri}?mode={mode}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )
        mode = "rw"
        return connection

    return open_file


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction, which is durable once the block is left."""
    options = {"transaction": "write"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def empty_log(engine: Engine) -> None:
    """Checkpoint and truncate SQLite's write-ahead log, so that it holds no deleted data."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(transaction="none") as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

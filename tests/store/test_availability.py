"""Store availability: the exceptions of an unavailable store, and the check of its file."""

import pytest
from sqlalchemy import exc
from sqlalchemy.engine import make_url

from backtalk.store import Store
from backtalk.store.availability import (
    UNAVAILABLE,
    UNSTORABLE,
    FilePresence,
    StoreReplaced,
    StoreUnavailable,
)


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("down"),
        StoreReplaced("moved"),
        exc.OperationalError("SELECT 1", {}, Exception("database is locked")),
        exc.InterfaceError("SELECT 1", {}, Exception("connection closed")),
        exc.InternalError("SELECT 1", {}, Exception("transaction aborted")),
        exc.ProgrammingError("SELECT 1", {}, Exception("no such table")),
        exc.DatabaseError("SELECT 1", {}, Exception("disk image is malformed")),
        exc.TimeoutError("no connection in the pool"),
        exc.ResourceClosedError("closed"),
        PermissionError("not readable"),
        ConnectionRefusedError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_database_and_of_the_file_mean_unavailable(error):
    assert isinstance(error, UNAVAILABLE)
    assert not isinstance(error, UNSTORABLE)


@pytest.mark.parametrize(
    "error",
    [
        exc.DataError("INSERT", {}, Exception("value out of range")),
        exc.IntegrityError("INSERT", {}, Exception("constraint failed")),
        ValueError("embedded null character"),
        TypeError("not a string"),
        KeyError("missing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_record_mean_unstorable(error):
    assert isinstance(error, UNSTORABLE)


def test_other_errors_are_neither():
    for error in (RuntimeError("bug"), AssertionError(), AttributeError("bug")):
        assert not isinstance(error, (*UNAVAILABLE, *UNSTORABLE))


def test_a_missing_or_replaced_file_is_noticed(tmp_path):
    file = tmp_path / "store.db"
    with Store(file) as store:
        presence = FilePresence(store.url)
        assert not presence.was_replaced()
        file.rename(tmp_path / "away.db")
        with pytest.raises(StoreReplaced, match=r"store\.db"):
            presence.was_replaced()
        file.write_bytes(b"")
        assert presence.was_replaced()
        assert not presence.was_replaced()


def test_a_store_in_memory_or_on_a_server_is_always_present():
    for url in ("sqlite:///:memory:", "sqlite://", "postgresql+psycopg://nobody@localhost/x"):
        assert not FilePresence(make_url(url)).was_replaced()

"""Stores that go away and come back."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backtalk.errors import BacktalkError
from backtalk.store import Store


class StoreReplaced(BacktalkError):
    """A store that is not where it was."""


AWAY = (OperationalError, InterfaceError, PoolTimeout, StoreReplaced)
"""What using a store raises while it is away."""


class Presence:
    """Watches whether the file of a store is where it was; of other stores it knows nothing.

    A file that is missing is away: a new one in its place would be in the way when it comes back.

    Parameters
    ----------
    store : Store
        The store, which is there now.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        on_disk = store.url.get_backend_name() == "sqlite"
        named = store.url.database not in {None, "", ":memory:"}
        self._path = Path(str(store.url.database)) if on_disk and named else None
        self._inode = 0 if self._path is None else self._path.stat().st_ino

    def check(self) -> None:
        """Raise ``StoreReplaced`` where the file is missing; let go of one that was replaced."""
        if self._path is None:
            return
        result = self._path.stat().st_ino if self._path.exists() else 0
        if result == 0:
            raise StoreReplaced(f"There is no store {self._path}", "Put it back where it was")
        if result != self._inode:
            self._store.engine.dispose()
            self._inode = result

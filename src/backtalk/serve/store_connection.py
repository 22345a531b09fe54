"""The gateway's hold on the store, which may go away and come back while the gateway serves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.store import Store
from backtalk.store.engine import database_url

_MADE = "store-made"
_MOST_STORES = 1_000
"""Seen from so many projects at a time: whoever may work in all of them can make new ones."""


class StoreUnavailable(BacktalkError):
    """The store cannot be reached for now."""


UNAVAILABLE = (StoreUnavailable, SQLAlchemyError, OSError)
"""What using a store raises while it is away."""

UNSTORABLE = (DataError, IntegrityError, ValueError, TypeError, LookupError)
"""What keeping a record raises that no store would take."""


class StoreConnection:
    """Opens a store when it is there, and lets go of it when it is not. Safe between threads.

    A SQLite file that was there once and is missing is away: none is made in its place, which
    would be in the way when it comes back.

    Parameters
    ----------
    location : str
        As for :class:`~backtalk.store.Store`.
    folder : Path
        Where it notes that the store was there.
    """

    def __init__(self, location: str, folder: Path) -> None:
        self._location = location
        self._made = folder / _MADE
        url = database_url(location)
        on_disk = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
        self._file = Path(str(url.database)) if on_disk else None
        existing = url.update_query_dict({"mode": "rw"}) if on_disk else url
        self._existing = existing.render_as_string(hide_password=False)
        self._mutex = threading.Lock()
        self._stores: dict[str | None, Store] = {}
        self._inode = 0

    def store(self, project: str | None = None) -> Store:
        """Return the store, seen from a project.

        Raises
        ------
        StoreAway
            If it cannot be opened.
        """
        with self._mutex:
            self._check_file()
            if None not in self._stores:
                self._stores[None] = self._open()
            if project not in self._stores:
                if len(self._stores) > _MOST_STORES:
                    del self._stores[next(name for name in self._stores if name is not None)]
                self._stores[project] = self._stores[None].in_project(str(project))
            return self._stores[project]

    @property
    def was_there(self) -> bool:
        """Whether the store was there at some time."""
        return self._made.exists()

    def artifacts(self) -> Artifacts:
        """Return where weights and recordings are, which may be there while the store is not."""
        if named := os.environ.get("BACKTALK_ARTIFACTS"):
            return Artifacts(Path(named))
        beside = Path("backtalk") if self._file is None else self._file
        return Artifacts(beside.with_suffix(".artifacts"))

    def let_go(self) -> None:
        """Close the store; it is opened again when it is next asked for."""
        with self._mutex:
            self._close()

    def _check_file(self) -> None:
        if self._file is None:
            return
        result = self._file.stat().st_ino if self._file.exists() else 0
        if result == 0 and self.was_there:
            self._close()
            raise StoreUnavailable(
                f"The store {self._file} is not where it was",
                f"Put it back; to begin a new one, remove {self._made}",
            )
        if self._stores and result != self._inode:
            self._close()

    def _open(self) -> Store:
        try:
            store = Store(self._location if not self.was_there else self._existing)
        except (BacktalkError, SQLAlchemyError) as error:
            raise StoreUnavailable(str(error)) from error
        if self._file is not None:
            self._inode = self._file.stat().st_ino
        self._made.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._made.touch()
        return store

    def _close(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()

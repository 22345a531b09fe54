"""Connection to a store that may become unavailable while the gateway runs."""

from __future__ import annotations

import threading
from pathlib import Path

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.store import Store
from backtalk.store.availability import (
    UNAVAILABLE,
    UNSTORABLE,
    StoreReplaced,
    StoreUnavailable,
    inode,
)
from backtalk.store.engine import artifacts_folder, database_file, database_url

__all__ = ["UNAVAILABLE", "UNSTORABLE", "StoreConnection", "StoreUnavailable"]

_MARKER = "store-made"
_MAX_PROJECTS = 1_000
"""Maximum number of project stores held open. Callers with access to all projects can make more."""


class StoreConnection:
    """Thread-safe connection that opens the store on demand and reopens it after an outage.

    A SQLite file that existed once and is missing counts as unavailable. No new file is created, as
    it would be in the way when the old one returns.

    Parameters
    ----------
    location : str
        SQLite file or database URL.
    folder : Path
        Folder of a marker file, which records that the store has been opened once.
    """

    def __init__(self, location: str, folder: Path) -> None:
        self._location = location
        self._marker = folder / _MARKER
        self._url = url = database_url(location)
        self._file = database_file(url)
        existing = url if self._file is None else url.update_query_dict({"mode": "rw"})
        self._existing = existing.render_as_string(hide_password=False)
        self._mutex = threading.Lock()
        self._stores: dict[str | None, Store] = {}
        self._inode = 0

    def store(self, project: str | None = None) -> Store:
        """Return the store of a project.

        Raises
        ------
        StoreUnavailable
            If it cannot be opened.
        """
        with self._mutex:
            self._check_file()
            if None not in self._stores:
                self._stores[None] = self._open()
            if project not in self._stores:
                if len(self._stores) > _MAX_PROJECTS:
                    del self._stores[next(name for name in self._stores if name is not None)]
                self._stores[project] = self._stores[None].in_project(str(project))
            return self._stores[project]

    @property
    def existed(self) -> bool:
        """If true, the store has been opened before."""
        return self._marker.exists()

    def artifacts(self) -> Artifacts:
        """Return the location of weights and recordings, even if the store is unavailable."""
        return Artifacts(artifacts_folder(self._url))

    def close(self) -> None:
        """Close the store. The next use reopens it."""
        with self._mutex:
            self._close()

    def _check_file(self) -> None:
        if self._file is None:
            return
        current = inode(self._file)
        if current == 0 and self.existed:
            self._close()
            raise StoreReplaced(
                f"The store {self._file} is missing",
                f"Restore the file, or remove {self._marker} to start a new store",
            )
        if self._stores and current != self._inode:
            self._close()

    def _open(self) -> Store:
        try:
            store = Store(self._location if not self.existed else self._existing)
        except (*UNAVAILABLE, BacktalkError) as error:
            raise StoreUnavailable(str(error)) from error
        if self._file is not None:
            self._inode = inode(self._file)
        self._marker.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._marker.touch()
        return store

    def _close(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()

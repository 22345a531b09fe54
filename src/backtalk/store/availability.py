"""Store availability: the exceptions of an unavailable store, and a check of its file."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from backtalk.errors import BacktalkError
from backtalk.store.engine import database_file


class StoreUnavailable(BacktalkError):
    """The store cannot be reached at the moment."""


class StoreReplaced(StoreUnavailable):
    """The file of the store is missing, or another file has taken its place."""


UNAVAILABLE = (StoreUnavailable, SQLAlchemyError, OSError)
"""Exceptions that a store raises while it is unavailable.

All errors of the database count, not only those of the connection: a database that is being
restored lacks tables (``ProgrammingError``), and a file that is being copied is malformed
(``DatabaseError``). Catch ``UNSTORABLE`` first where a record may be at fault.
"""

UNSTORABLE = (
    DataError,
    IntegrityError,
    ValueError,
    TypeError,
    LookupError,
)
"""Exceptions raised on writing a record that no store accepts. A retry is useless."""


def inode(path: Path) -> int:
    """Return the inode number of a file, 0 if it is missing."""
    return path.stat().st_ino if path.exists() else 0


class FilePresence:
    """Check that the file of a SQLite store is still the file that was opened.

    A missing file means that the store is unavailable: a new file in its place would be in the
    way of the old one when it is put back. Other databases always pass the check.

    Parameters
    ----------
    url : URL
        URL of the store, whose file exists.
    """

    def __init__(self, url: URL) -> None:
        self._path = database_file(url)
        self._inode = 0 if self._path is None else inode(self._path)

    def was_replaced(self) -> bool:
        """Return true if another file took the place of the file since the last call.

        Raises
        ------
        StoreReplaced
            If the file is missing.
        """
        if self._path is None:
            return False
        current = inode(self._path)
        if current == 0:
            raise StoreReplaced(
                f"The store {self._path} is missing", "Move the file back to where it was"
            )
        replaced = current != self._inode
        self._inode = current
        return replaced

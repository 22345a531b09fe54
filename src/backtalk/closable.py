"""Base class of objects that a ``with`` block closes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closable(ABC):
    """Object with a ``close`` method, for use as a context manager.

    >>> class Connection(Closable):
    ...     open = True
    ...     def close(self):
    ...         self.open = False
    >>> with Connection() as connection:
    ...     connection.open
    True
    >>> connection.open
    False
    """

    @abstractmethod
    def close(self) -> None:
        """Release the resources that the object holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Leases: exclusive rights of one process at a time, which expire unless renewed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp
from backtalk.store.row_inserts import insert_rows

Clock = Callable[[], datetime]

_COLUMNS = ("project", "name", "holder", "expires", "term")


@dataclass(frozen=True)
class Lease:
    """A lease with its holder."""

    name: str
    holder: str
    expires: datetime
    term: int
    """Fencing token: number of times that the lease changed hands."""


class Leases:
    """Leases of a project. Obtained as :attr:`Store.leases`.

    A process that was suspended may not know that its lease expired. Its writes are therefore
    fenced: in the transaction that writes, :meth:`holds` checks that its term is still the last
    one (Kleppmann, 2016, "How to do distributed locking"). The clocks of all machines have to
    agree to within a small part of the lease's duration.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    clock : Clock, default now
        Source of the current time.

    Examples
    --------
    >>> from backtalk.store import Store
    >>> with Store(":memory:") as store:
    ...     first = store.leases.acquire("learning", "ada", 30)
    ...     second = store.leases.acquire("learning", "bo", 30)
    ...     released = store.leases.release("learning", "ada")
    ...     first, second, store.leases.acquire("learning", "bo", 30)
    (1, None, 2)
    """

    def __init__(self, engine: Engine, project_id: int, *, clock: Clock = now) -> None:
        self._engine = engine
        self._project_id = project_id
        self._clock = clock

    def acquire(self, name: str, holder: str, seconds: float) -> int | None:
        """Acquire a lease if nobody else holds it.

        Parameters
        ----------
        name : str
            Name of the lease.
        holder : str
            Name of the caller, unique to its process.
        seconds : float
            Duration, from now on.

        Returns
        -------
        int or None
            Term of the lease, larger than the terms of all earlier holders. Unchanged if the
            caller holds the lease already. ``None`` if somebody else holds it.
        """
        table = schema.leases
        at = self._clock()
        with writing(self._engine) as connection:
            insert_rows(connection, table, _COLUMNS, [(self._project_id, name, "", 0, 0)])
            row = connection.execute(
                select(table.c.holder, table.c.expires, table.c.term)
                .where(*self._where(name))
                .with_for_update()
            ).one()
            is_held = row.expires > microseconds(at)
            if is_held and row.holder != holder:
                return None
            term = int(row.term) + (0 if is_held else 1)
            expires = microseconds(at + timedelta(seconds=seconds))
            connection.execute(
                update(table)
                .where(*self._where(name))
                .values(holder=holder, expires=expires, term=term)
            )
        return term

    def renew(self, name: str, holder: str, seconds: float) -> bool:
        """Extend a lease.

        Parameters
        ----------
        name : str
            Name of the lease.
        holder : str
            Name of the caller.
        seconds : float
            New duration, from now on.

        Returns
        -------
        bool
            False if the lease had expired. It has to be acquired again then.
        """
        at = self._clock()
        return self._set_expiry(name, holder, at, at + timedelta(seconds=seconds))

    def release(self, name: str, holder: str) -> bool:
        """Release a lease; return true if the caller still held it."""
        at = self._clock()
        return self._set_expiry(name, holder, at, at)

    def find(self, name: str) -> Lease | None:
        """Return a lease, ``None`` if nobody holds it."""
        table = schema.leases
        query = select(table).where(
            *self._where(name), table.c.expires > microseconds(self._clock())
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Lease(name, row.holder, timestamp(row.expires), row.term)

    def holds(self, connection: Connection, name: str, term: int) -> bool:
        """Return true if a term is the last one. It remains the last until the transaction ends.

        Parameters
        ----------
        connection : Connection
            Connection with an open write transaction.
        name : str
            Name of the lease.
        term : int
            Term returned by :meth:`acquire`.
        """
        table = schema.leases
        query = select(table.c.term).where(*self._where(name)).with_for_update(read=True)
        return connection.execute(query).scalar() == term

    def _set_expiry(self, name: str, holder: str, at: datetime, expires: datetime) -> bool:
        table = schema.leases
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(table)
                .where(
                    *self._where(name),
                    table.c.holder == holder,
                    table.c.expires > microseconds(at),
                )
                .values(expires=microseconds(expires))
            ).rowcount
        return changed > 0

    def _where(self, name: str) -> tuple[Any, ...]:
        table = schema.leases
        return table.c.project == self._project_id, table.c.name == name

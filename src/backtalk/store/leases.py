"""Leases: what one process at a time may do, for as long as it says that it lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.inserts import insert_rows
from backtalk.store.row_codec import microseconds, timestamp

Clock = Callable[[], datetime]

_COLUMNS = ("project", "name", "holder", "until", "term")


@dataclass(frozen=True)
class Lease:
    """Who may do what, and until when."""

    name: str
    holder: str
    until: datetime
    term: int
    """How often the lease has gone to somebody."""


class Leases:
    """The leases of a project. Made by :attr:`Store.leases`.

    A holder that was asleep does not know that its lease ran out. What it writes is therefore
    fenced: in the transaction that writes, :meth:`holds` asks whether its term is still the last
    one (Kleppmann, 2016, "How to do distributed locking"). The clocks of all machines have to
    agree, but for a small part of the seconds of a lease.

    Parameters
    ----------
    engine : Engine
        A store's.
    project : int
        The number of the project.
    clock : Clock, default now
        Tells the time.

    Examples
    --------
    >>> from backtalk.store import Store
    >>> with Store(":memory:") as store:
    ...     first = store.leases.acquire("learning", "ada", 30)
    ...     second = store.leases.acquire("learning", "bo", 30)
    ...     given_up = store.leases.release("learning", "ada")
    ...     first, second, store.leases.acquire("learning", "bo", 30)
    (1, None, 2)
    """

    def __init__(self, engine: Engine, project: int, *, clock: Clock = now) -> None:
        self._engine = engine
        self._project = project
        self._clock = clock

    def acquire(self, name: str, holder: str, seconds: float) -> int | None:
        """Take a lease, if nobody else has it.

        Parameters
        ----------
        name : str
            What may be done.
        holder : str
            Who wants to; a name that no other process has.
        seconds : float
            For how long, from now on.

        Returns
        -------
        int or None
            The term, which is larger than those of all holders before; the same as before where
            the holder has the lease already. ``None`` where somebody else has it.
        """
        table = schema.leases
        at = self._clock()
        with writing(self._engine) as connection:
            insert_rows(connection, table, _COLUMNS, [(self._project, name, "", 0, 0)])
            row = connection.execute(
                select(table.c.holder, table.c.until, table.c.term)
                .where(*self._where(name))
                .with_for_update()
            ).one()
            runs = row.until > _number(at)
            if runs and row.holder != holder:
                return None
            term = int(row.term) + (0 if runs else 1)
            until = _number(at + timedelta(seconds=seconds))
            connection.execute(
                update(table)
                .where(*self._where(name))
                .values(holder=holder, until=until, term=term)
            )
        return term

    def renew(self, name: str, holder: str, seconds: float) -> bool:
        """Hold a lease for so many seconds from now on.

        Returns
        -------
        bool
            Whether the holder had it still. Where it ran out, it has to be taken anew.
        """
        at = self._clock()
        return self._set_end(name, holder, at, at + timedelta(seconds=seconds))

    def release(self, name: str, holder: str) -> bool:
        """Give a lease up; return whether the holder had it still."""
        at = self._clock()
        return self._set_end(name, holder, at, at)

    def find(self, name: str) -> Lease | None:
        """Return a lease that somebody has, ``None`` where nobody has it."""
        table = schema.leases
        query = select(table).where(*self._where(name), table.c.until > _number(self._clock()))
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Lease(name, row.holder, timestamp(row.until), row.term)

    def holds(self, connection: Connection, name: str, term: int) -> bool:
        """Return whether a term is the last one; if so, it stays that until the transaction ends.

        Parameters
        ----------
        connection : Connection
            A transaction that writes.
        name, term
            What :meth:`acquire` was asked for, and what it returned.
        """
        table = schema.leases
        query = select(table.c.term).where(*self._where(name)).with_for_update(read=True)
        return connection.execute(query).scalar() == term

    def _set_end(self, name: str, holder: str, at: datetime, until: datetime) -> bool:
        table = schema.leases
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(table)
                .where(*self._where(name), table.c.holder == holder, table.c.until > _number(at))
                .values(until=_number(until))
            ).rowcount
        return changed > 0

    def _where(self, name: str) -> tuple[Any, ...]:
        table = schema.leases
        return table.c.project == self._project, table.c.name == name


def _number(time: datetime) -> int:
    result = microseconds(time)
    assert result is not None
    return result

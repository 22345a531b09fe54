"""A queue of work that outlives the process which does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Connection, Engine, Row, select, update

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.inserts import insert_rows
from backtalk.store.leases import Clock, Leases
from backtalk.store.row_codec import microseconds, timestamp

State = Literal["waiting", "done", "failed"]

_COLUMNS = ("project", "id", "kind", "state", "made", "not_before", "tries", "body")


class LeaseLost(BacktalkError):
    """Work of a process whose lease ran out, so that another one does it now."""


@dataclass(frozen=True)
class Job:
    """A piece of work."""

    id: str
    kind: str
    state: State
    body: str
    """What is to be done."""
    made: datetime
    not_before: datetime
    """When it is tried next, while it waits."""
    tries: int
    """How often somebody began it."""
    result: str | None
    """What came of it so far."""
    error: str | None
    """Why the last try failed."""
    ended: datetime | None


class Jobs:
    """The jobs of a project. Made by :attr:`Store.jobs`.

    Jobs of a kind are done by whoever holds the lease of that name, one after the other; what a
    former holder writes is refused. A job that was begun and not ended is begun again by the next
    holder, who finds what was noted.

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
    ...     new = store.jobs.put("learn", "first", "{}")
    ...     term = store.leases.acquire("learn", "ada", 30)
    ...     job = store.jobs.take("learn", term=term)
    ...     store.jobs.done(job.id, "a policy", term=term)
    ...     store.jobs.get("first").result
    'a policy'
    """

    def __init__(self, engine: Engine, project: int, *, clock: Clock = now) -> None:
        self._engine = engine
        self._project = project
        self._clock = clock
        self._leases = Leases(engine, project, clock=clock)

    def put(self, kind: str, id: str, body: str, *, not_before: datetime | None = None) -> bool:  # noqa: A002
        """Put a job into the queue and return whether it is new; one that is there stays as it is.

        Parameters
        ----------
        kind, id, body : str
            The job.
        not_before : datetime, optional
            When it may begin; at once, if left out.
        """
        at = self._clock()
        times = (microseconds(at), microseconds(not_before or at))
        row = (self._project, id, kind, "waiting", *times, 0, body)
        with writing(self._engine) as connection:
            return insert_rows(connection, schema.jobs, _COLUMNS, [row]) > 0

    def claim(self, kind: str, *, term: int) -> Job | None:
        """Begin the next job whose time has come, ``None`` where there is none.

        Parameters
        ----------
        kind : str
            Of which kind.
        term : int
            Of the caller's lease.

        Raises
        ------
        Overtaken
            If somebody else holds the lease by now.
        """
        table = schema.jobs
        query = (
            select(table)
            .where(
                *self._where(kind=kind, state="waiting"),
                table.c.not_before <= microseconds(self._clock()),
            )
            .order_by(table.c.not_before, table.c.seq)
            .limit(1)
        )
        with writing(self._engine) as connection:
            self._check(connection, kind, term)
            row = connection.execute(query).first()
            if row is None:
                return None
            self._change(connection, row.id, tries=row.tries + 1)
            return _job_of(row, tries=row.tries + 1)

    def checkpoint(self, id: str, result: str, *, term: int) -> None:  # noqa: A002
        """Keep what came of a job so far; raise ``LeaseLost`` where another process does it."""
        self._end(id, term, result=result)

    def done(self, id: str, result: str, *, term: int) -> None:  # noqa: A002
        """End a job well; raise ``LeaseLost`` where another process does it."""
        ended = microseconds(self._clock())
        self._end(id, term, state="done", result=result, error=None, ended=ended)

    def fail(self, id: str, error: str, *, term: int, retry_at: datetime | None = None) -> None:  # noqa: A002
        """Say why a try failed.

        Parameters
        ----------
        id, error : str
            Of the job.
        term : int
            Of the caller's lease.
        retry_at : datetime, optional
            When to try again; the job has failed for good, if left out.

        Raises
        ------
        Overtaken
            If somebody else holds the lease by now.
        """
        if retry_at is None:
            self._end(id, term, state="failed", error=error, ended=microseconds(self._clock()))
        else:
            self._end(id, term, error=error, not_before=microseconds(retry_at))

    def release(self, job: Job, *, term: int) -> None:
        """Leave a job that was begun to the next holder, as if it had not been tried."""
        self._end(job.id, term, tries=job.tries - 1)

    def again(self, id: str) -> Job:  # noqa: A002
        """Let a failed job be tried again, at once and as often as a new one.

        Raises
        ------
        NotFound
            If there is no such job.
        BacktalkError
            If it has not failed.
        """
        job = self.get(id)
        values = {"state": "waiting", "tries": 0, "ended": None}
        with writing(self._engine) as connection:
            changed = self._change(
                connection,
                job.id,
                only="failed",
                not_before=microseconds(self._clock()),
                **values,
            )
        if not changed:
            raise BacktalkError(f"The job {id} has not failed: it is {job.state}")
        return self.get(job.id)

    def get(self, id: str) -> Job:  # noqa: A002
        """Return a job by its id or by the beginning of its id; raise ``NotFound``."""
        table = schema.jobs
        query = select(table).where(*self._where(), table.c.id.startswith(id, autoescape=True))
        with self._engine.connect() as connection:
            results = connection.execute(query.limit(2)).all()
        exact = [row for row in results if row.id == id] or results
        if len(exact) != 1 or not id:
            several = "several jobs whose ids begin" if len(exact) > 1 else "no job"
            raise NotFound(f"There is {several} {id!r}", "`backtalk jobs` lists them")
        return _job_of(exact[0])

    def list(self, *, kind: str | None = None, state: State | None = None) -> list[Job]:
        """Return jobs, the oldest first.

        Parameters
        ----------
        kind, state
            Only such jobs.
        """
        table = schema.jobs
        query = select(table).where(*self._where(kind=kind, state=state)).order_by(table.c.seq)
        with self._engine.connect() as connection:
            return [_job_of(row) for row in connection.execute(query)]

    def _end(self, id_: str, term: int, **values: object) -> None:
        kind = self.get(id_).kind
        with writing(self._engine) as connection:
            self._check(connection, kind, term)
            self._change(connection, id_, only="waiting", **values)

    def _check(self, connection: Connection, kind: str, term: int) -> None:
        if not self._leases.holds(connection, kind, term):
            raise LeaseLost(f"Another process does the jobs of {kind!r} by now")

    def _change(
        self, connection: Connection, id_: str, *, only: State | None = None, **values: object
    ) -> bool:
        where = self._where(id=id_, state=only)
        return connection.execute(update(schema.jobs).where(*where).values(values)).rowcount > 0

    def _where(self, **equal: str | None) -> tuple[Any, ...]:
        table = schema.jobs
        named = [table.c[name] == value for name, value in equal.items() if value is not None]
        return (table.c.project == self._project, *named)


def _job_of(row: Row[Any], *, tries: int | None = None) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        state=cast("State", row.state),
        body=row.body,
        made=timestamp(row.made),
        not_before=timestamp(row.not_before),
        tries=row.tries if tries is None else tries,
        result=row.result,
        error=row.error,
        ended=None if row.ended is None else timestamp(row.ended),
    )

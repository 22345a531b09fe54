"""Persistent job queue: background work that survives the process doing it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Connection, Engine, Row, select, update

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.leases import Clock, Leases
from backtalk.store.row_codec import microseconds, optional_timestamp, timestamp
from backtalk.store.row_inserts import insert_rows

JobState = Literal["waiting", "done", "failed", "paused", "cancelled"]

_COLUMNS = ("project", "id", "kind", "state", "created", "not_before", "attempts", "body")


class LeaseLost(BacktalkError):
    """The lease of the caller expired, and another process does its jobs now."""


@dataclass(frozen=True)
class Job:
    """A unit of background work."""

    id: str
    kind: str
    state: JobState
    body: str
    """JSON text that specifies the work."""
    created: datetime
    not_before: datetime
    """Earliest time of the next attempt, for a waiting job."""
    attempts: int
    """Number of attempts begun."""
    result: str | None
    """JSON text of the result, or of the progress so far."""
    error: str | None
    """Error message of the last failed attempt."""
    ended: datetime | None


def projects_with_due_jobs(engine: Engine, kind: str, *, clock: Clock = now) -> list[str]:
    """Return the names of the projects in which a job of a kind waits to be run, sorted.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    kind : str
        Kind of the jobs.
    clock : Clock, default now
        Source of the current time.
    """
    jobs, projects = schema.jobs, schema.projects
    query = (
        select(projects.c.name)
        .join(jobs, jobs.c.project == projects.c.id)
        .where(
            jobs.c.kind == kind,
            jobs.c.state == "waiting",
            jobs.c.not_before <= microseconds(clock()),
        )
        .distinct()
        .order_by(projects.c.name)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


class JobQueue:
    """Jobs of a project. Obtained as :attr:`Store.jobs`.

    Jobs of a kind are run one at a time by the holder of the lease of that name. Writes of a
    previous holder are rejected. A job that was begun and not ended is begun again by the next
    holder, who finds its last checkpoint.

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
    ...     is_new = store.jobs.put("learn", "first", "{}")
    ...     term = store.leases.acquire("learn", "ada", 30)
    ...     job = store.jobs.claim("learn", term=term)
    ...     store.jobs.complete(job.id, "a policy", term=term)
    ...     store.jobs.get("first").result
    'a policy'
    """

    def __init__(self, engine: Engine, project_id: int, *, clock: Clock = now) -> None:
        self._engine = engine
        self._project_id = project_id
        self._clock = clock
        self._leases = Leases(engine, project_id, clock=clock)

    def put(self, kind: str, id: str, body: str, *, not_before: datetime | None = None) -> bool:  # noqa: A002
        """Add a job and return true if it is new. An existing job is left unchanged.

        Parameters
        ----------
        kind : str
            Kind of the job, and name of the lease that it needs.
        id : str
            Id of the job.
        body : str
            JSON text that specifies the work.
        not_before : datetime, optional
            Earliest start. Default: now.
        """
        at = self._clock()
        times = (microseconds(at), microseconds(not_before or at))
        row = (self._project_id, id, kind, "waiting", *times, 0, body)
        with writing(self._engine) as connection:
            return insert_rows(connection, schema.jobs, _COLUMNS, [row]) > 0

    def claim(self, kind: str, *, term: int) -> Job | None:
        """Begin an attempt at the next job that is due.

        Parameters
        ----------
        kind : str
            Kind of the job.
        term : int
            Term of the caller's lease.

        Returns
        -------
        Job or None
            ``None`` if no job is due.

        Raises
        ------
        LeaseLost
            If another process holds the lease.
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
            self._check_lease(connection, kind, term)
            row = connection.execute(query).first()
            if row is None:
                return None
            self._update(connection, row.id, attempts=row.attempts + 1)
            return _from_row(row, attempts=row.attempts + 1)

    def checkpoint(self, id: str, result: str, *, term: int) -> None:  # noqa: A002
        """Store the progress of a job.

        Parameters
        ----------
        id : str
            Id of the job.
        result : str
            JSON text of the progress.
        term : int
            Term of the caller's lease.

        Raises
        ------
        LeaseLost
            If another process holds the lease.
        """
        self._fenced_update(id, term, result=result)

    def complete(self, id: str, result: str, *, term: int) -> None:  # noqa: A002
        """Mark a job as done.

        Parameters
        ----------
        id : str
            Id of the job.
        result : str
            JSON text of the result.
        term : int
            Term of the caller's lease.

        Raises
        ------
        LeaseLost
            If another process holds the lease.
        """
        ended = microseconds(self._clock())
        self._fenced_update(id, term, state="done", result=result, error=None, ended=ended)

    def fail(self, id: str, error: str, *, term: int, retry_at: datetime | None = None) -> None:  # noqa: A002
        """Record the failure of an attempt.

        Parameters
        ----------
        id : str
            Id of the job.
        error : str
            Error message.
        term : int
            Term of the caller's lease.
        retry_at : datetime, optional
            Time of the next attempt. Without one, the job has failed for good.

        Raises
        ------
        LeaseLost
            If another process holds the lease.
        """
        if retry_at is None:
            ended = microseconds(self._clock())
            self._fenced_update(id, term, state="failed", error=error, ended=ended)
        else:
            self._fenced_update(id, term, error=error, not_before=microseconds(retry_at))

    def release(self, job: Job, *, term: int) -> None:
        """Return a claimed job to the queue. The attempt does not count."""
        self._fenced_update(job.id, term, attempts=job.attempts - 1)

    def retry(self, id: str) -> Job:  # noqa: A002
        """Return a failed job to the queue, due now and with no attempts counted.

        Raises
        ------
        NotFound
            If there is no such job.
        BacktalkError
            If it has not failed.
        """
        job = self.get(id)
        values = {"state": "waiting", "attempts": 0, "ended": None}
        with writing(self._engine) as connection:
            changed = self._update(
                connection,
                job.id,
                only="failed",
                **values,
                not_before=microseconds(self._clock()),
            )
        if not changed:
            raise BacktalkError(f"Job {job.id} has not failed: it is {job.state}")
        return self.get(job.id)

    def prepare(self, id: str, result: str) -> bool:  # noqa: A002
        """Store the progress of a job before its first attempt, and make it due now.

        The attempts before :meth:`resume` do not count.

        Parameters
        ----------
        id : str
            Id of the job.
        result : str
            JSON text of the progress.

        Returns
        -------
        bool
            True if it was waiting.
        """
        start = microseconds(self._clock())
        where = (*self._where(id=id, state="waiting"), schema.jobs.c.attempts == 0)
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(schema.jobs).where(*where).values(result=result, not_before=start)
            )
        return changed.rowcount > 0

    def reject(self, id: str, error: str, *, result: str) -> bool:  # noqa: A002
        """Fail a job before its first attempt, and return true if it was waiting.

        Parameters
        ----------
        id : str
            Id of the job.
        error : str
            Error message.
        result : str
            JSON text of the progress.
        """
        values = {"error": error, "result": result, "ended": microseconds(self._clock())}
        where = (*self._where(id=id, state="waiting"), schema.jobs.c.attempts == 0)
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(schema.jobs).where(*where).values(state="failed", **values)
            )
        return changed.rowcount > 0

    def pause(self, id: str) -> Job:  # noqa: A002
        """Take a waiting job out of the queue until :meth:`resume`.

        Raises
        ------
        NotFound
            If there is no such job.
        BacktalkError
            If it is not waiting.
        """
        return self._move(id, "paused", only=("waiting",))

    def resume(self, id: str) -> Job:  # noqa: A002
        """Return a paused job to the queue, due now and with no attempts counted.

        Raises
        ------
        NotFound
            If there is no such job.
        BacktalkError
            If it is not paused.
        """
        due = microseconds(self._clock())
        return self._move(id, "waiting", only=("paused",), attempts=0, not_before=due)

    def cancel(self, id: str) -> Job:  # noqa: A002
        """End a job that waits or is paused.

        The process that does it finds out from :meth:`get`; its writes have no effect.

        Raises
        ------
        NotFound
            If there is no such job.
        BacktalkError
            If it has ended.
        """
        ended = microseconds(self._clock())
        return self._move(id, "cancelled", only=("waiting", "paused"), ended=ended)

    def _move(self, id_: str, state: JobState, *, only: tuple[JobState, ...], **values: Any) -> Job:
        job = self.get(id_)
        with writing(self._engine) as connection:
            changed = any(
                self._update(connection, job.id, only=before, state=state, **values)
                for before in only
            )
        job = self.get(job.id)
        if not changed:
            raise BacktalkError(f"Job {job.id} is {job.state}, not {' or '.join(only)}")
        return job

    def get(self, id: str) -> Job:  # noqa: A002
        """Return a job, by its id or a unique prefix of its id.

        Raises
        ------
        NotFound
            If no id, or more than one, matches.
        """
        table = schema.jobs
        query = select(table).where(*self._where(), table.c.id.startswith(id, autoescape=True))
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(2)).all()
        matches = [row for row in rows if row.id == id] or rows
        if len(matches) != 1 or not id:
            problem = "are several jobs whose ids begin with" if len(matches) > 1 else "is no job"
            raise NotFound(f"There {problem} {id!r}", "`backtalk job list` lists the jobs")
        return _from_row(matches[0])

    def list(self, *, kind: str | None = None, state: JobState | None = None) -> list[Job]:
        """Return jobs, oldest first, optionally only those of a kind or in a state."""
        table = schema.jobs
        query = select(table).where(*self._where(kind=kind, state=state)).order_by(table.c.seq)
        with self._engine.connect() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def _fenced_update(self, id_: str, term: int, **values: object) -> None:
        """Update a waiting job if the caller still holds the lease."""
        kind = self.get(id_).kind
        with writing(self._engine) as connection:
            self._check_lease(connection, kind, term)
            self._update(connection, id_, only="waiting", **values)

    def _check_lease(self, connection: Connection, kind: str, term: int) -> None:
        if not self._leases.holds(connection, kind, term):
            raise LeaseLost(f"Another process has taken over the jobs of {kind!r}")

    def _update(
        self, connection: Connection, id_: str, *, only: JobState | None = None, **values: object
    ) -> bool:
        where = self._where(id=id_, state=only)
        return connection.execute(update(schema.jobs).where(*where).values(values)).rowcount > 0

    def _where(self, **equal: str | None) -> tuple[Any, ...]:
        table = schema.jobs
        conditions = [table.c[name] == value for name, value in equal.items() if value is not None]
        return (table.c.project == self._project_id, *conditions)


def _from_row(row: Row[Any], *, attempts: int | None = None) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        state=cast("JobState", row.state),
        body=row.body,
        created=timestamp(row.created),
        not_before=timestamp(row.not_before),
        attempts=row.attempts if attempts is None else attempts,
        result=row.result,
        error=row.error,
        ended=optional_timestamp(row.ended),
    )

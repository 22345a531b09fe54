"""A project's memory: its interactions and feedback, and what else is kept with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, func, select

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import AnyFeedback, Interaction, content_id
from backtalk.feedback.views import Case
from backtalk.store import schema
from backtalk.store.columns import Columns
from backtalk.store.engine import connect, database_url, writing
from backtalk.store.inserts import Added, Batch, hide, project_number, refuse_other_content, show
from backtalk.store.jobs import Jobs
from backtalk.store.journal import DocumentStore, EventLog
from backtalk.store.leases import Leases
from backtalk.store.migrations import upgrade
from backtalk.store.purge import Purged, purge
from backtalk.store.queries import (
    Arrival,
    Cursor,
    known_kinds,
    read_arrivals,
    read_case,
    read_cases,
    read_feedback,
    read_interaction,
)


class Store:
    """A project's interactions and feedback in a database.

    Parameters
    ----------
    location : str | Path
        The path of a SQLite file, or a URL: ``sqlite:///FILE``, ``postgresql://USER@HOST/NAME``.
        The tables are made, and brought to the present schema, when the store is opened.
    project : str, default "default"
        The name space. Records, policies and evaluations of one project are never seen from
        another.

    Examples
    --------
    >>> from backtalk.feedback import Annotator, Interaction, Label
    >>> talk = Interaction.of("Is it open?", "Yes.")
    >>> ada = Annotator.human("ada")
    >>> thumb = Label(interaction=talk.id, annotator=ada, response="0", good=True)
    >>> with Store(":memory:") as store:
    ...     added = store.add(talk, thumb)
    ...     [case.feedback[0].good for case in store.cases()]
    [True]
    """

    def __init__(self, location: str | Path, *, project: str = "default") -> None:
        self.url = database_url(location)
        engine = connect(self.url)
        upgrade(engine)
        self._open(engine, project)

    def _open(self, engine: Engine, project: str) -> None:
        if not project:
            raise BacktalkError("A project needs a name", "Leave it out for 'default'")
        self.engine = engine
        self.project = project
        self._project = project_number(engine, project)

    def in_project(self, name: str) -> Store:
        """Return the same database seen from another project."""
        other = object.__new__(Store)
        other.url = self.url
        other._open(self.engine, name)
        return other

    def projects(self) -> list[str]:
        """Return the names of all projects in the database."""
        query = select(schema.projects.c.name).order_by(schema.projects.c.name)
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def documents(self) -> DocumentStore:
        """Policies, evaluations and whatever else is kept whole under an id."""
        return DocumentStore(self.engine, self._project)

    @cached_property
    def journal(self) -> EventLog:
        """What happened, in order: promotions and rollbacks."""
        return EventLog(self.engine, self._project)

    @cached_property
    def leases(self) -> Leases:
        """What one process at a time may do."""
        return Leases(self.engine, self._project)

    @cached_property
    def jobs(self) -> Jobs:
        """Work that is to be done in the background."""
        return Jobs(self.engine, self._project)

    @cached_property
    def columns(self) -> Columns:
        """Feedback by columns, for statistics."""
        return Columns(self.engine, self._project)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Weights and recordings: beside a SQLite file, else where ``BACKTALK_ARTIFACTS`` says."""
        if named := os.environ.get("BACKTALK_ARTIFACTS"):
            return Artifacts(Path(named))
        if self.url.get_backend_name() == "sqlite" and self.url.database not in {None, ":memory:"}:
            return Artifacts(Path(str(self.url.database)).with_suffix(".artifacts"))
        return Artifacts(Path("backtalk.artifacts"))

    def add(self, *records: Interaction | AnyFeedback, key: str | None = None) -> Added:
        """Keep records, all or none; once this returns, they survive the death of the process.

        Parameters
        ----------
        records
            Interactions, and feedback about them or about interactions kept already.
        key : str, optional
            An idempotency key, for one record: adding again under the same key changes nothing.

        Raises
        ------
        NotFound
            If feedback is about an interaction that is not kept.
        RecordError
            If feedback does not fit its interaction.
        Conflict
            If an id or key is taken by a record with other content.
        """
        if key is not None:
            if len(records) != 1:
                raise BacktalkError(
                    f"One idempotency key was given for {len(records)} records",
                    "Add them one by one, each with its key",
                )
            records = (records[0].model_copy(update={"id": content_id("key", key)}),)
        interactions = [record for record in records if isinstance(record, Interaction)]
        items = [record for record in records if not isinstance(record, Interaction)]
        with writing(self.engine) as connection:
            known = {interaction.id: interaction for interaction in interactions}
            for item in items:
                if item.interaction is None:
                    continue
                if item.interaction not in known:
                    known[item.interaction] = read_interaction(
                        connection, self._project, item.interaction
                    )
                item.check(known[item.interaction])
            batch = Batch(self._project)
            batch.add(interactions, items)
            added = batch.insert(connection)
            if added.known:
                for table, kept in ((schema.interactions, interactions), (schema.feedback, items)):
                    refuse_other_content(connection, self._project, table, kept)
        return added

    def add_cases(self, cases: Iterable[Case], *, batch: int = 100_000) -> Added:
        """Keep many interactions with their feedback, a transaction a batch.

        Records whose id is there already are left as they are and counted as known.

        Raises
        ------
        RecordError
            If feedback does not fit its interaction; the batches before stay.
        """
        stream = iter(cases)
        added = Added()
        while True:
            rows = Batch(self._project)
            taken = 0
            for case in islice(stream, batch):
                for item in case.feedback:
                    item.check(case.interaction)
                rows.add([case.interaction], case.feedback)
                taken += 1
            if not taken:
                return added
            with writing(self.engine) as connection:
                added += rows.insert(connection)

    def interaction(self, id: str) -> Interaction:  # noqa: A002
        """Return an interaction; raise ``NotFound`` where there is none, or it was deleted."""
        with self.engine.connect() as connection:
            return read_interaction(connection, self._project, id)

    def case(self, id: str) -> Case:  # noqa: A002
        """Return an interaction with its feedback; raise ``NotFound`` where there is none."""
        with self.engine.connect() as connection:
            return read_case(connection, self._project, id)

    def cases(
        self, *, kinds: Sequence[str] | None = None, until: Cursor | None = None
    ) -> Iterator[Case]:
        """Yield all interactions with their feedback, in the order in which they were added.

        Memory stays flat, however many there are, and no transaction is held open.

        Parameters
        ----------
        kinds : sequence of str, optional
            Yield only interactions that have feedback of these kinds, with only that.
        until : Cursor, optional
            Only what was there when :meth:`cursor` returned this.
        """
        return read_cases(self.engine, self._project, known_kinds(kinds), until)

    def feedback(
        self, *, kinds: Sequence[str] | None = None, system_wide: bool = False
    ) -> Iterator[AnyFeedback]:
        """Yield feedback in the order in which it was added, at flat memory.

        Parameters
        ----------
        kinds : sequence of str, optional
            Only these kinds.
        system_wide : bool, default False
            Only what is about no interaction: standing instructions, critiques of the system.
        """
        return read_feedback(
            self.engine, self._project, known_kinds(kinds), system_wide=system_wide
        )

    def counts(self) -> dict[str, int]:
        """Return how many interactions there are, and how much feedback of each kind."""
        interactions, items = schema.interactions, schema.feedback
        with self.engine.connect() as connection:
            total = connection.execute(
                select(func.count()).where(
                    interactions.c.project == self._project, interactions.c.deleted.is_(None)
                )
            ).scalar()
            kinds = connection.execute(
                select(items.c.kind, func.count().label("total"))
                .where(items.c.project == self._project, items.c.deleted.is_(None))
                .group_by(items.c.kind)
                .order_by(items.c.kind)
            ).all()
        return {"interaction": int(total or 0)} | {row.kind: int(row.total) for row in kinds}

    def last_feedback(self) -> int:
        """Return the sequence number of the latest feedback, 0 where there is none."""
        items = schema.feedback
        query = select(func.max(items.c.seq)).where(items.c.project == self._project)
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def cursor(self) -> Cursor:
        """Return how far the project is filled now."""
        table = schema.interactions
        query = select(func.max(table.c.seq)).where(table.c.project == self._project)
        with self.engine.connect() as connection:
            last = int(connection.execute(query).scalar() or 0)
        return Cursor(interactions=last, feedback=self.last_feedback())

    def arrivals(self, kinds: Sequence[str], *, after: int) -> Iterator[Arrival]:
        """Yield when feedback of some kinds came, and about which prompts, at flat memory.

        Parameters
        ----------
        kinds : sequence of str
            Which kinds.
        after : int
            Only what has a higher sequence number than this.
        """
        return read_arrivals(self.engine, self._project, known_kinds(kinds) or (), after)

    def delete(self, id: str) -> None:  # noqa: A002
        """Hide an interaction with its feedback, or one piece of feedback; ``restore`` undoes it.

        Raises
        ------
        NotFound
            If there is no record of this id, or it is hidden already.
        """
        with writing(self.engine) as connection:
            if not hide(connection, self._project, id):
                raise NotFound(
                    f"There is no record {id!r} to delete in project {self.project!r}",
                    "Check the id; it may have been deleted already",
                )

    def restore(self, id: str) -> None:  # noqa: A002
        """Show again what ``delete`` hid; raise ``NotFound`` where it hid nothing."""
        with writing(self.engine) as connection:
            if not show(connection, self._project, id):
                raise NotFound(
                    f"There is no deleted record {id!r} in project {self.project!r}",
                    "Check the id; what was purged is gone for good",
                )

    def purge(self, user: str) -> Purged:
        """Remove for good what a user asked, what was said about it, and what the user said."""
        return purge(self.engine, self._project, user)

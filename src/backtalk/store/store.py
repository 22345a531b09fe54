"""Store of a project: interactions, feedback, documents, events and coordination."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, exists, func, select

from backtalk.artifacts import Artifacts
from backtalk.closable import Closable
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import AnyFeedback, Interaction, content_id
from backtalk.feedback.case import Case
from backtalk.store import schema
from backtalk.store.aggregates import Aggregates
from backtalk.store.api_keys import ApiKeys
from backtalk.store.audit_log import AuditLog
from backtalk.store.bulk_writer import BulkWriter, make_chunks
from backtalk.store.columns import Columns
from backtalk.store.counts import (
    PromptFeedbackCount,
    count_by_day,
    count_by_prompt,
    count_records,
    model_annotators,
)
from backtalk.store.documents import DocumentStore
from backtalk.store.engine import (
    artifacts_folder,
    connect,
    database_url,
    in_memory,
    writing,
)
from backtalk.store.event_log import EventLog
from backtalk.store.inserts import (
    AddResult,
    InsertBatch,
    check_same_content,
    get_project_id,
    soft_delete,
    undelete,
)
from backtalk.store.jobs import JobQueue, projects_with_due_jobs
from backtalk.store.leases import Leases
from backtalk.store.memories import Memories
from backtalk.store.migrations import upgrade
from backtalk.store.purge import PurgeResult, purge
from backtalk.store.queries import (
    Arrival,
    Cursor,
    check_kinds,
    read_arrivals,
    read_case,
    read_cases,
    read_feedback,
    read_interaction,
)


class Store(Closable):
    """A project's interactions and feedback in a database.

    Parameters
    ----------
    location : str | Path
        Path of a SQLite file, or a URL: ``sqlite:///FILE``, ``postgresql://USER@HOST/NAME``.
        Opening a store creates its tables, or migrates them to the current schema.
    project : str, default "default"
        Name of the project. Projects do not see each other's records, policies and evaluations.

    Attributes
    ----------
    url : URL
        URL of the database.
    engine : Engine
        SQLAlchemy engine of the database.
    project : str
        Name of the project.
    project_id : int
        Id of the project in the database.

    Examples
    --------
    >>> from backtalk.feedback import Annotator, Interaction, Label
    >>> interaction = Interaction.of("Are you open?", "Yes.")
    >>> ada = Annotator.human("ada")
    >>> label = Label(interaction=interaction.id, annotator=ada, response="0", good=True)
    >>> with Store(":memory:") as store:
    ...     added = store.add(interaction, label)
    ...     [case.feedback[0].good for case in store.cases()]
    [True]
    """

    def __init__(self, location: str | Path, *, project: str = "default") -> None:
        self.url = database_url(location)
        self._temporary = TemporaryDirectory(prefix="backtalk-") if in_memory(self.url) else None
        engine = connect(self.url)
        upgrade(engine)
        self._open(engine, project)

    def _open(self, engine: Engine, project: str) -> None:
        if not project:
            raise BacktalkError(
                "The name of the project is empty", "Leave it out for the project 'default'"
            )
        self.engine = engine
        self.project = project
        self.project_id = get_project_id(engine, project)

    def in_project(self, name: str) -> Store:
        """Return a store of another project in the same database."""
        store = object.__new__(Store)
        store.url = self.url
        store._temporary = self._temporary
        store._open(self.engine, name)
        return store

    def projects(self, *, topic: str | None = None) -> list[str]:
        """Return the names of all projects in the database, sorted.

        Parameters
        ----------
        topic : str, optional
            Only projects with events of this topic. Default: all projects.
        """
        projects, events = schema.projects, schema.events
        query = select(projects.c.name).order_by(projects.c.name)
        if topic is not None:
            query = query.where(
                exists().where(events.c.project == projects.c.id, events.c.topic == topic)
            )
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def projects_with_due_jobs(self, kind: str) -> list[str]:
        """Return the names of the projects in which a job of a kind waits to be run, sorted."""
        return projects_with_due_jobs(self.engine, kind)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @cached_property
    def documents(self) -> DocumentStore:
        """Policies, evaluations and other JSON documents."""
        return DocumentStore(self.engine, self.project_id)

    @cached_property
    def events(self) -> EventLog:
        """Event log: promotions, experiments, annotation tasks."""
        return EventLog(self.engine, self.project_id)

    @cached_property
    def memories(self) -> Memories:
        """Rows of memories; :class:`backtalk.memory.Memory` is their interface."""
        return Memories(self.engine, self.project_id)

    @cached_property
    def leases(self) -> Leases:
        """Leases on work that one process at a time does."""
        return Leases(self.engine, self.project_id)

    @cached_property
    def jobs(self) -> JobQueue:
        """Queue of background work."""
        return JobQueue(self.engine, self.project_id)

    @cached_property
    def columns(self) -> Columns:
        """Feedback as columns, for statistics."""
        return Columns(self.engine, self.project_id)

    @cached_property
    def aggregates(self) -> Aggregates:
        """Sums that are extended as records arrive."""
        return Aggregates(self.engine, self.project_id)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """API keys of all projects in the database."""
        return ApiKeys(self.engine)

    @cached_property
    def audit_log(self) -> AuditLog:
        """Audit log of all projects in the database."""
        return AuditLog(self.engine)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Files of weights and recordings.

        They are in the folder ``BACKTALK_ARTIFACTS``, or beside a SQLite file. Those of a store in
        memory are in a temporary folder, which is removed with the store.
        """
        temporary = None if self._temporary is None else Path(self._temporary.name)
        return Artifacts(artifacts_folder(self.url, in_memory=temporary))

    def add(self, *records: Interaction | AnyFeedback, key: str | None = None) -> AddResult:
        """Add records in one durable transaction.

        Parameters
        ----------
        *records : Interaction or AnyFeedback
            Interactions, and feedback about them or about interactions in the store.
        key : str, optional
            Idempotency key of a single record. Adding it again under the same key has no effect.

        Raises
        ------
        NotFound
            If feedback refers to an interaction that is not in the store.
        RecordError
            If feedback does not fit its interaction.
        Conflict
            If another record has the same id or key.
        """
        if key is not None:
            if len(records) != 1:
                raise BacktalkError(
                    f"There is one idempotency key for {len(records)} records",
                    "Add each record with a key of its own",
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
                        connection, self.project_id, item.interaction
                    )
                item.check(known[item.interaction])
            batch = InsertBatch(self.project_id)
            batch.add(interactions, items)
            added = batch.insert(connection)
            if added.known:
                check_same_content(connection, self.project_id, schema.interactions, interactions)
                check_same_content(connection, self.project_id, schema.feedback, items)
        return added

    def add_cases(self, cases: Iterable[Case], *, batch: int = 50_000) -> AddResult:
        """Add many interactions with their feedback, one transaction per batch.

        Records with existing ids are left unchanged and counted as known.

        Parameters
        ----------
        cases : Iterable[Case]
            Interactions with their feedback.
        batch : int, default 50_000
            Number of interactions per transaction.

        Raises
        ------
        RecordError
            If feedback does not fit its interaction. Earlier batches remain.
        """
        stream = iter(cases)
        with self.bulk_writer() as writer:
            while chunks := list(make_chunks(islice(stream, batch), self.project_id)):
                for chunk in chunks:
                    writer.write(chunk)
                writer.commit()
            return writer.added

    def bulk_writer(self) -> BulkWriter:
        """Return a writer of chunks of records, for imports."""
        return BulkWriter(self.engine, self.project_id)

    def interaction(self, id: str) -> Interaction:  # noqa: A002
        """Return an interaction; raise ``NotFound`` if there is none, or it was deleted."""
        with self.engine.connect() as connection:
            return read_interaction(connection, self.project_id, id)

    def case(self, id: str) -> Case:  # noqa: A002
        """Return an interaction with its feedback; raise ``NotFound`` if there is none."""
        with self.engine.connect() as connection:
            return read_case(connection, self.project_id, id)

    def cases(
        self, *, kinds: Sequence[str] | None = None, until: Cursor | None = None
    ) -> Iterator[Case]:
        """Yield all interactions with their feedback, in the order in which they were added.

        Memory is constant, and no transaction is held open.

        Parameters
        ----------
        kinds : sequence of str, optional
            Kinds of feedback. Interactions without such feedback are skipped, and other feedback
            is left out. Default: all interactions with all feedback.
        until : Cursor, optional
            Position returned by :meth:`cursor`, at which to stop. Default: the end.
        """
        return read_cases(self.engine, self.project_id, check_kinds(kinds), until)

    def feedback(
        self, *, kinds: Sequence[str] | None = None, system_wide: bool = False
    ) -> Iterator[AnyFeedback]:
        """Yield feedback in the order in which it was added, with constant memory.

        Parameters
        ----------
        kinds : sequence of str, optional
            Kinds of feedback. Default: all.
        system_wide : bool, default False
            If true, only feedback that is not about an interaction: standing instructions, and
            critiques of the system.
        """
        return read_feedback(
            self.engine, self.project_id, check_kinds(kinds), system_wide=system_wide
        )

    def counts(self) -> dict[str, int]:
        """Return the number of interactions, and of feedback records of each kind."""
        return count_records(self.engine, self.project_id)

    def counts_by_prompt(self) -> Iterator[PromptFeedbackCount]:
        """Yield the number of feedback records of each kind on each aspect and prompt."""
        return count_by_prompt(self.engine, self.project_id)

    def model_annotators(self) -> list[str]:
        """Return the ids of the models that gave feedback in the project, sorted."""
        return model_annotators(self.engine, self.project_id)

    def counts_by_day(self, *, limit: int) -> dict[str, dict[int, int]]:
        """Return the number of records of each kind on each day.

        Parameters
        ----------
        limit : int
            Number of latest interactions, and of latest feedback records, that are counted.

        Returns
        -------
        dict
            Counts by kind, and by day as days since 1970. Interactions have the kind
            ``"interaction"`` and come first.
        """
        return count_by_day(self.engine, self.project_id, limit=limit)

    def last_feedback(self) -> int:
        """Return the sequence number of the latest feedback, 0 if there is none."""
        items = schema.feedback
        query = select(func.max(items.c.seq)).where(items.c.project == self.project_id)
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def cursor(self) -> Cursor:
        """Return the current end of the project's log."""
        table = schema.interactions
        query = select(func.max(table.c.seq)).where(table.c.project == self.project_id)
        with self.engine.connect() as connection:
            last = int(connection.execute(query).scalar() or 0)
        return Cursor(interactions=last, feedback=self.last_feedback())

    def arrivals(self, kinds: Sequence[str], *, after: int) -> Iterator[Arrival]:
        """Yield the arrivals of feedback about interactions, with constant memory.

        Parameters
        ----------
        kinds : sequence of str
            Kinds of feedback.
        after : int
            Sequence number after which to begin.
        """
        return read_arrivals(self.engine, self.project_id, check_kinds(kinds) or (), after)

    def delete(self, id: str) -> None:  # noqa: A002
        """Mark an interaction and its feedback, or one feedback record, as deleted.

        :meth:`restore` reverses it.

        Raises
        ------
        NotFound
            If there is no record with this id, or it is deleted already.
        """
        with writing(self.engine) as connection:
            if not soft_delete(connection, self.project_id, id):
                raise NotFound(
                    f"There is no record {id!r} in project {self.project!r}",
                    "Check the id; the record may be deleted already",
                )

    def restore(self, id: str) -> None:  # noqa: A002
        """Restore a deleted record; raise ``NotFound`` if no deleted record has this id."""
        with writing(self.engine) as connection:
            if not undelete(connection, self.project_id, id):
                raise NotFound(
                    f"There is no deleted record {id!r} in project {self.project!r}",
                    "Check the id; purged records cannot be restored",
                )

    def purge(self, user: str) -> PurgeResult:
        """Remove a user's interactions, the feedback on them, and all they said elsewhere.

        That is their feedback on other interactions, and their entries in memories.
        """
        return purge(self.engine, self.project_id, user)

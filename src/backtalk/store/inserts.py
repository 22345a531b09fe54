"""Inserts, soft deletion and other writes of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, select, update

from backtalk.errors import Conflict
from backtalk.feedback import AnyFeedback, Interaction
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.contents import LargeParts, whole_body
from backtalk.store.engine import writing
from backtalk.store.row_codec import (
    FEEDBACK_COLUMNS,
    INTERACTION_COLUMNS,
    feedback_row,
    interaction_row,
    microseconds,
)
from backtalk.store.row_inserts import insert_rows


@dataclass(frozen=True)
class AddResult:
    """Counts of the records that were added."""

    interactions: int = 0
    """Number of new interactions."""
    feedback: int = 0
    """Number of new feedback records."""
    known: int = 0
    """Number of records that were in the store already, and were left unchanged."""
    repeated: int = 0
    """Number of feedback records, among the known ones, that repeat one that the same call added.
    Only :meth:`Store.add_cases` and imports count them."""

    def __add__(self, other: AddResult) -> AddResult:
        return AddResult(
            self.interactions + other.interactions,
            self.feedback + other.feedback,
            self.known + other.known,
            self.repeated + other.repeated,
        )


class InsertBatch:
    """Records of one project that are inserted together.

    Records are converted to rows as they are added. Rows hold only strings and numbers, which the
    garbage collector does not track; large batches of records would slow it down.
    """

    def __init__(self, project_id: int) -> None:
        self._project_id = project_id
        self._received = microseconds(now())
        self._interactions: list[tuple[Any, ...]] = []
        self._feedback: list[tuple[Any, ...]] = []
        self._parts = LargeParts(project_id)

    def add(self, interactions: Iterable[Interaction], feedback: Iterable[AnyFeedback]) -> None:
        """Add records to the batch."""
        self._interactions += [
            interaction_row(self._project_id, interaction, self._received, self._parts)
            for interaction in interactions
        ]
        self._feedback += [
            feedback_row(self._project_id, item, self._received) for item in feedback
        ]

    def insert(self, connection: Connection) -> AddResult:
        """Insert the records with new ids. Records with existing ids are left unchanged."""
        self._parts.insert(connection)
        interactions = insert_rows(
            connection, schema.interactions, INTERACTION_COLUMNS, self._interactions
        )
        feedback = insert_rows(connection, schema.feedback, FEEDBACK_COLUMNS, self._feedback)
        total = len(self._interactions) + len(self._feedback)
        return AddResult(interactions, feedback, total - interactions - feedback)


def check_same_content(
    connection: Connection,
    project_id: int,
    table: Table,
    records: Sequence[Interaction | AnyFeedback],
) -> None:
    """Raise ``Conflict`` if a record is stored under the same id with other content.

    Times may differ: a request that is sent again has a new time.

    Parameters
    ----------
    connection : Connection
        Connection to the store.
    project_id : int
        Id of the project.
    table : Table
        Table of the records.
    records : sequence of Interaction or AnyFeedback
        Records whose ids are in the table.

    Raises
    ------
    Conflict
        If the content differs.
    """
    for record in records:
        body = connection.execute(
            select(table.c.body).where(table.c.project == project_id, table.c.id == record.id)
        ).scalar_one()
        stored = type(record).model_validate_json(whole_body(connection, project_id, body))
        if stored.model_copy(update={"time": record.time}) != record:
            raise Conflict(
                f"The id {record.id!r} is taken by another record",
                "Give the record an id or idempotency key of its own",
            )


def get_project_id(engine: Engine, name: str) -> int:
    """Return the id of a project, and create the project if it is new."""
    projects = schema.projects
    query = select(projects.c.id).where(projects.c.name == name)
    with engine.connect() as connection:
        project_id = connection.execute(query).scalar()
    if project_id is None:
        with writing(engine) as connection:
            insert_rows(connection, projects, ["name"], [(name,)])
            project_id = connection.execute(query).scalar_one()
    return int(project_id)


def soft_delete(connection: Connection, project_id: int, id_: str) -> bool:
    """Mark a record as deleted, and with an interaction its feedback.

    Records that are deleted together get the same timestamp, so that they can be restored
    together.

    Parameters
    ----------
    connection : Connection
        Connection with an open write transaction.
    project_id : int
        Id of the project.
    id_ : str
        Id of an interaction or of feedback.

    Returns
    -------
    bool
        False if there is no such record, or it is deleted already.
    """
    deleted = microseconds(now())
    count = 0
    for table in (schema.interactions, schema.feedback):
        count += connection.execute(
            update(table)
            .where(table.c.project == project_id, table.c.id == id_, table.c.deleted.is_(None))
            .values(deleted=deleted)
        ).rowcount
    items = schema.feedback
    if count:
        connection.execute(
            update(items)
            .where(
                items.c.project == project_id,
                items.c.interaction == id_,
                items.c.deleted.is_(None),
            )
            .values(deleted=deleted)
        )
    return count > 0


def undelete(connection: Connection, project_id: int, id_: str) -> bool:
    """Reverse :func:`soft_delete`.

    Parameters
    ----------
    connection : Connection
        Connection with an open write transaction.
    project_id : int
        Id of the project.
    id_ : str
        Id of an interaction or of feedback.

    Returns
    -------
    bool
        False if no deleted record has the id.
    """
    items = schema.feedback
    is_restored = False
    for table in (schema.interactions, items):
        where = (table.c.project == project_id, table.c.id == id_)
        deleted = connection.execute(select(table.c.deleted).where(*where)).scalar()
        if deleted is None:
            continue
        is_restored = True
        connection.execute(update(table).where(*where).values(deleted=None))
        connection.execute(
            update(items)
            .where(
                items.c.project == project_id,
                items.c.interaction == id_,
                items.c.deleted == deleted,
            )
            .values(deleted=None)
        )
    return is_restored

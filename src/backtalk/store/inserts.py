"""Putting records into the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, select, update

from backtalk.errors import Conflict
from backtalk.feedback import AnyFeedback, Interaction
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import (
    FEEDBACK_COLUMNS,
    INTERACTION_COLUMNS,
    feedback_row,
    interaction_row,
    microseconds,
)


@dataclass(frozen=True)
class Added:
    """What became of records that were added."""

    interactions: int = 0
    """How many interactions are new."""
    feedback: int = 0
    """How many pieces of feedback are new."""
    known: int = 0
    """How many records were there already and were left as they are."""

    def __add__(self, other: Added) -> Added:
        return Added(
            self.interactions + other.interactions,
            self.feedback + other.feedback,
            self.known + other.known,
        )


class Batch:
    """Records on their way into the tables.

    They are turned into rows one by one: a row holds nothing but texts and numbers, which the
    garbage collector need not look at, while so many records would keep it busy.
    """

    def __init__(self, project: int) -> None:
        self._project = project
        self._received = microseconds(now()) or 0
        self._interactions: list[tuple[Any, ...]] = []
        self._items: list[tuple[Any, ...]] = []

    def add(self, interactions: Iterable[Interaction], items: Iterable[AnyFeedback]) -> None:
        """Take records."""
        self._interactions += [
            interaction_row(self._project, interaction, self._received)
            for interaction in interactions
        ]
        self._items += [feedback_row(self._project, item, self._received) for item in items]

    def insert(self, connection: Connection) -> Added:
        """Insert the records whose ids are not there yet; leave the others as they are."""
        interactions = insert_rows(
            connection, schema.interactions, INTERACTION_COLUMNS, self._interactions
        )
        items = insert_rows(connection, schema.feedback, FEEDBACK_COLUMNS, self._items)
        return Added(
            interactions, items, len(self._interactions) + len(self._items) - interactions - items
        )


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> int:
    """Insert through the driver itself: a million rows are not made into dictionaries first."""
    if not rows:
        return 0
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join([mark] * len(columns))
    result = connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608
        rows,
    )
    return result.rowcount


def refuse_other_content(
    connection: Connection, project: int, table: Table, records: Sequence[Interaction | AnyFeedback]
) -> None:
    """Raise ``Conflict`` where an id is kept with other content.

    The time may differ: a request that is sent again was made again.
    """
    for record in records:
        body = connection.execute(
            select(table.c.body).where(table.c.project == project, table.c.id == record.id)
        ).scalar_one()
        kept = type(record).model_validate_json(body)
        if kept.model_copy(update={"time": record.time}) != record:
            raise Conflict(
                f"The id {record.id!r} is taken by another record",
                "Give the record an id or idempotency key of its own",
            )


def project_number(engine: Engine, name: str) -> int:
    """Return the number of a project, which is made if it is new."""
    projects = schema.projects
    find = select(projects.c.id).where(projects.c.name == name)
    with engine.connect() as connection:
        result = connection.execute(find).scalar()
    if result is None:
        with writing(engine) as connection:
            insert_rows(connection, projects, ["name"], [(name,)])
            result = connection.execute(find).scalar_one()
    return int(result)


def hide(connection: Connection, project: int, id_: str) -> bool:
    """Mark a record as deleted, and with an interaction its feedback; return whether it was there.

    What is hidden together has the same mark, so that it is shown together again.
    """
    stamp = microseconds(now())
    result = 0
    for table in (schema.interactions, schema.feedback):
        result += connection.execute(
            update(table)
            .where(table.c.project == project, table.c.id == id_, table.c.deleted.is_(None))
            .values(deleted=stamp)
        ).rowcount
    items = schema.feedback
    if result:
        connection.execute(
            update(items)
            .where(
                items.c.project == project,
                items.c.interaction == id_,
                items.c.deleted.is_(None),
            )
            .values(deleted=stamp)
        )
    return result > 0


def show(connection: Connection, project: int, id_: str) -> bool:
    """Undo ``hide``; return whether there was anything to undo."""
    items = schema.feedback
    result = False
    for table in (schema.interactions, items):
        where = (table.c.project == project, table.c.id == id_)
        stamp = connection.execute(select(table.c.deleted).where(*where)).scalar()
        if stamp is None:
            continue
        result = True
        connection.execute(update(table).where(*where).values(deleted=None))
        connection.execute(
            update(items)
            .where(
                items.c.project == project,
                items.c.interaction == id_,
                items.c.deleted == stamp,
            )
            .values(deleted=None)
        )
    return result

"""Queries for records, in order of arrival and with constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Table, select

from backtalk.errors import NotFound, UnknownName
from backtalk.feedback import KINDS, AnyFeedback, Interaction, parse_feedback
from backtalk.feedback.case import Case
from backtalk.store import schema
from backtalk.store.contents import stored_interaction
from backtalk.store.row_codec import timestamp

BATCH = 1_000
"""Rows per query. No transaction is held open between batches."""


@dataclass(frozen=True)
class Cursor:
    """Position in a project's log: the last sequence numbers at a time."""

    interactions: int
    feedback: int


@dataclass(frozen=True)
class Arrival:
    """Arrival of a feedback record."""

    seq: int
    received: datetime
    prompt_key: str
    """Key of the prompt of the interaction."""


def read_batches(
    engine: Engine,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    *where: ColumnElement[bool],
    size: int = BATCH,
) -> Iterator[Sequence[Row[Any]]]:
    """Yield batches of rows that are not deleted, by ascending ``seq``.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    table : Table
        Table with the columns ``seq`` and ``deleted``.
    columns : sequence of ColumnElement
        Columns to select after ``seq``.
    *where : ColumnElement
        Conditions.
    size : int, default BATCH
        Maximum number of rows of a batch.

    Yields
    ------
    sequence of Row
        Rows of ``(seq, *columns)``.
    """
    last = 0
    query = (
        select(table.c.seq, *columns)
        .where(*where, table.c.deleted.is_(None))
        .order_by(table.c.seq)
        .limit(size)
    )
    while True:
        with engine.connect() as connection:
            rows = connection.execute(query.where(table.c.seq > last)).all()
        if not rows:
            return
        yield rows
        last = rows[-1].seq


def read_interaction(connection: Connection, project_id: int, id_: str) -> Interaction:
    """Return an interaction.

    Parameters
    ----------
    connection : Connection
        Connection to the store.
    project_id : int
        Id of the project.
    id_ : str
        Id of the interaction.

    Raises
    ------
    NotFound
        If there is none, or it was deleted.
    """
    table = schema.interactions
    body = connection.execute(
        select(table.c.body).where(
            table.c.project == project_id, table.c.id == id_, table.c.deleted.is_(None)
        )
    ).scalar()
    if body is None:
        raise NotFound(
            f"There is no interaction {id_!r} in this project",
            "Check the id and the project; add an interaction before its feedback",
        )
    return stored_interaction(connection, project_id, body)


def read_case(connection: Connection, project_id: int, id_: str) -> Case:
    """Return an interaction with all its feedback.

    Parameters
    ----------
    connection : Connection
        Connection to the store.
    project_id : int
        Id of the project.
    id_ : str
        Id of the interaction.

    Raises
    ------
    NotFound
        If there is none, or it was deleted.
    """
    table = schema.feedback
    interaction = read_interaction(connection, project_id, id_)
    bodies = connection.execute(
        select(table.c.body)
        .where(table.c.project == project_id, table.c.interaction == id_, table.c.deleted.is_(None))
        .order_by(table.c.seq)
    ).scalars()
    return Case(interaction, tuple(parse_feedback(body) for body in bodies))


def read_cases(
    engine: Engine, project_id: int, kinds: Sequence[str] | None, until: Cursor | None = None
) -> Iterator[Case]:
    """Yield interactions with their feedback.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    kinds : sequence of str or None
        Kinds of feedback. Interactions without such feedback are skipped, and other feedback is
        left out. ``None``: all interactions with all feedback.
    until : Cursor, optional
        Position at which to stop. Default: the end.
    """
    interactions, items = schema.interactions, schema.feedback
    # Sorted below: the database would scan all feedback by seq to avoid a sort.
    about = select(items.c.seq, items.c.interaction, items.c.body).where(
        items.c.project == project_id, items.c.deleted.is_(None)
    )
    if kinds is not None:
        about = about.where(items.c.kind.in_(kinds))
    where = [interactions.c.project == project_id]
    if until is not None:
        about = about.where(items.c.seq <= until.feedback)
        where.append(interactions.c.seq <= until.interactions)
    columns = [interactions.c.id, interactions.c.body]
    for batch in read_batches(engine, interactions, columns, *where):
        feedback: dict[str, list[AnyFeedback]] = {}
        with engine.connect() as connection:
            rows = connection.execute(
                about.where(items.c.interaction.in_([row.id for row in batch]))
            )
            for _, about_id, body in sorted(rows, key=lambda row: row.seq):
                feedback.setdefault(about_id, []).append(parse_feedback(body))
        for row in batch:
            if kinds is None or row.id in feedback:
                interaction = stored_interaction(engine, project_id, row.body)
                yield Case(interaction, tuple(feedback.get(row.id, ())))


def read_feedback(
    engine: Engine, project_id: int, kinds: Sequence[str] | None, *, system_wide: bool
) -> Iterator[AnyFeedback]:
    """Yield feedback.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    kinds : sequence of str or None
        Kinds of feedback; ``None`` for all.
    system_wide : bool
        If true, only feedback that is not about an interaction.
    """
    table = schema.feedback
    where = [table.c.project == project_id]
    if kinds is not None:
        where.append(table.c.kind.in_(kinds))
    if system_wide:
        where.append(table.c.interaction.is_(None))
    for batch in read_batches(engine, table, [table.c.body], *where):
        for row in batch:
            yield parse_feedback(row.body)


def read_feedback_by_id(engine: Engine, project_id: int, ids: Sequence[str]) -> list[AnyFeedback]:
    """Return those feedback records of some ids that exist, in the order in which they arrived.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    ids : sequence of str
        Ids of feedback, up to 500.
    """
    table = schema.feedback
    query = (
        select(table.c.body)
        .where(table.c.project == project_id, table.c.id.in_(ids), table.c.deleted.is_(None))
        .order_by(table.c.seq)
    )
    with engine.connect() as connection:
        return [parse_feedback(body) for body in connection.execute(query).scalars()]


def read_arrivals(
    engine: Engine, project_id: int, kinds: Sequence[str], after: int
) -> Iterator[Arrival]:
    """Yield the arrivals of feedback about interactions, in order.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    kinds : sequence of str
        Kinds of feedback.
    after : int
        Sequence number after which to begin.
    """
    interactions, items = schema.interactions, schema.feedback
    query = (
        select(items.c.seq, items.c.received, interactions.c.prompt_key)
        .join(
            interactions,
            (interactions.c.project == items.c.project)
            & (interactions.c.id == items.c.interaction),
        )
        .where(items.c.project == project_id, items.c.kind.in_(kinds), items.c.deleted.is_(None))
        .order_by(items.c.seq)
        .limit(BATCH)
    )
    while True:
        with engine.connect() as connection:
            rows = connection.execute(query.where(items.c.seq > after)).all()
        if not rows:
            return
        for row in rows:
            yield Arrival(row.seq, timestamp(row.received), row.prompt_key)
        after = rows[-1].seq


def check_kinds(kinds: Sequence[str] | None) -> list[str] | None:
    """Return kinds of feedback as a list; raise ``UnknownName`` for an unknown kind."""
    if kinds is None:
        return None
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName.among("kind of feedback", kind, list(KINDS))
    return list(kinds)

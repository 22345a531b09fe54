"""Getting records out of the tables, in the order in which they came, at flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Table, select

from backtalk.errors import NotFound, UnknownName
from backtalk.feedback import KINDS, AnyFeedback, Interaction, parse_feedback, parse_interaction
from backtalk.feedback.views import Case
from backtalk.store import schema
from backtalk.store.row_codec import timestamp

BATCH = 1_000
"""How many rows are read at a time. No transaction is held open between two batches."""


@dataclass(frozen=True)
class Cursor:
    """How far a project was filled at some moment: the last sequence numbers of its records."""

    interactions: int
    feedback: int


@dataclass(frozen=True)
class Arrival:
    """A piece of feedback, as far as it matters that it came."""

    seq: int
    received: datetime
    prompt_key: str
    """Of the prompt that it is about."""


def batches(
    engine: Engine,
    table: Table,
    columns: Sequence[ColumnElement[Any]],
    *where: ColumnElement[bool],
    size: int = BATCH,
) -> Iterator[Sequence[Row[Any]]]:
    """Yield rows of ``(seq, *columns)`` that are not deleted, by ascending ``seq``."""
    last = 0
    query = (
        select(table.c.seq, *columns)
        .where(*where, table.c.deleted.is_(None))
        .order_by(table.c.seq)
        .limit(size)
    )
    while True:
        with engine.connect() as connection:
            result = connection.execute(query.where(table.c.seq > last)).all()
        if not result:
            return
        yield result
        last = result[-1].seq


def read_interaction(connection: Connection, project: int, id_: str) -> Interaction:
    """Return an interaction, or raise ``NotFound``."""
    table = schema.interactions
    body = connection.execute(
        select(table.c.body).where(
            table.c.project == project, table.c.id == id_, table.c.deleted.is_(None)
        )
    ).scalar()
    if body is None:
        raise NotFound(
            f"There is no interaction {id_!r} in this project",
            "Check the id and the project; add an interaction before the feedback about it",
        )
    return parse_interaction(body)


def read_case(connection: Connection, project: int, id_: str) -> Case:
    """Return an interaction with all its feedback, or raise ``NotFound``."""
    table = schema.feedback
    interaction = read_interaction(connection, project, id_)
    bodies = connection.execute(
        select(table.c.body)
        .where(table.c.project == project, table.c.interaction == id_, table.c.deleted.is_(None))
        .order_by(table.c.seq)
    ).scalars()
    return Case(interaction, tuple(parse_feedback(body) for body in bodies))


def read_cases(
    engine: Engine, project: int, kinds: Sequence[str] | None, until: Cursor | None = None
) -> Iterator[Case]:
    """Yield interactions with their feedback; with ``kinds``, only those that have some."""
    interactions, items = schema.interactions, schema.feedback
    # Sorted below and not by the database, which would walk all feedback in order to save a sort.
    about = select(items.c.seq, items.c.interaction, items.c.body).where(
        items.c.project == project, items.c.deleted.is_(None)
    )
    if kinds is not None:
        about = about.where(items.c.kind.in_(kinds))
    where = [interactions.c.project == project]
    if until is not None:
        about = about.where(items.c.seq <= until.feedback)
        where.append(interactions.c.seq <= until.interactions)
    for batch in batches(engine, interactions, [interactions.c.id, interactions.c.body], *where):
        said: dict[str, list[AnyFeedback]] = {}
        with engine.connect() as connection:
            result = connection.execute(
                about.where(items.c.interaction.in_([row.id for row in batch]))
            )
            for _, interaction, body in sorted(result, key=lambda row: row.seq):
                said.setdefault(interaction, []).append(parse_feedback(body))
        for row in batch:
            if kinds is None or row.id in said:
                yield Case(parse_interaction(row.body), tuple(said.get(row.id, ())))


def read_feedback(
    engine: Engine, project: int, kinds: Sequence[str] | None, *, system_wide: bool
) -> Iterator[AnyFeedback]:
    """Yield feedback, all or only what is about no interaction."""
    table = schema.feedback
    where = [table.c.project == project]
    if kinds is not None:
        where.append(table.c.kind.in_(kinds))
    if system_wide:
        where.append(table.c.interaction.is_(None))
    for batch in batches(engine, table, [table.c.body], *where):
        for row in batch:
            yield parse_feedback(row.body)


def read_arrivals(
    engine: Engine, project: int, kinds: Sequence[str], after: int
) -> Iterator[Arrival]:
    """Yield feedback about interactions that came after a sequence number, in its order."""
    interactions, items = schema.interactions, schema.feedback
    query = (
        select(items.c.seq, items.c.received, interactions.c.prompt_key)
        .join(
            interactions,
            (interactions.c.project == items.c.project)
            & (interactions.c.id == items.c.interaction),
        )
        .where(items.c.project == project, items.c.kind.in_(kinds), items.c.deleted.is_(None))
        .order_by(items.c.seq)
        .limit(BATCH)
    )
    while True:
        with engine.connect() as connection:
            results = connection.execute(query.where(items.c.seq > after)).all()
        if not results:
            return
        for row in results:
            yield Arrival(row.seq, timestamp(row.received), row.prompt_key)
        after = results[-1].seq


def known_kinds(kinds: Sequence[str] | None) -> list[str] | None:
    """Return the kinds asked for, or raise ``UnknownName`` for one that is none."""
    if kinds is None:
        return None
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName.among("kind of feedback", kind, list(KINDS))
    return list(kinds)

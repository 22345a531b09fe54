"""Queries for the latest judgements of human annotators, and the time they took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from backtalk.store import schema
from backtalk.store.store import Store

LATEST = 100_000
"""Default number of judgements read, which bounds the time of a query."""


_MAX_IDS = 500
"""Maximum number of ids in a query."""


class Judgement(NamedTuple):
    """Feedback by a human annotator, as columns; see :data:`backtalk.store.columns.NAMES`."""

    annotator: str
    kind: str
    interaction: str | None
    aspect: str | None
    response: str | None
    other: str | None
    value: float | None
    received: int
    """Microseconds since 1970, UTC."""


def latest_judgements(store: Store, *, limit: int = LATEST) -> list[Judgement]:
    """Return the latest feedback by human annotators, newest first."""
    table = schema.feedback
    query = (
        select(*(table.c[name] for name in Judgement._fields))
        .where(
            table.c.project == store.project_id,
            table.c.deleted.is_(None),
            table.c.annotator_kind == "human",
        )
        .order_by(table.c.seq.desc())
        .limit(limit)
    )
    with store.engine.connect() as connection:
        return [Judgement(*row) for row in connection.execute(query)]


def judgements_of(store: Store, interactions: Sequence[str], kind: str) -> list[Judgement]:
    """Return the feedback by human annotators on some interactions, oldest first.

    Parameters
    ----------
    store : Store
        Store of the project.
    interactions : sequence of str
        Ids of the interactions.
    kind : str
        Kind of feedback, such as ``"preference"``.
    """
    table = schema.feedback
    query = select(*(table.c[name] for name in Judgement._fields)).where(
        table.c.project == store.project_id,
        table.c.deleted.is_(None),
        table.c.annotator_kind == "human",
        table.c.kind == kind,
    )
    rows: list[Judgement] = []
    with store.engine.connect() as connection:
        for start in range(0, len(interactions), _MAX_IDS):
            ids = interactions[start : start + _MAX_IDS]
            some = query.where(table.c.interaction.in_(ids)).order_by(table.c.seq)
            rows += [Judgement(*row) for row in connection.execute(some)]
    return rows


def judgement_seconds(store: Store, *, limit: int = LATEST) -> dict[str, list[float]]:
    """Return the seconds that each annotator took for their latest items of annotation tasks.

    The time runs from the assignment of an item to its answer.
    """
    table = schema.assignments
    query = (
        select(table.c.annotator, table.c.opened, table.c.ended)
        .where(table.c.project == store.project_id, table.c.state == "done")
        .order_by(table.c.seq.desc())
        .limit(limit)
    )
    seconds: dict[str, list[float]] = {}
    with store.engine.connect() as connection:
        for row in connection.execute(query):
            seconds.setdefault(row.annotator, []).append((row.ended - row.opened) / 1e6)
    return seconds

"""Counts of records by kind and day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Table, func, select

from backtalk.store import schema

_DAY = 86_400_000_000
"""Microseconds."""


def count_records(engine: Engine, project_id: int) -> dict[str, int]:
    """Return the number of interactions, and of feedback records of each kind."""
    interactions, items = schema.interactions, schema.feedback
    with engine.connect() as connection:
        total = connection.execute(
            select(func.count()).where(
                interactions.c.project == project_id, interactions.c.deleted.is_(None)
            )
        ).scalar()
        rows = connection.execute(
            select(items.c.kind, func.count().label("total"))
            .where(items.c.project == project_id, items.c.deleted.is_(None))
            .group_by(items.c.kind)
            .order_by(items.c.kind)
        ).all()
    return {"interaction": int(total or 0)} | {row.kind: int(row.total) for row in rows}


class PromptFeedbackCount(NamedTuple):
    """Number of feedback records of one kind, on one aspect and on one prompt."""

    prompt: str
    """Key of the prompt; see :func:`~backtalk.feedback.case.prompt_key`."""
    kind: str
    aspect: str | None
    """Aspect, ``None`` for kinds without one."""
    total: int


def count_by_prompt(engine: Engine, project_id: int) -> Iterator[PromptFeedbackCount]:
    """Yield the number of feedback records of each kind on each aspect and prompt."""
    interactions, items = schema.interactions, schema.feedback
    groups = (interactions.c.prompt_key, items.c.kind, items.c.aspect)
    query = (
        select(*groups, func.count())
        .join_from(
            items,
            interactions,
            (interactions.c.project == items.c.project)
            & (interactions.c.id == items.c.interaction),
        )
        .where(
            items.c.project == project_id,
            items.c.deleted.is_(None),
            interactions.c.deleted.is_(None),
        )
        .group_by(*groups)
    )
    with engine.connect() as connection:
        for row in connection.execute(query):
            yield PromptFeedbackCount(*row)


def model_annotators(engine: Engine, project_id: int) -> list[str]:
    """Return the ids of the models that gave feedback, sorted."""
    items = schema.feedback
    query = (
        select(items.c.annotator)
        .where(items.c.project == project_id, items.c.annotator_kind == "model")
        .distinct()
    )
    with engine.connect() as connection:
        return sorted(connection.execute(query).scalars())


def count_by_day(engine: Engine, project_id: int, *, limit: int) -> dict[str, dict[int, int]]:
    """Return the number of records of each kind on each day.

    A record counts on the day on which it happened, or arrived if that is not known.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    limit : int
        Number of latest interactions, and of latest feedback records, that are counted.

    Returns
    -------
    dict
        Counts by kind, and by day as days since 1970. Interactions have the kind
        ``"interaction"`` and come first.
    """
    counts = _count_table(engine, project_id, schema.interactions, None, limit)
    return counts | _count_table(engine, project_id, schema.feedback, schema.feedback.c.kind, limit)


def _count_table(
    engine: Engine, project_id: int, table: Table, kind: ColumnElement[Any] | None, limit: int
) -> dict[str, dict[int, int]]:
    columns = [table.c.time, table.c.received, table.c.deleted]
    latest = (
        select(*columns, *([] if kind is None else [kind]))
        .where(table.c.project == project_id)
        .order_by(table.c.seq.desc())
        .limit(limit)
        .subquery()
    )
    day = (func.coalesce(latest.c.time, latest.c.received) // _DAY).label("day")
    groups = [day] if kind is None else [day, latest.c.kind]
    query = (
        select(*groups, func.count().label("total"))
        .where(latest.c.deleted.is_(None))
        .group_by(*groups)
        .order_by(*groups)
    )
    counts: dict[str, dict[int, int]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query):
            name = "interaction" if kind is None else row.kind
            counts.setdefault(name, {})[int(row.day)] = row.total
    return dict(sorted(counts.items()))

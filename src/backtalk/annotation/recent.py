"""What people said lately, by columns, and how long they took: for figures about the people."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from backtalk.store import schema
from backtalk.store.inserts import project_number
from backtalk.store.store import Store

LATEST = 100_000
"""How many judgements are looked at: what people are like now, in bounded time."""


class Judgement(NamedTuple):
    """One piece of feedback by a person; see :data:`backtalk.store.columns.NAMES`."""

    annotator: str
    kind: str
    interaction: str | None
    aspect: str | None
    response: str | None
    other: str | None
    value: float | None
    received: int
    """Microseconds since 1970, UTC."""


def latest_judgements(store: Store, *, most: int = LATEST) -> list[Judgement]:
    """Return the latest feedback by people, the latest first."""
    table = schema.feedback
    columns = [table.c[name] for name in Judgement._fields]
    query = (
        select(*columns)
        .where(
            table.c.project == project_number(store.engine, store.project),
            table.c.deleted.is_(None),
            table.c.annotator_kind == "human",
        )
        .order_by(table.c.seq.desc())
        .limit(most)
    )
    with store.engine.connect() as connection:
        return [Judgement(*row) for row in connection.execute(query)]


def seconds_taken(store: Store, *, most: int = LATEST) -> dict[str, list[float]]:
    """Return how long each person took for the items of tasks that they judged lately.

    From when they were given an item until they had answered, in seconds.
    """
    table = schema.assignments
    query = (
        select(table.c.annotator, table.c.opened, table.c.ended)
        .where(
            table.c.project == project_number(store.engine, store.project),
            table.c.state == "done",
        )
        .order_by(table.c.seq.desc())
        .limit(most)
    )
    results: dict[str, list[float]] = {}
    with store.engine.connect() as connection:
        for row in connection.execute(query):
            results.setdefault(row.annotator, []).append((row.ended - row.opened) / 1e6)
    return results

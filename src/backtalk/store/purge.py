"""Removing a person's data for good, as that person may ask."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, or_, select, update

from backtalk.feedback import Instruction, parse_feedback
from backtalk.store import schema
from backtalk.store.engine import empty_log, writing


@dataclass(frozen=True)
class Purged:
    """What was removed."""

    interactions: int
    feedback: int
    first: int | None
    """The lowest sequence number of the feedback removed: policies learned from feedback at or
    past it may have learned from this person's. ``None`` where there was none."""


def purge(engine: Engine, project: int, user: str) -> Purged:
    """Remove what a user asked, what was said about it, and what the user said about anything.

    The rows are overwritten, not only marked: on SQLite freed pages are zeroed and the write-ahead
    log is emptied.
    """
    interactions, items = schema.interactions, schema.feedback
    asked = select(interactions.c.id).where(
        interactions.c.project == project, interactions.c.user == user
    )
    theirs = (items.c.project == project) & or_(
        items.c.annotator == user, items.c.interaction.in_(asked)
    )
    with writing(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        first = connection.execute(select(func.min(items.c.seq)).where(theirs)).scalar()
        said = connection.execute(delete(items).where(theirs)).rowcount
        said += _leave_scopes(connection, project, user)
        wait = schema.waiting
        said += connection.execute(
            delete(wait).where(
                wait.c.project == project,
                or_(wait.c.annotator == user, wait.c.interaction.in_(asked)),
            )
        ).rowcount
        given = schema.assignments
        connection.execute(
            delete(given).where(
                given.c.project == project,
                or_(given.c.annotator == user, given.c.interaction.in_(asked)),
            )
        )
        gone = connection.execute(
            delete(interactions).where(
                interactions.c.project == project, interactions.c.user == user
            )
        ).rowcount
    empty_log(engine)
    return Purged(gone, said, first)


def _leave_scopes(connection: Connection, project: int, user: str) -> int:
    """Take the user out of the scopes of others' rules; a rule for nobody else is removed."""
    table = schema.feedback
    removed = 0
    rules = connection.execute(
        select(table.c.seq, table.c.body).where(
            table.c.project == project, table.c.kind == "instruction"
        )
    ).all()
    for row in rules:
        rule = parse_feedback(row.body)
        if not isinstance(rule, Instruction) or user not in rule.scope.users:
            continue
        rest = tuple(name for name in rule.scope.users if name != user)
        if not rest:
            connection.execute(delete(table).where(table.c.seq == row.seq))
            removed += 1
            continue
        scope = rule.scope.model_copy(update={"users": rest})
        kept = rule.model_copy(update={"scope": scope})
        connection.execute(update(table).where(table.c.seq == row.seq).values(body=kept.to_json()))
    return removed

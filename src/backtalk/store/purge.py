"""Permanent removal of a user's data, as under a right to erasure."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, or_, select, update

from backtalk.feedback import Instruction, parse_feedback
from backtalk.store import schema
from backtalk.store.contents import delete_uses, lock_for_purge
from backtalk.store.engine import empty_log, writing
from backtalk.store.memory_purge import purge_memories


@dataclass(frozen=True)
class PurgeResult:
    """Counts of the records that were removed."""

    interactions: int
    feedback: int
    first: int | None
    """Lowest sequence number of the removed feedback, ``None`` if there was none. A policy learned
    from feedback at or after this number may have learned from the user's."""
    memory_entries: int = 0
    """Entries of memories that were about the user, said by them alone or made from their
    interactions alone. From others only the user is removed."""


def purge(engine: Engine, project_id: int, user: str) -> PurgeResult:
    """Remove a user's interactions, the feedback on them, and all feedback and entries of theirs.

    The rows are overwritten, not only marked: SQLite zeroes the freed pages, and its write-ahead
    log is emptied.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    user : str
        Id of the user.
    """
    interactions, items = schema.interactions, schema.feedback
    own = select(interactions.c.id).where(
        interactions.c.project == project_id, interactions.c.user == user
    )
    of_user = (items.c.project == project_id) & or_(
        items.c.annotator == user, items.c.interaction.in_(own)
    )
    with writing(engine) as connection:
        lock_for_purge(connection, project_id)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        entries = purge_memories(
            connection,
            project_id,
            user,
            interactions=own,
            feedback=select(items.c.id).where(of_user),
        )
        first = connection.execute(select(func.min(items.c.seq)).where(of_user)).scalar()
        feedback = connection.execute(delete(items).where(of_user)).rowcount
        feedback += _remove_from_scopes(connection, project_id, user)
        pending = schema.pending_feedback
        feedback += connection.execute(
            delete(pending).where(
                pending.c.project == project_id,
                or_(pending.c.annotator == user, pending.c.interaction.in_(own)),
            )
        ).rowcount
        assignments = schema.assignments
        connection.execute(
            delete(assignments).where(
                assignments.c.project == project_id,
                or_(assignments.c.annotator == user, assignments.c.interaction.in_(own)),
            )
        )
        delete_uses(connection, project_id, own)
        removed = connection.execute(
            delete(interactions).where(
                interactions.c.project == project_id, interactions.c.user == user
            )
        ).rowcount
    empty_log(engine)
    return PurgeResult(removed, feedback, first, entries)


def _remove_from_scopes(connection: Connection, project_id: int, user: str) -> int:
    """Remove the user from the scopes of instructions; return the number of instructions deleted.

    An instruction for nobody else is deleted.
    """
    table = schema.feedback
    removed = 0
    rows = connection.execute(
        select(table.c.seq, table.c.body).where(
            table.c.project == project_id, table.c.kind == "instruction"
        )
    ).all()
    for row in rows:
        instruction = parse_feedback(row.body)
        if not isinstance(instruction, Instruction) or user not in instruction.scope.users:
            continue
        others = tuple(name for name in instruction.scope.users if name != user)
        if not others:
            connection.execute(delete(table).where(table.c.seq == row.seq))
            removed += 1
            continue
        scope = instruction.scope.model_copy(update={"users": others})
        body = instruction.model_copy(update={"scope": scope}).to_json()
        connection.execute(update(table).where(table.c.seq == row.seq).values(body=body))
    return removed

"""Audit log of a store: administrative actions, with time and actor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, insert, or_, select

from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp


@dataclass(frozen=True)
class AuditEntry:
    """Entry of the audit log."""

    time: datetime
    project: str | None
    """Name of the project; ``None`` for an action on all projects."""
    actor: str
    action: str
    detail: str


class AuditLog:
    """Audit log of a database. Obtained as :attr:`Store.audit_log`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, action: str, detail: str, *, actor: str, project: str | None) -> None:
        """Append an entry.

        Parameters
        ----------
        action : str
            Kind of action, such as ``"key added"``.
        detail : str
            Object of the action.
        actor : str
            Name of the person or key that acted.
        project : str or None
            Name of the project; ``None`` for all projects.
        """
        row = {
            "time": microseconds(now()),
            "project": project,
            "actor": actor,
            "action": action,
            "body": detail,
        }
        with writing(self._engine) as connection:
            connection.execute(insert(schema.audit).values(row))

    def entries(self, *, project: str | None = None, limit: int = 1000) -> list[AuditEntry]:
        """Return the last entries, oldest first.

        Parameters
        ----------
        project : str, optional
            Only entries of this project and of all projects at once. Default: all entries.
        limit : int, default 1000
            Maximum number of entries.
        """
        table = schema.audit
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        if project is not None:
            query = query.where(or_(table.c.project == project, table.c.project.is_(None)))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            AuditEntry(timestamp(row.time), row.project, row.actor, row.action, row.body)
            for row in reversed(rows)
        ]

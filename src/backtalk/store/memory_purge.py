"""Removal of a user from the memories of a project."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, select, update

from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.row_codec import microseconds

_memories, _entries, _links, _topics, _changes = (
    schema.memories,
    schema.memory_entries,
    schema.memory_links,
    schema.memory_topics,
    schema.memory_changes,
)

_FIELDS = {"people": "person", "interactions": "interaction", "feedback": "feedback"}
"""Roles of links by the field of an entry."""

PURGED = "(purged)"
"""Actor of changes that a purged user made."""


def purge_memories(
    connection: Connection,
    project_id: int,
    user: str,
    *,
    interactions: Select[Any],
    feedback: Select[Any],
) -> int:
    """Remove a user from all entries, and the entries about them or said by them alone.

    An entry whose interactions are all removed is removed too. What it superseded holds again.

    Parameters
    ----------
    connection : Connection
        Connection with an open write transaction.
    project_id : int
        Id of the project.
    user : str
        Id of the user.
    interactions, feedback : Select
        Queries for the ids of the interactions and the feedback that are being removed.

    Returns
    -------
    int
        Number of entries removed.
    """
    removed = 0
    query = select(_memories.c.id).where(_memories.c.project == project_id)
    for memory in connection.execute(query).scalars().all():
        purge = _MemoryPurge(connection, memory, user)
        purge.collect("interaction", interactions)
        purge.collect("feedback", feedback)
        removed += purge.run()
    return removed


class _MemoryPurge:
    """Purge of one memory."""

    def __init__(self, connection: Connection, memory: int, user: str) -> None:
        self._connection = connection
        self._memory = memory
        self._user = user
        self._names = {"user": {user}, "person": {user}}
        self._rows = self._linked("user", [user]) | self._linked("person", [user])

    def collect(self, role: str, ids: Select[Any]) -> None:
        """Note the entries with links to ids that are being removed."""
        query = select(_links.c.name, _links.c.row).where(
            _links.c.memory == self._memory, _links.c.role == role, _links.c.name.in_(ids)
        )
        rows = self._connection.execute(query).all()
        self._names[role] = {row.name for row in rows}
        self._rows |= {row.row for row in rows}

    def run(self) -> int:
        removed = sum(self._purge_entry(row) for row in sorted(self._rows))
        self._connection.execute(
            update(_changes)
            .where(_changes.c.memory == self._memory, _changes.c.actor == self._user)
            .values(actor=PURGED)
        )
        return removed

    def _purge_entry(self, row: int) -> int:
        """Remove an entry, or the user from it; return the number of entries removed."""
        entry = self._connection.execute(select(_entries).where(*self._at(_entries, row))).one()
        body = json.loads(entry.body)
        if self._is_theirs(body):
            self._remove(row, body, int(entry.revision))
            return 1
        self._connection.execute(
            update(_entries).where(*self._at(_entries, row)).values(body=self._without(entry.body))
        )
        for role, names in self._names.items():
            self._delete_links(role, names, row)
        at_row = self._at(_topics, row)
        self._connection.execute(delete(_topics).where(*at_row, _topics.c.user == self._user))
        changes = select(_changes.c.number, _changes.c.before).where(
            *self._at(_changes, row), _changes.c.before.is_not(None)
        )
        for number, before in self._connection.execute(changes).all():
            self._connection.execute(
                update(_changes)
                .where(_changes.c.memory == self._memory, _changes.c.number == number)
                .values(before=self._without(before))
            )
        self._log(row, entry.id, int(entry.revision), "edited")
        return 0

    def _is_theirs(self, body: dict[str, Any]) -> bool:
        people, users = {*body.get("people", ())}, {*body["scope"].get("users", ())}
        interactions = {*body.get("interactions", ())}
        return (
            people == {self._user}
            or users == {self._user}
            or bool(interactions and interactions <= self._names["interaction"])
        )

    def _without(self, text: str) -> str:
        """Return the JSON of an entry without the user and the removed records."""
        body = json.loads(text)
        for field, role in _FIELDS.items():
            if field in body:
                body[field] = [name for name in body[field] if name not in self._names[role]]
        users = body["scope"].get("users", [])
        body["scope"]["users"] = [name for name in users if name != self._user]
        return json.dumps(body, ensure_ascii=False)

    def _remove(self, row: int, body: dict[str, Any], revision: int) -> None:
        id_, superseded = body["id"], body.get("supersedes", [])
        for table in (_entries, _topics, _changes):
            self._connection.execute(delete(table).where(*self._at(table, row)))
        for field, role in _FIELDS.items():
            self._delete_links(role, body.get(field, []), row)
        self._delete_links("user", body["scope"].get("users", []), row)
        self._delete_links("supersedes", superseded, row)
        self._delete_links("supersedes", [id_])
        self._delete_links("conflict", [id_])
        self._connection.execute(
            delete(_links).where(*self._at(_links, row), _links.c.role == "conflict")
        )
        self._log(row, id_, revision, "forgotten")
        for other in superseded:
            self._restore(other)

    def _restore(self, id_: str) -> None:
        """Let an entry hold again that no other entry supersedes."""
        living = _entries.c.state.in_(("active", "superseded"))
        others = self._linked("supersedes", [id_])
        query = select(_entries.c.row).where(
            _entries.c.memory == self._memory, _entries.c.row.in_(others), living
        )
        entry = self._connection.execute(
            select(_entries).where(_entries.c.memory == self._memory, _entries.c.id == id_)
        ).first()
        is_superseded = entry is not None and entry.state == "superseded"
        if entry is None or not is_superseded or self._connection.execute(query).first():
            return
        body = json.dumps({**json.loads(entry.body), "state": "active"}, ensure_ascii=False)
        self._connection.execute(
            update(_entries)
            .where(*self._at(_entries, entry.row))
            .values(state="active", superseded=None, body=body)
        )
        self._log(entry.row, id_, entry.revision, "restored", before=entry.body)

    def _log(
        self, row: int, id_: str, revision: int, action: str, *, before: str | None = None
    ) -> None:
        """Append a change, from which servers learn to read the entry again."""
        number = _memories.c.changes + 1
        at_memory = _memories.c.id == self._memory
        self._connection.execute(update(_memories).where(at_memory).values(changes=number))
        last = self._connection.execute(select(_memories.c.changes).where(at_memory)).scalar_one()
        self._connection.execute(
            _changes.insert().values(
                memory=self._memory,
                number=last,
                row=row,
                entry=id_,
                action=action,
                revision=revision,
                time=microseconds(now()),
                actor=PURGED,
                reason="",
                before=before,
            )
        )

    def _linked(self, role: str, names: Iterable[str]) -> set[int]:
        query = select(_links.c.row).where(
            _links.c.memory == self._memory, _links.c.role == role, _links.c.name.in_([*names])
        )
        return {*self._connection.execute(query).scalars()}

    def _delete_links(self, role: str, names: Iterable[str], row: int | None = None) -> None:
        for name in names:
            where = [_links.c.role == role, _links.c.name == name]
            if row is not None:
                where.append(_links.c.row == row)
            self._connection.execute(delete(_links).where(_links.c.memory == self._memory, *where))

    def _at(self, table: Any, row: int) -> tuple[ColumnElement[bool], ...]:
        return table.c.memory == self._memory, table.c.row == row

"""Memories of a project: rows of entries, and queries for them.

Entries are JSON text here; :mod:`backtalk.memory` gives them their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, func, not_, or_, select

from backtalk.errors import Conflict, NotFound
from backtalk.store import schema
from backtalk.store.inserts import insert_rows
from backtalk.store.row_codec import timestamp

_entries, _links, _changes = (
    schema.memory_entries,
    schema.memory_links,
    schema.memory_changes,
)

PAGE = 1_000
"""Rows per query. No transaction is held open between pages."""

_MAX_NAMES = 500
"""Maximum number of ids in a query."""


class Position(NamedTuple):
    """Last numbers of a memory."""

    revision: int = 0
    rows: int = 0
    changes: int = 0


class EntryRow(NamedTuple):
    """Row of an entry."""

    row: int
    """Number of the entry in its memory, from 1; it never changes and is never used again."""
    id: str
    kind: str
    state: str
    revision: int
    superseded: int | None
    """Lowest revision with an entry that supersedes it."""
    body: str


class ChangeRow(NamedTuple):
    """Row of a change."""

    number: int
    """Number of the change in its memory, from 1."""
    row: int
    entry: str
    action: str
    revision: int
    """Revision of the entry that was changed."""
    time: datetime
    actor: str
    reason: str
    before: str | None


class Link(NamedTuple):
    """Name under which an entry is entry."""

    role: str
    """``"user"``, ``"person"``, ``"feedback"``, ``"interaction"``, ``"supersedes"`` or
    ``"conflict"``."""
    name: str
    row: int


class Topic(NamedTuple):
    """Subject of an entry."""

    topic: str
    user: str
    """User to whom the entry applies; the empty string for all users."""
    row: int


@dataclass(frozen=True)
class EntryFilter:
    """Conditions on entries. Empty fields match everything."""

    states: Sequence[str] = ()
    kinds: Sequence[str] = ()
    revision: int | None = None
    """Maximum revision. An entry that a later revision superseded counts as active."""
    only_revision: int | None = None
    """Revision that added the entry."""
    links: Sequence[tuple[str, str]] = ()
    """Pairs of role and name that an entry has, all of them."""
    text: str = ""
    """Part of the entry's JSON; only a first selection, in which case may be ignored."""


class MemoryReader:
    """Queries for one memory on an open connection."""

    def __init__(self, connection: Connection, memory: int) -> None:
        self.connection = connection
        self.memory = memory

    def position(self) -> Position:
        """Return the last numbers of the memory."""
        table = schema.memories
        query = select(table.c.revision, table.c.rows, table.c.changes)
        row = self.connection.execute(query.where(table.c.id == self.memory)).first()
        return Position() if row is None else Position(*row)

    def page(
        self, where: EntryFilter, *, after: int = 0, before: int | None = None, limit: int = PAGE
    ) -> list[EntryRow]:
        """Return a page of entries, in the order of their rows.

        Parameters
        ----------
        where : EntryFilter
            Conditions.
        after : int, default 0
            Row after which the page begins.
        before : int, optional
            Row before which the page ends; the page has the last entries before it, the newest
            first. Default: the first entries after ``after``.
        limit : int, default PAGE
            Maximum number of entries.
        """
        query = self._select(where, *(_entries.c[name] for name in EntryRow._fields))
        query = query.where(_entries.c.row > after).limit(limit)
        if before is None:
            query = query.order_by(_entries.c.row)
        else:
            query = query.where(_entries.c.row < before).order_by(_entries.c.row.desc())
        return [EntryRow(*row) for row in self.connection.execute(query)]

    def count(self, where: EntryFilter, *, by: str | None = None) -> dict[str, int]:
        """Return the number of entries by a column (``"state"`` or ``"kind"``), or in total.

        The total has the key ``""``.
        """
        total = func.count()
        if by is None:
            query = self._select(where, total)
            return {"": int(self.connection.execute(query).scalar() or 0)}
        column = _entries.c[by]
        query = self._select(where, column, total).group_by(column).order_by(column)
        return {str(name): int(count) for name, count in self.connection.execute(query)}

    def _select(self, where: EntryFilter, *columns: ColumnElement[Any]) -> Select[Any]:
        query = select(*columns).where(_entries.c.memory == self.memory)
        if where.states:
            query = query.where(_state_in(where))
        if where.kinds:
            query = query.where(_entries.c.kind.in_(where.kinds))
        if where.revision is not None:
            query = query.where(_entries.c.revision <= where.revision)
        if where.only_revision is not None:
            query = query.where(_entries.c.revision == where.only_revision)
        for role, name in where.links:
            linked = select(_links.c.row).where(
                _links.c.memory == self.memory, _links.c.role == role, _links.c.name == name
            )
            query = query.where(_entries.c.row.in_(linked))
        if where.text:
            query = query.where(_entries.c.body.icontains(where.text, autoescape=True))
        return query

    def by_ids(self, ids: Sequence[str]) -> list[EntryRow]:
        """Return the entries with these ids, in the order of their rows."""
        return self._in(_entries.c.id, ids)

    def by_rows(self, rows: Sequence[int]) -> list[EntryRow]:
        """Return the entries with these row numbers, in order."""
        return self._in(_entries.c.row, rows)

    def _in(self, column: ColumnElement[Any], values: Sequence[Any]) -> list[EntryRow]:
        result: list[EntryRow] = []
        if not values:
            return result
        distinct = list(dict.fromkeys(values))
        query = select(*(_entries.c[name] for name in EntryRow._fields))
        query = query.where(_entries.c.memory == self.memory)
        for start in range(0, len(distinct), _MAX_NAMES):
            some = query.where(column.in_(distinct[start : start + _MAX_NAMES]))
            result += [EntryRow(*row) for row in self.connection.execute(some)]
        return sorted(result)

    def by_prefix(self, prefix: str, *, name: str) -> EntryRow:
        """Return the entry whose id is given, or begins with it.

        Parameters
        ----------
        prefix : str
            Id, or a prefix that no other id has.
        name : str
            Name of the memory, for errors.

        Raises
        ------
        NotFound
            If no id matches.
        Conflict
            If several ids have the prefix.
        """
        query = select(*(_entries.c[field] for field in EntryRow._fields)).where(
            _entries.c.memory == self.memory,
            _entries.c.id.startswith(prefix, autoescape=True),
        )
        rows = [EntryRow(*row) for row in self.connection.execute(query.limit(3))]
        if exact := self.by_ids([prefix]):
            return exact[0]
        if not rows or not prefix:
            raise NotFound(
                f"There is no entry {prefix!r} in the memory {name!r}",
                "`backtalk memory list` lists the entries",
            )
        if len(rows) > 1:
            ids = ", ".join(row.id for row in rows)
            raise Conflict(f"{prefix!r} is a prefix of several ids: {ids}", "Give a longer prefix")
        return rows[0]

    def neighbours(self, id_: str) -> list[str]:
        """Return the ids before and after one, in order."""
        ids = _entries.c.id
        query = select(func.max(ids)).where(_entries.c.memory == self.memory, ids < id_)
        after = select(func.min(ids)).where(_entries.c.memory == self.memory, ids > id_)
        rows = [self.connection.execute(one).scalar() for one in (query, after)]
        return [str(row) for row in rows if row is not None]

    def links(self, role: str, names: Sequence[str] | None = None) -> list[Link]:
        """Return the links of a role, to these names or to all, by row."""
        query = select(_links.c.role, _links.c.name, _links.c.row).where(
            _links.c.memory == self.memory, _links.c.role == role
        )
        if names is None:
            return sorted(self._links(query), key=lambda link: link.row)
        links: list[Link] = []
        distinct = list(dict.fromkeys(names))
        for start in range(0, len(distinct), _MAX_NAMES):
            links += self._links(query.where(_links.c.name.in_(distinct[start:][:_MAX_NAMES])))
        return sorted(links, key=lambda link: link.row)

    def _links(self, query: Select[Any]) -> list[Link]:
        return [Link(*row) for row in self.connection.execute(query)]

    def rows_on_topics(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
        """Return the rows of entries by topic and user, the newest first, of many at once."""
        mark = "?" if self.connection.dialect.paramstyle == "qmark" else "%s"
        result: dict[tuple[str, str], list[int]] = {key: [] for key in keys}
        for start in range(0, len(keys), _MAX_NAMES):
            some = keys[start : start + _MAX_NAMES]
            pairs = ", ".join([f"({mark}, {mark})"] * len(some))
            query = (
                f'WITH keys (topic, "user") AS (VALUES {pairs}) '  # noqa: S608
                'SELECT entry.topic, entry."user", entry.row FROM keys, memory_topics AS entry '
                f"WHERE entry.memory = {mark} AND entry.topic = keys.topic "
                'AND entry."user" = keys."user"'
            )
            names = [name for key in some for name in key]
            for topic, user, row in self.connection.exec_driver_sql(query, (*names, self.memory)):
                result[topic, user].append(row)
        return {key: sorted(rows, reverse=True) for key, rows in result.items()}

    def rows_on(self, topic: str, user: str | None, *, limit: int) -> list[int]:
        """Return rows of entries on a topic.

        Parameters
        ----------
        topic : str
            Topic.
        user : str or None
            User to whom an entry applies, the empty string for all users; of these, the newest
            rows. ``None``: anybody, in no order.
        limit : int
            Maximum number of rows.
        """
        mark = "?" if self.connection.dialect.paramstyle == "qmark" else "%s"
        # Not an SQLAlchemy query, whose construction takes longer than its execution.
        query = f"SELECT row FROM memory_topics WHERE memory = {mark} AND topic = {mark}"  # noqa: S608
        if user is None:
            rows = self.connection.exec_driver_sql(
                f"{query} LIMIT {mark}", (self.memory, topic, limit)
            )
        else:
            rows = self.connection.exec_driver_sql(
                f'{query} AND "user" = {mark} ORDER BY row DESC LIMIT {mark}',
                (self.memory, topic, user, limit),
            )
        return list(rows.scalars())

    def changes(
        self, *, after: int = 0, row: int | None = None, newest: bool = False, limit: int = PAGE
    ) -> list[ChangeRow]:
        """Return changes, by number.

        Parameters
        ----------
        after : int, default 0
            Number of the change after which to begin.
        row : int, optional
            Row of the entry. Default: changes of all entries.
        newest : bool, default False
            If true, the last changes, the newest first.
        limit : int, default PAGE
            Maximum number of changes.
        """
        query = select(*(_changes.c[name] for name in ChangeRow._fields)).where(
            _changes.c.memory == self.memory, _changes.c.number > after
        )
        if row is not None:
            query = query.where(_changes.c.row == row)
        number = _changes.c.number.desc() if newest else _changes.c.number
        rows = self.connection.execute(query.order_by(number).limit(limit))
        return [_change(row) for row in rows]

    def change(self, number: int) -> ChangeRow | None:
        """Return the change of this number, ``None`` if there is none."""
        changes = self.changes(after=number - 1, limit=1)
        return changes[0] if changes and changes[0].number == number else None


def _state_in(where: EntryFilter) -> ColumnElement[bool]:
    is_in = _entries.c.state.in_(where.states)
    if where.revision is None or {"active", "superseded"} <= {*where.states}:
        return is_in
    later = (_entries.c.state == "superseded") & (_entries.c.superseded > where.revision)
    if "active" in where.states:
        return or_(is_in, later)
    return and_(is_in, not_(later))


def _change(row: Row[Any]) -> ChangeRow:
    return ChangeRow._make(row)._replace(time=timestamp(row.time))


class MemoryTable:
    """Rows of one memory.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    name : str
        Name of the memory.
    """

    def __init__(self, engine: Engine, project_id: int, name: str) -> None:
        self.engine = engine
        self._project_id = project_id
        self.name = name

    @contextmanager
    def reading(self) -> Iterator[MemoryReader]:
        """Open a connection for queries. A memory that does not exist is empty."""
        with self.engine.connect() as connection:
            yield MemoryReader(connection, self._find(connection) or 0)

    def _find(self, connection: Connection) -> int | None:
        table = schema.memories
        query = select(table.c.id).where(
            table.c.project == self._project_id, table.c.name == self.name
        )
        return connection.execute(query).scalar()

    def find_or_create(self, connection: Connection) -> int:
        """Return the id of the memory, locked until the transaction ends."""
        table = schema.memories
        columns = ["project", "name", "revision", "rows", "changes"]
        if self._find(connection) is None:
            insert_rows(connection, table, columns, [(self._project_id, self.name, 0, 0, 0)])
        query = select(table.c.id).where(
            table.c.project == self._project_id, table.c.name == self.name
        )
        return int(connection.execute(query.with_for_update()).scalar_one())

    def pages(self, where: EntryFilter, *, after: int = 0) -> Iterator[list[EntryRow]]:
        """Yield pages of entries, with constant memory."""
        while True:
            with self.reading() as reader:
                rows = reader.page(where, after=after)
            if not rows:
                return
            yield rows
            after = rows[-1].row


class Memories:
    """Memories of a project. Obtained as :attr:`Store.memories`."""

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id

    def names(self) -> list[str]:
        """Return the names of the memories of the project, sorted."""
        table = schema.memories
        query = select(table.c.name).where(table.c.project == self._project_id)
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def table(self, name: str) -> MemoryTable:
        """Return the rows of a memory, which need not exist yet."""
        return MemoryTable(self._engine, self._project_id, name)

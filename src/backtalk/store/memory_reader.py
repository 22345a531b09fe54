"""Queries for the rows of a memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, not_, or_, select

from backtalk.errors import Conflict, NotFound
from backtalk.store import schema
from backtalk.store.memory_rows import ChangeRow, EntryFilter, EntryRow, Link, Position
from backtalk.store.row_codec import timestamp

_entries, _links, _changes = (
    schema.memory_entries,
    schema.memory_links,
    schema.memory_changes,
)

PAGE = 1_000
"""Rows per query. No transaction is held open between pages."""

_LAST_CHARACTER = "\U0010ffff"

_MAX_NAMES = 500
"""Maximum number of ids in a query."""


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
        row = _links.c.row if where.links else _entries.c.row
        query = query.where(row > after).limit(limit)
        if before is None:
            query = query.order_by(row)
        else:
            query = query.where(row < before).order_by(row.desc())
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
        if where.links:  # the most selective condition: entries are looked up from the link's rows
            role, name = where.links[0]
            query = query.join_from(
                _links,
                _entries,
                (_entries.c.memory == _links.c.memory) & (_entries.c.row == _links.c.row),
            ).where(_links.c.memory == self.memory, _links.c.role == role, _links.c.name == name)
        for role, name in where.links[1:]:
            links = _links.alias()
            linked = select(links.c.row).where(
                links.c.memory == self.memory, links.c.role == role, links.c.name == name
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
        if exact := self.by_ids([prefix]):
            return exact[0]
        column = _entries.c.id
        begins = column.startswith(prefix, autoescape=True)
        if self.connection.dialect.name == "sqlite":  # its LIKE ignores case, and so the index
            begins = (column >= prefix) & (column < prefix + _LAST_CHARACTER)
        query = select(*(_entries.c[field] for field in EntryRow._fields)).where(
            _entries.c.memory == self.memory, begins
        )
        rows = [EntryRow(*row) for row in self.connection.execute(query.limit(3))]
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

"""Finding interactions among many: newest first, by what was said, who asked and what was judged.

A page is read from where the last one ended, never by counting rows off. What no index answers is
looked for in stretches of rows, for a limited time; the page says how far it came.
"""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, select

from backtalk.feedback import Interaction, parse_interaction
from backtalk.store import schema
from backtalk.store.inserts import project_number
from backtalk.store.queries import known_kinds
from backtalk.store.row_codec import microseconds, timestamp
from backtalk.store.store import Store

PAGE = 25
"""How many interactions one page has."""

_FIRST, _MOST = 500, 20_000
"""How many rows the first stretch has, and the most that one can have."""
_STRETCH_SECONDS = 0.1
"""The next stretch is longer after one that took less, shorter after one that took more."""
_BATCH = 200
"""How many rows that may have the text are read at once, to see whether they do."""

_interactions, _items = schema.interactions, schema.feedback
_when = func.coalesce(_interactions.c.time, _interactions.c.received)


@dataclass(frozen=True)
class SearchQuery:
    """Which interactions; what is left out does not matter."""

    text: str = ""
    """Occurs in a prompt or a response, in capitals or not."""
    user: str = ""
    policy: str = ""
    """The beginning of the policy's id."""
    session: str = ""
    kind: str = ""
    """Has feedback of this kind."""
    judged: bool | None = None
    """Has any feedback, or none."""
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    deleted: bool = False
    """Those that were deleted, and no others."""

    def says(self, interaction: Interaction) -> bool:
        """Return whether the text occurs in an interaction."""
        needle = self.text.casefold()
        said = [message.text for message in interaction.prompt]
        said += [response.text for response in interaction.responses]
        return any(needle in text.casefold() for text in said)


@dataclass(frozen=True)
class SearchHit:
    """An interaction that was found."""

    interaction: Interaction
    received: datetime
    deleted: datetime | None
    feedback: dict[str, int]
    """How much feedback it has of each kind."""


@dataclass(frozen=True)
class Page:
    """What was found, newest first."""

    hits: tuple[SearchHit, ...]
    further: int | None
    """Where the next page begins: the ``before`` to search on with. ``None`` at the end."""
    full: bool
    """Whether the page is full, so that more may follow; else the time was up, or it is the end."""
    searched: int
    """How many interactions were looked at."""
    back_to: datetime | None
    """When the last of them came."""


def search(
    store: Store,
    wanted: SearchQuery,
    *,
    before: int | None = None,
    size: int = PAGE,
    seconds: float = 1.0,
) -> Page:
    """Return a page of interactions, newest first.

    Parameters
    ----------
    store : Store
        The project.
    wanted : SearchQuery
        Which ones.
    before : int, optional
        Where the page before ended; the newest, if left out.
    size : int, default PAGE
        How many a page has.
    seconds : float, default 1.0
        How long to look, about. A page that is not full then can be searched further.

    Raises
    ------
    UnknownName
        If there is no such kind of feedback.
    """
    with store.engine.connect() as connection:
        return _Search(connection, store, wanted).page(before, size, seconds)


class _Search:
    """One look for interactions."""

    def __init__(self, connection: Connection, store: Store, wanted: SearchQuery) -> None:
        self._connection = connection
        self._project = project_number(store.engine, store.project)
        self._wanted = wanted
        # What an index answers: stretches of rows are counted in it.
        self._base = [_interactions.c.project == self._project]
        if wanted.user:
            self._base.append(_interactions.c.user == wanted.user)
        self._query = (
            select(
                _interactions.c.seq,
                _interactions.c.received,
                _interactions.c.deleted,
                _interactions.c.body,
            )
            .where(*self._base, *self._filters())
            .order_by(_interactions.c.seq.desc())
        )

    def page(self, before: int | None, size: int, seconds: float) -> Page:
        start = at = self._newest() + 1 if before is None else before
        ends = clock.monotonic() + seconds
        results: list[tuple[Row[Any], Interaction]] = []
        stretch = _FIRST
        while len(results) <= size:
            began = clock.monotonic()
            low = self._low(at, stretch)
            if low is None:
                break
            at, more = self._look(low, at, size + 1 - len(results))
            results += more
            took = clock.monotonic() - began
            quick = took < _STRETCH_SECONDS
            stretch = min(_MOST, stretch * 4) if quick else max(_FIRST, stretch // 2)
            if began + took > ends:
                break
        full = len(results) > size
        if full:
            results = results[:size]
            at = results[-1][0].seq
        return Page(
            hits=self._hits(results),
            further=at if self._low(at, 1) is not None else None,
            full=full,
            searched=self._count(at, start),
            back_to=self._received(at),
        )

    def _look(self, low: int, at: int, need: int) -> tuple[int, list[tuple[Row[Any], Interaction]]]:
        """Return what was found from ``at`` down to ``low``, and how far that is."""
        most = max(need, _BATCH) if self._wanted.text else need
        rows = self._rows(
            self._query.where(_interactions.c.seq < at, _interactions.c.seq >= low).limit(most)
        )
        results = [(row, parse_interaction(row.body)) for row in rows]
        if self._wanted.text:
            results = [
                (row, interaction) for row, interaction in results if self._wanted.says(interaction)
            ]
        return (rows[-1].seq if len(rows) == most else low), results

    def _filters(self) -> list[ColumnElement[bool]]:
        wanted = self._wanted
        hidden = (
            _interactions.c.deleted.is_not(None)
            if wanted.deleted
            else _interactions.c.deleted.is_(None)
        )
        results: list[ColumnElement[bool]] = [hidden]
        if wanted.policy:
            results.append(_interactions.c.policy.startswith(wanted.policy, autoescape=True))
        if wanted.session:
            results.append(_interactions.c.session == wanted.session)
        if wanted.since is not None:
            results.append(_when >= microseconds(wanted.since))
        if wanted.until is not None:
            results.append(_when < microseconds(wanted.until))
        if wanted.kind or wanted.judged:
            results.append(self._judged(wanted.kind))
        if wanted.judged is False:
            results.append(~self._judged(""))
        if wanted.text:
            results.append(self._has_text(wanted.text))
        return results

    def _judged(self, kind: str) -> ColumnElement[bool]:
        where = [
            _items.c.project == self._project,
            _items.c.interaction == _interactions.c.id,
            _items.c.deleted.is_(None),
        ]
        if kind:
            where.append(_items.c.kind.in_(known_kinds([kind]) or []))
        return exists().where(*where)

    def _has_text(self, text: str) -> ColumnElement[bool]:
        pattern = _pattern(text)
        if self._connection.dialect.name == "sqlite":  # whose LIKE is blind to capitals by itself
            return _interactions.c.body.like(pattern, escape="!")
        return _interactions.c.body.ilike(pattern, escape="!")

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return self._connection.execute(query).all()

    def _newest(self) -> int:
        query = select(func.max(_interactions.c.seq)).where(*self._base)
        return int(self._connection.execute(query).scalar() or 0)

    def _low(self, at: int, rows: int) -> int | None:
        """Return the lowest of so many rows before ``at``, ``None`` where there are none."""
        stretch = (
            select(_interactions.c.seq)
            .where(*self._base, _interactions.c.seq < at)
            .order_by(_interactions.c.seq.desc())
            .limit(rows)
            .subquery()
        )
        low = self._connection.execute(select(func.min(stretch.c.seq))).scalar()
        return None if low is None else int(low)

    def _count(self, low: int, start: int) -> int:
        query = select(func.count()).where(
            *self._base, _interactions.c.seq >= low, _interactions.c.seq < start
        )
        return int(self._connection.execute(query).scalar() or 0)

    def _received(self, at: int) -> datetime | None:
        query = select(_interactions.c.received).where(_interactions.c.seq == at)
        received = self._connection.execute(query).scalar()
        return None if received is None else timestamp(received)

    def _hits(self, found: Sequence[tuple[Row[Any], Interaction]]) -> tuple[SearchHit, ...]:
        counts: dict[str, dict[str, int]] = {}
        query = (
            select(_items.c.interaction, _items.c.kind, func.count().label("total"))
            .where(
                _items.c.project == self._project,
                _items.c.interaction.in_([interaction.id for _, interaction in found]),
                _items.c.deleted.is_(None),
            )
            .group_by(_items.c.interaction, _items.c.kind)
            .order_by(_items.c.kind)
        )
        for row in self._rows(query):
            counts.setdefault(row.interaction, {})[row.kind] = row.total
        return tuple(
            SearchHit(
                interaction,
                timestamp(row.received),
                _timestamp(row.deleted),
                counts.get(interaction.id, {}),
            )
            for row, interaction in found
        )


def _pattern(text: str) -> str:
    """Return what a body with the text is like.

    SQLite knows capitals of ASCII only, so that other letters which have some stand for any
    character; what the database finds is looked at again.
    """
    kept = to_json(text).decode()[1:-1]
    return "%" + "".join(_like(character) for character in kept) + "%"


def _like(character: str) -> str:
    if not character.isascii() and character.lower() != character.upper():
        return "_"
    return f"!{character}" if character in "%_!" else character


def _timestamp(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else timestamp(microseconds)

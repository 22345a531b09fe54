"""Search for interactions, newest first: by text, user, policy, session, time and feedback.

Pages continue from a sequence number, not from an offset. Conditions without an index are tested
on blocks of rows within a time limit, and the page reports how far the search came.
"""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, select

from backtalk.feedback import Interaction
from backtalk.store import schema
from backtalk.store.contents import stored_interaction
from backtalk.store.queries import check_kinds
from backtalk.store.row_codec import microseconds, optional_timestamp, timestamp
from backtalk.store.store import Store

PAGE = 25
"""Default number of interactions on a page."""

_MIN_BLOCK, _MAX_BLOCK = 500, 20_000
"""Limits of the number of rows in a block. The first block is the smallest."""
_BLOCK_SECONDS = 0.1
"""Target duration of a block: a faster one makes the next one longer, a slower one shorter."""
_BATCH_SIZE = 200
"""Minimum number of rows read at once when text has to be matched."""

_interactions, _items = schema.interactions, schema.feedback
_time = func.coalesce(_interactions.c.time, _interactions.c.received)


@dataclass(frozen=True)
class SearchQuery:
    """Conditions of a search. Empty fields match everything."""

    text: str = ""
    """Substring of a prompt or a response, ignoring case."""
    user: str = ""
    policy: str = ""
    """Prefix of the policy's id."""
    session: str = ""
    kind: str = ""
    """Kind of feedback that the interaction has."""
    judged: bool | None = None
    """If true, only interactions with feedback. If false, only those without."""
    since: datetime | None = None
    """Earliest time."""
    until: datetime | None = None
    """Time before which the interaction happened, exclusive."""
    deleted: bool = False
    """If true, only deleted interactions. If false, only those that are not deleted."""

    def matches_text(self, interaction: Interaction) -> bool:
        """Return true if the text occurs in an interaction.

        It may be in the prompt, in a response or its reasoning, or be the upstream's own id.
        """
        needle = self.text.casefold()
        texts = [message.text for message in interaction.prompt]
        for response in interaction.responses:
            texts += (response.text, response.reasoning or "")
        gateway = interaction.metadata.get("gateway")
        if isinstance(gateway, dict) and gateway.get("upstream_id") == self.text:
            return True
        return any(needle in text.casefold() for text in texts)


@dataclass(frozen=True)
class SearchHit:
    """Interaction that matches a search."""

    interaction: Interaction
    received: datetime
    deleted: datetime | None
    feedback: dict[str, int]
    """Number of feedback records by kind."""


@dataclass(frozen=True)
class SearchPage:
    """Page of search results, newest first."""

    hits: tuple[SearchHit, ...]
    next_cursor: int | None
    """Value of ``before`` for the next page, ``None`` at the end."""
    full: bool
    """True if the page is full. Otherwise the time limit or the end was reached."""
    searched: int
    """Number of interactions searched."""
    oldest: datetime | None
    """Time of arrival of the oldest interaction searched."""


def search(
    store: Store,
    query: SearchQuery,
    *,
    before: int | None = None,
    size: int = PAGE,
    seconds: float = 1.0,
) -> SearchPage:
    """Return a page of interactions, newest first.

    Parameters
    ----------
    store : Store
        Store of the project.
    query : SearchQuery
        Conditions.
    before : int, optional
        ``next_cursor`` of the previous page. Default: the newest interactions.
    size : int, default PAGE
        Number of interactions on a page.
    seconds : float, default 1.0
        Approximate time limit. A page that is not full because of it has a ``next_cursor``.

    Raises
    ------
    UnknownName
        If there is no such kind of feedback.
    """
    with store.engine.connect() as connection:
        return _Search(connection, store.project_id, query).page(before, size, seconds)


class _Search:
    """A search on one connection."""

    def __init__(self, connection: Connection, project_id: int, query: SearchQuery) -> None:
        self._connection = connection
        self._project_id = project_id
        self._query = query
        # Conditions with an index: blocks are measured in rows that meet them.
        self._indexed = [_interactions.c.project == project_id]
        if query.user:
            self._indexed.append(_interactions.c.user == query.user)
        self._select = (
            select(
                _interactions.c.seq,
                _interactions.c.received,
                _interactions.c.deleted,
                _interactions.c.body,
            )
            .where(*self._indexed, *self._conditions())
            .order_by(_interactions.c.seq.desc())
        )

    def page(self, before: int | None, size: int, seconds: float) -> SearchPage:
        start = cursor = self._newest() + 1 if before is None else before
        deadline = clock.monotonic() + seconds
        matches: list[tuple[Row[Any], Interaction]] = []
        block = _MIN_BLOCK
        while len(matches) <= size:
            began = clock.monotonic()
            low = self._block_start(cursor, block)
            if low is None:
                break
            cursor, more = self._search_block(low, cursor, size + 1 - len(matches))
            matches += more
            elapsed = clock.monotonic() - began
            is_fast = elapsed < _BLOCK_SECONDS
            block = min(_MAX_BLOCK, block * 4) if is_fast else max(_MIN_BLOCK, block // 2)
            if began + elapsed > deadline:
                break
        full = len(matches) > size
        if full:
            matches = matches[:size]
            cursor = matches[-1][0].seq
        return SearchPage(
            hits=self._hits(matches),
            next_cursor=cursor if self._block_start(cursor, 1) is not None else None,
            full=full,
            searched=self._count(cursor, start),
            oldest=self._received(cursor),
        )

    def _search_block(
        self, low: int, before: int, needed: int
    ) -> tuple[int, list[tuple[Row[Any], Interaction]]]:
        """Return the matches from ``before`` down to ``low``, and the position that was reached."""
        limit = max(needed, _BATCH_SIZE) if self._query.text else needed
        rows = self._rows(
            self._select.where(_interactions.c.seq < before, _interactions.c.seq >= low).limit(
                limit
            )
        )
        matches = [
            (row, stored_interaction(self._connection, self._project_id, row.body)) for row in rows
        ]
        if self._query.text:
            matches = [
                (row, interaction)
                for row, interaction in matches
                if self._query.matches_text(interaction)
            ]
        return (rows[-1].seq if len(rows) == limit else low), matches

    def _conditions(self) -> list[ColumnElement[bool]]:
        query = self._query
        deleted = _interactions.c.deleted
        conditions: list[ColumnElement[bool]] = [
            deleted.is_not(None) if query.deleted else deleted.is_(None)
        ]
        if query.policy:
            conditions.append(_interactions.c.policy.startswith(query.policy, autoescape=True))
        if query.session:
            conditions.append(_interactions.c.session == query.session)
        if query.since is not None:
            conditions.append(_time >= microseconds(query.since))
        if query.until is not None:
            conditions.append(_time < microseconds(query.until))
        if query.kind or query.judged:
            conditions.append(self._has_feedback(query.kind))
        if query.judged is False:
            conditions.append(~self._has_feedback(""))
        if query.text:
            conditions.append(self._has_text(query.text))
        return conditions

    def _has_feedback(self, kind: str) -> ColumnElement[bool]:
        where = [
            _items.c.project == self._project_id,
            _items.c.interaction == _interactions.c.id,
            _items.c.deleted.is_(None),
        ]
        if kind:
            where.append(_items.c.kind.in_(check_kinds([kind]) or []))
        return exists().where(*where)

    def _has_text(self, text: str) -> ColumnElement[bool]:
        pattern = _like_pattern(text)
        if self._connection.dialect.name == "sqlite":  # its LIKE ignores the case of ASCII letters
            return _interactions.c.body.like(pattern, escape="!")
        return _interactions.c.body.ilike(pattern, escape="!")

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return self._connection.execute(query).all()

    def _newest(self) -> int:
        query = select(func.max(_interactions.c.seq)).where(*self._indexed)
        return int(self._connection.execute(query).scalar() or 0)

    def _block_start(self, before: int, size: int) -> int | None:
        """Return the lowest sequence number of the block before a position, ``None`` at the end."""
        block = (
            select(_interactions.c.seq)
            .where(*self._indexed, _interactions.c.seq < before)
            .order_by(_interactions.c.seq.desc())
            .limit(size)
            .subquery()
        )
        low = self._connection.execute(select(func.min(block.c.seq))).scalar()
        return None if low is None else int(low)

    def _count(self, low: int, before: int) -> int:
        query = select(func.count()).where(
            *self._indexed, _interactions.c.seq >= low, _interactions.c.seq < before
        )
        return int(self._connection.execute(query).scalar() or 0)

    def _received(self, seq: int) -> datetime | None:
        query = select(_interactions.c.received).where(_interactions.c.seq == seq)
        return optional_timestamp(self._connection.execute(query).scalar())

    def _hits(self, matches: Sequence[tuple[Row[Any], Interaction]]) -> tuple[SearchHit, ...]:
        counts: dict[str, dict[str, int]] = {}
        query = (
            select(_items.c.interaction, _items.c.kind, func.count().label("total"))
            .where(
                _items.c.project == self._project_id,
                _items.c.interaction.in_([interaction.id for _, interaction in matches]),
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
                optional_timestamp(row.deleted),
                counts.get(interaction.id, {}),
            )
            for row, interaction in matches
        )


def _like_pattern(text: str) -> str:
    """Return a LIKE pattern that matches every body which contains the text.

    SQLite folds the case of ASCII letters only, so that other letters with case become wildcards.
    The rows are matched again in Python.
    """
    encoded = to_json(text).decode()[1:-1]
    return "%" + "".join(_escape(character) for character in encoded) + "%"


def _escape(character: str) -> str:
    if not character.isascii() and character.lower() != character.upper():
        return "_"
    return f"!{character}" if character in "%_!" else character

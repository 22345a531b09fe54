"""One interaction with all that is kept about it, and the conversation that it is part of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from backtalk.errors import NotFound
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback, parse_interaction
from backtalk.store import schema
from backtalk.store.inserts import project_number
from backtalk.store.row_codec import moment
from backtalk.store.store import Store

_MOST_TURNS = 50

_talks, _items = schema.interactions, schema.feedback


@dataclass(frozen=True)
class StoredFeedback:
    """A piece of feedback as it is kept."""

    feedback: AnyFeedback
    received: datetime
    deleted: datetime | None


@dataclass(frozen=True)
class InteractionDetail:
    """One interaction as it is kept, with all that was said about it."""

    interaction: Interaction
    received: datetime
    deleted: datetime | None
    feedback: tuple[StoredFeedback, ...]
    """What was deleted too."""


def get_detail(store: Store, id: str) -> InteractionDetail:  # noqa: A002
    """Return an interaction, deleted or not, with its feedback.

    Raises
    ------
    NotFound
        If there is none.
    """
    project = project_number(store.engine, store.project)
    columns = ("received", "deleted", "body")
    with store.engine.connect() as connection:
        row = connection.execute(
            select(*(_talks.c[name] for name in columns)).where(
                _talks.c.project == project, _talks.c.id == id
            )
        ).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no interaction {id!r} in project {store.project!r}",
                "Check the id and the project; what was purged is gone for good",
            )
        said = connection.execute(
            select(*(_items.c[name] for name in columns))
            .where(_items.c.project == project, _items.c.interaction == id)
            .order_by(_items.c.seq)
        ).all()
    items = (
        StoredFeedback(parse_feedback(i.body), moment(i.received), _moment(i.deleted)) for i in said
    )
    return InteractionDetail(
        parse_interaction(row.body), moment(row.received), _moment(row.deleted), tuple(items)
    )


def conversation(store: Store, talk: Interaction) -> list[Interaction]:
    """Return the session of an interaction in the order in which it came, itself among them.

    Only what the same user asked, where it names one: two users may call their sessions the same.

    Parameters
    ----------
    store
        The project.
    talk
        One turn. Where it names no session, what it continues goes before it.

    Returns
    -------
    list of Interaction
        At most 50 from before and after it.
    """
    if talk.session is None:
        return [*_ancestors(store, talk), talk]
    project = project_number(store.engine, store.project)
    with store.engine.connect() as connection:
        at = connection.execute(
            select(_talks.c.seq).where(_talks.c.project == project, _talks.c.id == talk.id)
        ).scalar_one()
        earlier = _near(connection, project, talk, _talks.c.seq < at, newest_first=True)
        later = _near(connection, project, talk, _talks.c.seq > at, newest_first=False)
    return [*reversed(earlier), talk, *later]


def _near(
    connection: Connection,
    project: int,
    talk: Interaction,
    side: ColumnElement[bool],
    *,
    newest_first: bool,
) -> list[Interaction]:
    """Return the turns of the same session on one side, the nearest first."""
    theirs = () if talk.user is None else (_talks.c.user == talk.user,)
    query = (
        select(_talks.c.body)
        .where(
            _talks.c.project == project,
            _talks.c.session == talk.session,
            _talks.c.deleted.is_(None),
            side,
            *theirs,
        )
        .order_by(_talks.c.seq.desc() if newest_first else _talks.c.seq.asc())
        .limit(_MOST_TURNS)
    )
    return [parse_interaction(body) for body in connection.execute(query).scalars()]


def _ancestors(store: Store, talk: Interaction) -> list[Interaction]:
    found: list[Interaction] = []
    seen = {talk.id}
    parent = talk.parent
    while parent is not None and parent not in seen and len(found) < _MOST_TURNS:
        seen.add(parent)
        try:
            found.append(store.interaction(parent))
        except NotFound:
            break
        parent = found[-1].parent
    return found[::-1]


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else moment(microseconds)

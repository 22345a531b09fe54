"""One interaction with all that is kept about it, and the conversation that it is part of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from backtalk.errors import NotFound
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback, parse_interaction
from backtalk.store import schema
from backtalk.store.inserts import project_number
from backtalk.store.row_codec import timestamp
from backtalk.store.store import Store

_MOST_TURNS = 50

_interactions, _items = schema.interactions, schema.feedback


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
            select(*(_interactions.c[name] for name in columns)).where(
                _interactions.c.project == project, _interactions.c.id == id
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
        StoredFeedback(parse_feedback(i.body), timestamp(i.received), _timestamp(i.deleted))
        for i in said
    )
    return InteractionDetail(
        parse_interaction(row.body), timestamp(row.received), _timestamp(row.deleted), tuple(items)
    )


def conversation(store: Store, interaction: Interaction) -> list[Interaction]:
    """Return the session of an interaction in the order in which it came, itself among them.

    Only what the same user asked, where it names one: two users may call their sessions the same.

    Parameters
    ----------
    store : Store
        The project.
    talk
        One turn. Where it names no session, what it continues goes before it.

    Returns
    -------
    list of Interaction
        At most 50 from before and after it.
    """
    if interaction.session is None:
        return [*_ancestors(store, interaction), interaction]
    project = project_number(store.engine, store.project)
    with store.engine.connect() as connection:
        at = connection.execute(
            select(_interactions.c.seq).where(
                _interactions.c.project == project, _interactions.c.id == interaction.id
            )
        ).scalar_one()
        earlier = _near(
            connection, project, interaction, _interactions.c.seq < at, newest_first=True
        )
        later = _near(
            connection, project, interaction, _interactions.c.seq > at, newest_first=False
        )
    return [*reversed(earlier), interaction, *later]


def _near(
    connection: Connection,
    project: int,
    interaction: Interaction,
    side: ColumnElement[bool],
    *,
    newest_first: bool,
) -> list[Interaction]:
    """Return the turns of the same session on one side, the nearest first."""
    theirs = () if interaction.user is None else (_interactions.c.user == interaction.user,)
    query = (
        select(_interactions.c.body)
        .where(
            _interactions.c.project == project,
            _interactions.c.session == interaction.session,
            _interactions.c.deleted.is_(None),
            side,
            *theirs,
        )
        .order_by(_interactions.c.seq.desc() if newest_first else _interactions.c.seq.asc())
        .limit(_MOST_TURNS)
    )
    return [parse_interaction(body) for body in connection.execute(query).scalars()]


def _ancestors(store: Store, interaction: Interaction) -> list[Interaction]:
    results: list[Interaction] = []
    seen = {interaction.id}
    parent = interaction.parent
    while parent is not None and parent not in seen and len(results) < _MOST_TURNS:
        seen.add(parent)
        try:
            results.append(store.interaction(parent))
        except NotFound:
            break
        parent = results[-1].parent
    return results[::-1]


def _timestamp(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else timestamp(microseconds)

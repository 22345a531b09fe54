"""An interaction with all stored feedback, and its conversation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from backtalk.errors import Conflict, NotFound
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback
from backtalk.feedback.record import short_ids
from backtalk.store import schema
from backtalk.store.contents import stored_interaction
from backtalk.store.row_codec import optional_timestamp, timestamp
from backtalk.store.store import Store

_MAX_TURNS = 50

_interactions, _items = schema.interactions, schema.feedback


@dataclass(frozen=True)
class StoredFeedback:
    """Feedback record with the time of its arrival and deletion."""

    feedback: AnyFeedback
    received: datetime
    deleted: datetime | None


@dataclass(frozen=True)
class InteractionDetail:
    """Interaction with the time of its arrival and deletion, and all its feedback."""

    interaction: Interaction
    received: datetime
    deleted: datetime | None
    feedback: tuple[StoredFeedback, ...]
    """Feedback on the interaction, including deleted feedback."""


def get_detail(store: Store, id: str) -> InteractionDetail:  # noqa: A002
    """Return an interaction, deleted or not, with its feedback.

    Raises
    ------
    NotFound
        If there is none.
    """
    columns = ("received", "deleted", "body")
    with store.engine.connect() as connection:
        row = connection.execute(
            select(*(_interactions.c[name] for name in columns)).where(
                _interactions.c.project == store.project_id, _interactions.c.id == id
            )
        ).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no interaction {id!r} in project {store.project!r}",
                "Check the id and the project; purged interactions cannot be restored",
            )
        rows = connection.execute(
            select(*(_items.c[name] for name in columns))
            .where(_items.c.project == store.project_id, _items.c.interaction == id)
            .order_by(_items.c.seq)
        ).all()
    feedback = (
        StoredFeedback(
            parse_feedback(item.body), timestamp(item.received), optional_timestamp(item.deleted)
        )
        for item in rows
    )
    return InteractionDetail(
        stored_interaction(store.engine, store.project_id, row.body),
        timestamp(row.received),
        optional_timestamp(row.deleted),
        tuple(feedback),
    )


def conversation(store: Store, interaction: Interaction) -> list[Interaction]:
    """Return the session of an interaction in order of arrival, including the interaction itself.

    If the interaction names a user, only that user's turns are returned: two users may have
    sessions of the same name.

    Parameters
    ----------
    store : Store
        Store of the project.
    interaction : Interaction
        One turn. If it has no session, its chain of parents is returned before it.

    Returns
    -------
    list of Interaction
        At most 50 turns before and 50 after the interaction.
    """
    if interaction.session is None:
        return [*_ancestors(store, interaction), interaction]
    with store.engine.connect() as connection:
        seq = connection.execute(
            select(_interactions.c.seq).where(
                _interactions.c.project == store.project_id, _interactions.c.id == interaction.id
            )
        ).scalar_one()
        earlier = _nearest_turns(
            connection, store.project_id, interaction, _interactions.c.seq < seq, newest_first=True
        )
        later = _nearest_turns(
            connection, store.project_id, interaction, _interactions.c.seq > seq, newest_first=False
        )
    return [*reversed(earlier), interaction, *later]


def find_interaction(store: Store, text: str) -> str:
    """Return the id of an interaction.

    Parameters
    ----------
    store : Store
        Store of the project.
    text : str
        Id, a unique beginning of an id, or ``"last"`` for the interaction that was added last.

    Raises
    ------
    NotFound
        If there is none.
    Conflict
        If several ids have the beginning.
    """
    query = select(_interactions.c.id).where(
        _interactions.c.project == store.project_id, _interactions.c.deleted.is_(None)
    )
    if text == "last":
        query = query.order_by(_interactions.c.seq.desc()).limit(1)
    else:
        query = query.where(_interactions.c.id.startswith(text, autoescape=True)).limit(3)
    with store.engine.connect() as connection:
        ids = connection.execute(query).scalars().all()
    if not ids or not text:
        raise NotFound(
            f"There is no interaction {text!r} in project {store.project!r}",
            "Give the id of a completion, or a beginning of it; `last` is the newest interaction",
        )
    if len(ids) > 1 and text not in ids:
        raise Conflict(
            f"{text!r} is the beginning of several ids: {', '.join(short_ids(ids).values())}",
            "Give a longer beginning",
        )
    return text if text in ids else ids[0]


def _nearest_turns(
    connection: Connection,
    project_id: int,
    interaction: Interaction,
    side: ColumnElement[bool],
    *,
    newest_first: bool,
) -> list[Interaction]:
    """Return the turns of the same session on one side of an interaction, nearest first."""
    same_user = () if interaction.user is None else (_interactions.c.user == interaction.user,)
    query = (
        select(_interactions.c.body)
        .where(
            _interactions.c.project == project_id,
            _interactions.c.session == interaction.session,
            _interactions.c.deleted.is_(None),
            side,
            *same_user,
        )
        .order_by(_interactions.c.seq.desc() if newest_first else _interactions.c.seq.asc())
        .limit(_MAX_TURNS)
    )
    bodies = connection.execute(query).scalars().all()
    return [stored_interaction(connection, project_id, body) for body in bodies]


def _ancestors(store: Store, interaction: Interaction) -> list[Interaction]:
    ancestors: list[Interaction] = []
    seen = {interaction.id}
    parent = interaction.parent
    while parent is not None and parent not in seen and len(ancestors) < _MAX_TURNS:
        seen.add(parent)
        try:
            ancestors.append(store.interaction(parent))
        except NotFound:
            break
        parent = ancestors[-1].parent
    return ancestors[::-1]

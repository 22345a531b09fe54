"""Records as they stream in: of any project, in any order, each with an outcome of its own.

Where :meth:`Store.add` refuses feedback whose interaction is not kept, this lets it wait until the
interaction comes, and one record that does not fit does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Table, delete, func, select

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback, parse_interaction
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.inserts import Batch, insert_rows, project_number
from backtalk.store.row_codec import microseconds

Status = Literal["kept", "known", "waiting", "conflict", "refused"]

_AT_ONCE = 500
"""How many ids one query asks for."""

_WAITING = ("project", "id", "interaction", "annotator", "received", "body")


@dataclass(frozen=True)
class WriteResult:
    """What became of one record."""

    status: Status
    """``"kept"``: it is new. ``"known"``: it was there. ``"waiting"``: it is kept until its
    interaction comes. ``"conflict"``: its id is taken by another record. ``"refused"``: it does
    not fit its interaction."""
    reason: str = ""


_KEPT, _KNOWN, _WAITS = WriteResult("kept"), WriteResult("known"), WriteResult("waiting")


@dataclass(frozen=True)
class RejectedRecord:
    """Feedback that waited for an interaction which it then did not fit."""

    project: str
    body: str
    reason: str


class StreamWriter:
    """Takes records into a database, of all projects together in one transaction.

    Parameters
    ----------
    engine : Engine
        A store's.

    Examples
    --------
    >>> from backtalk.feedback import Annotator, Label
    >>> from backtalk.store import Store
    >>> talk = Interaction.of("Is it open?", "Yes.")
    >>> thumb = Label(interaction=talk.id, annotator=Annotator.human(), response="0", good=True)
    >>> with Store(":memory:") as store:
    ...     intake = StreamWriter(store.engine)
    ...     [outcome.status for outcome in intake.take([("default", thumb)])]
    ...     [outcome.status for outcome in intake.take([("default", talk)])]
    ...     store.case(talk.id).feedback == (thumb,)
    ['waiting']
    ['kept']
    True
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._projects: dict[str, int] = {}
        self.unfit: list[RejectedRecord] = []
        """Feedback that was dropped when its interaction came; for the caller to take out."""

    def take(self, records: Sequence[tuple[str, Interaction | AnyFeedback]]) -> list[WriteResult]:
        """Keep records; once this returns, they survive the death of the process.

        Parameters
        ----------
        records : Sequence[tuple[str, Interaction | AnyFeedback]]
            Each with the name of its project, in the order in which they came.

        Returns
        -------
        list of Outcome
            One a record. Interactions are kept or known by their id alone.
        """
        groups: dict[str, list[int]] = {}
        for index, (name, _) in enumerate(records):
            groups.setdefault(name, []).append(index)
        numbers = {name: self._number(name) for name in groups}
        outcomes: list[WriteResult] = [_KEPT] * len(records)
        unfit: list[RejectedRecord] = []
        with writing(self._engine) as connection:
            for name, places in groups.items():
                work = _Work(connection, name, numbers[name])
                result = work.take([records[index][1] for index in places])
                for index, outcome in zip(places, result, strict=True):
                    outcomes[index] = outcome
                unfit += work.unfit
        self.unfit += unfit
        return outcomes

    def join(self) -> int:
        """Join feedback that waits with interactions that came by another way.

        Returns
        -------
        int
            How much still waits, in all projects.
        """
        wait, interactions, projects = schema.waiting, schema.interactions, schema.projects
        ready = (
            select(wait.c.interaction, wait.c.project, projects.c.name)
            .join(
                interactions,
                (interactions.c.project == wait.c.project)
                & (interactions.c.id == wait.c.interaction),
            )
            .join(projects, projects.c.id == wait.c.project)
            .distinct()
            .limit(_AT_ONCE)
        )
        with self._engine.connect() as connection:
            results = connection.execute(ready).all()
            left = int(connection.execute(select(func.count()).select_from(wait)).scalar() or 0)
        if not results:
            return left
        with writing(self._engine) as connection:
            for number, name in {(row.project, row.name) for row in results}:
                work = _Work(connection, name, number)
                left -= work.join([row.interaction for row in results if row.project == number])
                self.unfit += work.unfit
        return left

    def _number(self, name: str) -> int:
        if name not in self._projects:
            self._projects[name] = project_number(self._engine, name)
        return self._projects[name]


class _Work:
    """One project's part of a transaction."""

    def __init__(self, connection: Connection, name: str, project: int) -> None:
        self._connection = connection
        self._name = name
        self._project = project
        self.unfit: list[RejectedRecord] = []

    def take(self, records: Sequence[Interaction | AnyFeedback]) -> list[WriteResult]:
        interactions = {r.id: r for r in records if isinstance(r, Interaction)}
        outcomes = self._add_talks(interactions)
        items = [record for record in records if not isinstance(record, Interaction)]
        judged = iter(self._add_items(items, interactions))
        if outcomes:
            self.join(list(outcomes))
        return [
            outcomes[record.id] if isinstance(record, Interaction) else next(judged)
            for record in records
        ]

    def join(self, interactions: Sequence[str]) -> int:
        """Move what waits for these interactions to them; return how much was moved."""
        wait = schema.waiting
        moved = 0
        for ids in _parts(interactions):
            where = (wait.c.project == self._project, wait.c.interaction.in_(ids))
            rows = self._connection.execute(
                select(wait.c.interaction, wait.c.body).where(*where).order_by(wait.c.seq)
            ).all()
            if not rows:
                continue
            talks = self._kept(schema.interactions, {row.interaction for row in rows})
            self._join(rows, {id_: parse_interaction(body) for id_, body in talks.items()})
            moved += self._connection.execute(delete(wait).where(*where)).rowcount
        return moved

    def _join(self, rows: Sequence[Any], interactions: dict[str, Interaction]) -> None:
        fitting = []
        for row in rows:
            item = parse_feedback(row.body)
            reason = _misfit(item, interactions[row.interaction])
            if reason is None:
                fitting.append(item)
            else:
                self.unfit.append(RejectedRecord(self._name, row.body, reason))
        self._insert((), fitting)

    def _add_talks(self, interactions: dict[str, Interaction]) -> dict[str, WriteResult]:
        if not interactions:
            return {}
        known = self._kept(schema.interactions, interactions)
        self._insert(
            [interaction for id_, interaction in interactions.items() if id_ not in known], ()
        )
        return {id_: _KNOWN if id_ in known else _KEPT for id_ in interactions}

    def _add_items(
        self, items: Sequence[AnyFeedback], interactions: dict[str, Interaction]
    ) -> list[WriteResult]:
        if not items:
            return []
        said = {item.id for item in items}
        known = self._kept(schema.waiting, said) | self._kept(schema.feedback, said)
        about = {item.interaction for item in items if item.interaction is not None}
        asked = interactions | self._asked(about - set(interactions))
        outcomes: list[WriteResult] = []
        new: list[AnyFeedback] = []
        early: list[AnyFeedback] = []
        for item in items:
            outcome = _judge(item, known.get(item.id), asked)
            if outcome.status in {"kept", "waiting"}:
                known[item.id] = item.to_json()
                (new if outcome.status == "kept" else early).append(item)
            outcomes.append(outcome)
        self._insert((), new)
        self._let_wait(early)
        return outcomes

    def _asked(self, ids: set[str]) -> dict[str, Interaction | None]:
        """Return the interactions that are kept, ``None`` for one that was deleted."""
        table = schema.interactions
        results: dict[str, Interaction | None] = {}
        for some in _parts(sorted(ids)):
            rows = self._connection.execute(
                select(table.c.id, table.c.body, table.c.deleted).where(
                    table.c.project == self._project, table.c.id.in_(some)
                )
            )
            for row in rows:
                results[row.id] = None if row.deleted is not None else parse_interaction(row.body)
        return results

    def _kept(self, table: Table, ids: Iterable[str]) -> dict[str, str]:
        """Return the bodies of those that are kept, by id."""
        results: dict[str, str] = {}
        for some in _parts(sorted(ids)):
            rows = self._connection.execute(
                select(table.c.id, table.c.body).where(
                    table.c.project == self._project, table.c.id.in_(some)
                )
            )
            results |= {row.id: row.body for row in rows}
        return results

    def _insert(self, interactions: Sequence[Interaction], items: Sequence[AnyFeedback]) -> None:
        batch = Batch(self._project)
        batch.add(interactions, items)
        batch.insert(self._connection)

    def _let_wait(self, items: Sequence[AnyFeedback]) -> None:
        received = microseconds(now())
        rows = [
            (self._project, i.id, i.interaction, i.annotator.id, received, i.to_json())
            for i in items
        ]
        insert_rows(self._connection, schema.waiting, _WAITING, rows)


def _judge(
    item: AnyFeedback, known: str | None, interactions: Mapping[str, Interaction | None]
) -> WriteResult:
    if known is not None:
        kept = parse_feedback(known)
        if kept.model_copy(update={"time": item.time}) == item:
            return _KNOWN
        return WriteResult("conflict", f"The id {item.id!r} is taken by another record")
    if item.interaction is None:
        return _KEPT
    if item.interaction not in interactions:
        return _WAITS
    interaction = interactions[item.interaction]
    if interaction is None:
        return WriteResult("refused", f"interaction: {item.interaction!r} was deleted")
    reason = _misfit(item, interaction)
    return _KEPT if reason is None else WriteResult("refused", reason)


def _misfit(item: AnyFeedback, interaction: Interaction) -> str | None:
    try:
        item.check(interaction)
    except RecordError as error:
        return str(error)
    return None


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))

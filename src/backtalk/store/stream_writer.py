"""Streaming writes: records of any project, in any order, each with its own result.

:meth:`Store.add` rejects feedback whose interaction is missing, and all records if one is invalid.
The stream writer stores such feedback as pending until its interaction arrives, and a record that
is rejected does not affect the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Table, bindparam, delete, func, select

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.contents import stored_interaction
from backtalk.store.engine import writing
from backtalk.store.inserts import InsertBatch, get_project_id
from backtalk.store.lookup import rows_by_id
from backtalk.store.row_codec import microseconds
from backtalk.store.row_inserts import insert_rows

WriteStatus = Literal["stored", "duplicate", "pending", "conflict", "rejected"]

_RESOLVED_AT_ONCE = 500
"""Maximum number of interactions whose pending feedback is stored in a transaction."""

_PENDING_COLUMNS = ("project", "id", "interaction", "annotator", "received", "body")


@dataclass(frozen=True)
class WriteResult:
    """Result of writing one record."""

    status: WriteStatus
    """``"stored"``: the record is new. ``"duplicate"``: it was in the store already.
    ``"pending"``: it is stored until its interaction arrives. ``"conflict"``: another record has
    its id. ``"rejected"``: it does not fit its interaction."""
    reason: str = ""


_STORED, _DUPLICATE, _PENDING = (
    WriteResult("stored"),
    WriteResult("duplicate"),
    WriteResult("pending"),
)


@dataclass(frozen=True)
class RejectedRecord:
    """Pending feedback that turned out not to fit its interaction."""

    project: str
    body: str
    reason: str


class StreamWriter:
    """Writer of records of all projects of a database, one transaction a call.

    Parameters
    ----------
    engine : Engine
        Database of the store.

    Examples
    --------
    >>> from backtalk.feedback import Annotator, Label
    >>> from backtalk.store import Store
    >>> interaction = Interaction.of("Are you open?", "Yes.")
    >>> label = Label(
    ...     interaction=interaction.id, annotator=Annotator.human(), response="0", good=True
    ... )
    >>> with Store(":memory:") as store:
    ...     writer = StreamWriter(store.engine)
    ...     [result.status for result in writer.write([("default", label)])]
    ...     [result.status for result in writer.write([("default", interaction)])]
    ...     store.case(interaction.id).feedback == (label,)
    ['pending']
    ['stored']
    True
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._project_ids: dict[str, int] = {}
        self.rejected: list[RejectedRecord] = []
        """Pending feedback that was rejected when its interaction arrived. The caller clears it."""

    def write(self, records: Sequence[tuple[str, Interaction | AnyFeedback]]) -> list[WriteResult]:
        """Write records durably.

        Parameters
        ----------
        records : Sequence[tuple[str, Interaction | AnyFeedback]]
            Pairs of the name of a project and a record, in order of arrival.

        Returns
        -------
        list of WriteResult
            Results in the order of the records. Interactions are duplicates by their id alone.
        """
        groups: dict[str, list[int]] = {}
        for index, (name, _) in enumerate(records):
            groups.setdefault(name, []).append(index)
        project_ids = {name: self._project_id(name) for name in groups}
        results: list[WriteResult] = [_STORED] * len(records)
        rejected: list[RejectedRecord] = []
        with writing(self._engine) as connection:
            for name, indices in groups.items():
                writer = _ProjectWriter(connection, name, project_ids[name])
                group = writer.write([records[index][1] for index in indices])
                for index, result in zip(indices, group, strict=True):
                    results[index] = result
                rejected += writer.rejected
        self.rejected += rejected
        return results

    def resolve_pending(self) -> int:
        """Store pending feedback whose interactions were added by other means.

        Returns
        -------
        int
            Number of records that are still pending, in all projects.
        """
        pending, interactions, projects = (
            schema.pending_feedback,
            schema.interactions,
            schema.projects,
        )
        ready = (
            select(pending.c.interaction, pending.c.project, projects.c.name)
            .join(
                interactions,
                (interactions.c.project == pending.c.project)
                & (interactions.c.id == pending.c.interaction),
            )
            .join(projects, projects.c.id == pending.c.project)
            .distinct()
            .limit(_RESOLVED_AT_ONCE)
        )
        total = select(func.count()).select_from(pending)
        with self._engine.connect() as connection:
            rows = connection.execute(ready).all()
            left = int(connection.execute(total).scalar() or 0)
        if not rows:
            return left
        with writing(self._engine) as connection:
            for project_id, name in {(row.project, row.name) for row in rows}:
                writer = _ProjectWriter(connection, name, project_id)
                left -= writer.resolve_pending(
                    [row.interaction for row in rows if row.project == project_id]
                )
                self.rejected += writer.rejected
        return left

    def _project_id(self, name: str) -> int:
        if name not in self._project_ids:
            self._project_ids[name] = get_project_id(self._engine, name)
        return self._project_ids[name]


class _ProjectWriter:
    """Writer of one project's records within a transaction."""

    def __init__(self, connection: Connection, name: str, project_id: int) -> None:
        self._connection = connection
        self._name = name
        self._project_id = project_id
        self.rejected: list[RejectedRecord] = []

    def write(self, records: Sequence[Interaction | AnyFeedback]) -> list[WriteResult]:
        interactions: dict[str, Interaction] = {}
        for record in records:
            if isinstance(record, Interaction):  # the first with an id, as among several batches
                interactions.setdefault(record.id, record)
        interaction_results = self._write_interactions(interactions)
        items = [record for record in records if not isinstance(record, Interaction)]
        feedback_results = iter(self._write_feedback(items, interactions))
        if interaction_results:
            self.resolve_pending(list(interaction_results))
        results = []
        for record in records:
            if isinstance(record, Interaction):
                results.append(interaction_results[record.id])
                interaction_results[record.id] = _DUPLICATE  # further ones with the id
            else:
                results.append(next(feedback_results))
        return results

    def resolve_pending(self, interactions: Sequence[str]) -> int:
        """Store the pending feedback of interactions; return the number of records resolved."""
        pending = schema.pending_feedback
        columns = ("seq", "interaction", "body")
        rows = sorted(
            rows_by_id(
                self._connection,
                pending,
                columns,
                self._project_id,
                interactions,
                key="interaction",
            )
        )
        if rows:
            self._store_pending([(interaction, body) for _, interaction, body in rows])
            where = (pending.c.project == self._project_id, pending.c.seq == bindparam("row"))
            self._connection.execute(
                delete(pending).where(*where), [{"row": seq} for seq, _, _ in rows]
            )
        return len(rows)

    def _store_pending(self, rows: Sequence[tuple[str, str]]) -> None:
        """Store pending feedback, as pairs of the interaction's id and the feedback's body."""
        ids = {id_ for id_, _ in rows}
        bodies = dict(self._read(schema.interactions, ("body",), ids))
        interactions = {id_: self._interaction(body) for id_, body in bodies.items()}
        valid = []
        for id_, body in rows:
            item = parse_feedback(body)
            reason = _check(item, interactions[id_])
            if reason is None:
                valid.append(item)
            else:
                self.rejected.append(RejectedRecord(self._name, body, reason))
        self._insert((), valid)

    def _write_interactions(self, interactions: dict[str, Interaction]) -> dict[str, WriteResult]:
        if not interactions:
            return {}
        known = {id_ for (id_,) in self._read(schema.interactions, (), interactions)}
        self._insert(
            [interaction for id_, interaction in interactions.items() if id_ not in known], ()
        )
        return {id_: _DUPLICATE if id_ in known else _STORED for id_ in interactions}

    def _write_feedback(
        self, items: Sequence[AnyFeedback], interactions: dict[str, Interaction]
    ) -> list[WriteResult]:
        if not items:
            return []
        ids = {item.id for item in items}
        known = dict(self._read(schema.pending_feedback, ("body",), ids))
        known |= dict(self._read(schema.feedback, ("body",), ids))
        referenced = {item.interaction for item in items if item.interaction is not None}
        available = interactions | self._read_interactions(referenced - set(interactions))
        results: list[WriteResult] = []
        new: list[AnyFeedback] = []
        early: list[AnyFeedback] = []
        for item in items:
            result = _classify(item, known.get(item.id), available)
            if result.status in {"stored", "pending"}:
                known[item.id] = item.to_json()
                (new if result.status == "stored" else early).append(item)
            results.append(result)
        self._insert((), new)
        self._insert_pending(early)
        return results

    def _read_interactions(self, ids: Iterable[str]) -> dict[str, Interaction | None]:
        """Return stored interactions by id, with ``None`` for those that were deleted."""
        return {
            id_: None if deleted is not None else self._interaction(body)
            for id_, deleted, body in self._read(schema.interactions, ("deleted", "body"), ids)
        }

    def _interaction(self, body: str) -> Interaction:
        return stored_interaction(self._connection, self._project_id, body)

    def _read(self, table: Table, columns: Sequence[str], ids: Iterable[str]) -> Iterator[Any]:
        """Yield the id and the columns of stored records."""
        names = ("id", *columns)
        return rows_by_id(self._connection, table, names, self._project_id, [*ids])

    def _insert(self, interactions: Sequence[Interaction], items: Sequence[AnyFeedback]) -> None:
        batch = InsertBatch(self._project_id)
        batch.add(interactions, items)
        batch.insert(self._connection)

    def _insert_pending(self, items: Sequence[AnyFeedback]) -> None:
        received = microseconds(now())
        rows = [
            (self._project_id, i.id, i.interaction, i.annotator.id, received, i.to_json())
            for i in items
        ]
        insert_rows(self._connection, schema.pending_feedback, _PENDING_COLUMNS, rows)


def _classify(
    item: AnyFeedback, known: str | None, interactions: Mapping[str, Interaction | None]
) -> WriteResult:
    """Return the result of writing feedback, given the stored body of the same id."""
    if known is not None:
        stored = parse_feedback(known)
        if stored.model_copy(update={"time": item.time}) == item:
            return _DUPLICATE
        return WriteResult("conflict", f"The id {item.id!r} is taken by another record")
    if item.interaction is None:
        return _STORED
    if item.interaction not in interactions:
        return _PENDING
    interaction = interactions[item.interaction]
    if interaction is None:
        return WriteResult("rejected", f"interaction: {item.interaction!r} was deleted")
    reason = _check(item, interaction)
    return _STORED if reason is None else WriteResult("rejected", reason)


def _check(item: AnyFeedback, interaction: Interaction) -> str | None:
    """Return the reason why feedback does not fit an interaction, ``None`` if it does."""
    try:
        item.check(interaction)
    except RecordError as error:
        return str(error)
    return None

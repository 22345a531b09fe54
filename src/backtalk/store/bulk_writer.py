"""Writer of many records: rows in blocks, and long transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, func, select

from backtalk.closable import Closable
from backtalk.feedback.case import Case
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.contents import LargeParts
from backtalk.store.inserts import AddResult
from backtalk.store.row_blocks import RowBlock, insert_block, make_block
from backtalk.store.row_codec import (
    FEEDBACK_COLUMNS,
    INTERACTION_COLUMNS,
    PairContent,
    feedback_row,
    interaction_row,
    microseconds,
    pair_rows,
)

CHUNK_CASES = 1_000
"""Number of cases of a chunk."""


class RecordChunk(NamedTuple):
    """Rows of interactions and of the feedback on them, as they are inserted."""

    interactions: RowBlock | None
    feedback: RowBlock | None
    parts: LargeParts | None = None
    """Large parts of the interactions."""


class ChunkBuilder:
    """Builder of a chunk from records of one project.

    Parameters
    ----------
    project_id : int
        Id of the project.
    """

    def __init__(self, project_id: int) -> None:
        self._project_id = project_id
        self._received = microseconds(now())
        self._interactions: list[tuple[Any, ...]] = []
        self._feedback: list[tuple[Any, ...]] = []
        self._parts = LargeParts(project_id)

    def __len__(self) -> int:
        """Return the number of interactions."""
        return len(self._interactions)

    def add(self, case: Case) -> None:
        """Add an interaction and its feedback."""
        self._interactions.append(
            interaction_row(self._project_id, case.interaction, self._received, self._parts)
        )
        for item in case.feedback:
            self._feedback.append(feedback_row(self._project_id, item, self._received))

    def add_pair(self, pair: PairContent) -> None:
        """Add the interaction and the preference of a pair."""
        interaction, preference = pair_rows(self._project_id, pair, self._received)
        self._interactions.append(interaction)
        self._feedback.append(preference)

    def build(self) -> RecordChunk:
        """Return the chunk."""
        interactions, feedback = self._interactions, self._feedback
        return RecordChunk(
            make_block(INTERACTION_COLUMNS, interactions) if interactions else None,
            make_block(FEEDBACK_COLUMNS, feedback) if feedback else None,
            self._parts or None,
        )


class BulkWriter(Closable):
    """Writer of chunks of records of one project.

    A transaction begins with the first chunk and ends with :meth:`commit`. Chunks that were not
    committed when the writer is closed are not stored.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    """

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id
        self._connection: Connection | None = None
        self._first_new = self._last_feedback() + 1
        self.added = AddResult()
        """Counts of the records written."""

    def write(self, chunk: RecordChunk) -> None:
        """Insert the records with new ids. Records with existing ids are left unchanged."""
        if self._connection is None:
            connection = self._engine.connect().execution_options(transaction="write")
            self._connection = connection
            connection.begin()
        if chunk.parts is not None:
            chunk.parts.insert(self._connection)
        interactions, known, _ = self._insert(self._connection, "interactions", chunk.interactions)
        feedback, known_feedback, repeated = self._insert(
            self._connection, "feedback", chunk.feedback
        )
        self.added += AddResult(interactions, feedback, known + known_feedback, repeated)

    def commit(self) -> None:
        """Make the chunks written so far durable."""
        if self._connection is not None:
            self._connection.commit()
            self.close()

    def close(self) -> None:
        """Undo what was not committed."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _insert(
        self, connection: Connection, table: str, block: RowBlock | None
    ) -> tuple[int, int, int]:
        """Insert a block; return the numbers of new, known and repeated records."""
        if block is None:
            return 0, 0, 0
        inserted = insert_block(connection, table, block)
        known = block.size - inserted
        repeated = 0
        if known and table == "feedback":
            repeated = known - self._count_stored_before(connection, block.column("id"))
        return inserted, known, repeated

    def _count_stored_before(self, connection: Connection, ids: list[str]) -> int:
        """Return how many of the ids were in the store when the writer was made."""
        table = schema.feedback
        rows = iter(ids)
        stored: set[str] = set()
        while batch := list(islice(rows, _MAX_IDS)):
            query = select(table.c.id).where(
                table.c.project == self._project_id,
                table.c.id.in_(batch),
                table.c.seq < self._first_new,
            )
            stored.update(connection.execute(query).scalars())
        return sum(id_ in stored for id_ in ids)

    def _last_feedback(self) -> int:
        table = schema.feedback
        query = select(func.max(table.c.seq)).where(table.c.project == self._project_id)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)


_MAX_IDS = 500
"""Maximum number of ids in a query."""


def make_chunks(cases: Iterable[Case], project_id: int) -> Iterator[RecordChunk]:
    """Yield the chunks of a project's cases.

    Raises
    ------
    RecordError
        If feedback does not fit its interaction.
    """
    stream = iter(cases)
    while batch := list(islice(stream, CHUNK_CASES)):
        builder = ChunkBuilder(project_id)
        for case in batch:
            for item in case.feedback:
                item.check(case.interaction)
            builder.add(case)
        yield builder.build()

"""Feedback by columns, straight into Arrow and NumPy: no record is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from backtalk.errors import UnknownName
from backtalk.store import schema
from backtalk.store.queries import batches, known_kinds

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 50_000
"""How many rows become one Arrow batch."""

NAMES = (
    "id",
    "interaction",
    "kind",
    "annotator",
    "annotator_kind",
    "aspect",
    "response",
    "other",
    "value",
    "confidence",
    "time",
    "received",
)
"""The columns there are.

``value`` is the number that the feedback comes down to: a rating moved to [0, 1]; 1 or 0 for a
label; for a preference the probability that ``response`` beats ``other`` (1, 0, 0.5 for a tie,
null for "both bad"); an outcome's score; the position of what was chosen. ``time`` and
``received`` are timestamps in UTC.
"""


class Columns:
    """The feedback of one project by columns. Made by :attr:`Store.columns`."""

    def __init__(self, engine: Engine, project: int) -> None:
        self._engine = engine
        self._project = project

    def batches(self, *names: str, kinds: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the columns as Arrow batches, at flat memory.

        Parameters
        ----------
        names
            Columns, of ``NAMES``; all by default.
        kinds : sequence of str, optional
            Only feedback of these kinds.

        Raises
        ------
        UnknownName
            For a column or kind that there is not.
        """
        import pyarrow as pa  # noqa: PLC0415 - loaded when a column is read

        wanted = names or NAMES
        for name in wanted:
            if name not in NAMES:
                raise UnknownName.among("column", name, NAMES)
        table = schema.feedback
        where = [table.c.project == self._project]
        if (chosen := known_kinds(kinds)) is not None:
            where.append(table.c.kind.in_(chosen))
        columns = [table.c[name] for name in wanted]
        arrow = pa.schema([(name, _arrow_type(pa, name)) for name in wanted])
        for rows in batches(self._engine, table, columns, *where, size=BATCH):
            _, *values = zip(*rows, strict=True)
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(values, arrow, strict=True)
            ]
            yield pa.record_batch(arrays, schema=arrow)

    def table(self, *names: str, kinds: Sequence[str] | None = None) -> pa.Table:
        """Return the columns as one Arrow table. See :meth:`batches`."""
        import pyarrow as pa  # noqa: PLC0415

        wanted = names or NAMES
        arrow = pa.schema([(name, _arrow_type(pa, name)) for name in wanted])
        return pa.Table.from_batches(self.batches(*wanted, kinds=kinds), schema=arrow)

    def arrays(self, *names: str, kinds: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return the columns as NumPy arrays; a missing number is NaN. See :meth:`batches`."""
        table = self.table(*names, kinds=kinds)
        return {
            name: np.asarray(table[name].to_numpy(zero_copy_only=False))
            for name in table.column_names
        }


def _arrow_type(pa: Any, name: str) -> Any:
    if name in {"value", "confidence"}:
        return pa.float64()
    if name in {"time", "received"}:
        return pa.timestamp("us", tz="UTC")
    if name in {"kind", "annotator_kind", "aspect", "annotator"}:
        return pa.dictionary(pa.int32(), pa.string())
    return pa.string()

"""Feedback as Arrow and NumPy columns, without building records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from backtalk.errors import UnknownName
from backtalk.store import schema
from backtalk.store.queries import check_kinds, read_batches

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

BATCH_SIZE = 50_000
"""Rows per Arrow batch."""

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
"""Names of the columns.

``value`` is the feedback as a number: a rating scaled to [0, 1]; 1 or 0 for a label; for a
preference the probability that ``response`` beats ``other`` (1, 0, 0.5 for a tie, null for "both
bad"); the score of an outcome; the position of the chosen response. ``time`` and ``received`` are
timestamps in UTC.
"""


class Columns:
    """Feedback of a project as columns. Obtained as :attr:`Store.columns`."""

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id

    def batches(self, *names: str, kinds: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the columns as Arrow batches, with constant memory.

        Parameters
        ----------
        *names : str
            Names of columns, from ``NAMES``. Default: all.
        kinds : sequence of str, optional
            Kinds of feedback. Default: all.

        Raises
        ------
        UnknownName
            If there is no such column or kind.
        """
        import pyarrow as pa  # noqa: PLC0415 - loaded when a column is read

        selected = names or NAMES
        for name in selected:
            if name not in NAMES:
                raise UnknownName.among("column", name, NAMES)
        table = schema.feedback
        where = [table.c.project == self._project_id]
        if (known := check_kinds(kinds)) is not None:
            where.append(table.c.kind.in_(known))
        columns = [table.c[name] for name in selected]
        arrow = pa.schema([(name, _arrow_type(pa, name)) for name in selected])
        for rows in read_batches(self._engine, table, columns, *where, size=BATCH_SIZE):
            _, *values = zip(*rows, strict=True)
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(values, arrow, strict=True)
            ]
            yield pa.record_batch(arrays, schema=arrow)

    def table(self, *names: str, kinds: Sequence[str] | None = None) -> pa.Table:
        """Return the columns as one Arrow table. See :meth:`batches`."""
        import pyarrow as pa  # noqa: PLC0415

        selected = names or NAMES
        arrow = pa.schema([(name, _arrow_type(pa, name)) for name in selected])
        return pa.Table.from_batches(self.batches(*selected, kinds=kinds), schema=arrow)

    def arrays(self, *names: str, kinds: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return the columns as NumPy arrays; a missing number is NaN. See :meth:`batches`."""
        import numpy as np  # noqa: PLC0415 - loaded when a column is read

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

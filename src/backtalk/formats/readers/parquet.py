"""Reader of Parquet files, in batches."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic_core import to_jsonable_python

from backtalk.formats.readers.row import RejectedRow, Row

_BATCH_ROWS = 1_000


def parquet_rows(stream: BinaryIO, source: str) -> Iterator[Row | RejectedRow]:
    """Yield the rows of a Parquet file as JSON data: a time becomes text, NaN becomes null."""
    import pyarrow as pa  # noqa: PLC0415 - only needed for Parquet files
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    number = 0
    try:
        file = pq.ParquetFile(stream)
        is_json = all(_is_json(pa, field.type) for field in file.schema_arrow)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for data in _nan_to_null(pa, batch).to_pylist():
                number += 1
                row = data if is_json else to_jsonable_python(data, bytes_mode="base64")
                yield Row(source, number, row)
    except pa.ArrowException as error:
        problem = f"damaged after row {number}" if number else "not a Parquet file"
        yield RejectedRow(source, number + 1 if number else 0, f"{problem}: {error}", "")


def _is_json(pa: Any, kind: Any) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_json(pa, kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_json(pa, field.type) for field in kind)
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def _nan_to_null(pa: Any, batch: Any) -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415

    for i, field in enumerate(batch.schema):
        if pa.types.is_floating(field.type):
            column = batch.column(i)
            cleaned = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
            batch = batch.set_column(i, field, cleaned)
    return batch

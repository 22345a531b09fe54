"""Reader of Parquet files, in batches."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from backtalk.errors import RecordError
from backtalk.formats.readers.arrow import has_special_number, make_converter, nan_to_null
from backtalk.formats.readers.conversations import CONVERSATION_START, read_conversations
from backtalk.formats.readers.row import RejectedRow, Row

_BATCH_ROWS = 1_000
_BUFFER_BYTES = 1 << 15


def parquet_rows(stream: BinaryIO, source: str) -> Iterator[Row | RejectedRow]:
    """Yield the rows of a Parquet file as JSON data.

    A time becomes text, NaN null, and a conversation written as text a list of messages.
    """
    import pyarrow as pa  # noqa: PLC0415 - only needed for Parquet files
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    number = 0
    try:
        file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        convert = make_converter(file.schema_arrow)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            texts = _conversation_columns(batch)
            special = any(has_special_number(column) for column in batch.columns)
            for data in batch.to_pylist():
                number += 1
                row = data if convert is None else convert(data)
                if not (special or texts):
                    yield Row(source, number, row)
                    continue
                try:
                    row = nan_to_null(row) if special else row
                    yield Row(source, number, read_conversations(row, texts) if texts else row)
                except (RecordError, ValueError) as error:
                    yield RejectedRow(source, number, str(error), row)
    except pa.ArrowException as error:
        problem = f"damaged after row {number}" if number else "not a Parquet file"
        yield RejectedRow(source, number + 1 if number else 0, f"{problem}: {error}", "")


def _conversation_columns(batch: Any) -> list[str]:
    """Return the text columns of a batch in which some text begins as a list."""
    import pyarrow as pa  # noqa: PLC0415 - only needed for Parquet files
    import pyarrow.compute as pc  # noqa: PLC0415

    return [
        field.name
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if (pa.types.is_string(field.type) or pa.types.is_large_string(field.type))
        and pc.any(pc.match_substring_regex(column, CONVERSATION_START)).as_py()
    ]

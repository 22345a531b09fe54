"""Writers of export files: JSON lines, plain or compressed, and Parquet."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from pydantic_core import to_json

from backtalk.errors import BacktalkError
from backtalk.formats.exporters.format import ExportFormat, ExportRow

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
_BATCH = 5_000
"""Number of rows that are written to Parquet at a time."""


class RowWriter(Protocol):
    """Writer of rows."""

    def write(self, row: ExportRow) -> str | None:
        """Write a row, or return the reason why the file cannot hold it."""
        ...


@contextmanager
def open_writer(path: Path | str, layout: ExportFormat) -> Iterator[RowWriter]:
    """Open a file for writing; it gets its name when it is complete.

    Raises
    ------
    BacktalkError
        If its name has no known ending, or its folder does not exist.
    """
    if str(path) == "-":
        yield _JsonLinesWriter(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(path)
    ending = next((item for item in _ENDINGS if path.name.lower().endswith(item)), None)
    if ending is None:
        raise BacktalkError(
            f"The name {path} has no known ending", f"Use one of {', '.join(_ENDINGS)}"
        )
    if not path.parent.is_dir():
        raise BacktalkError(f"There is no folder {path.parent}", "Create it first")
    partial = path.with_name(f".{path.name}.partial")
    try:
        if ending == ".parquet":
            with _open_parquet(partial, layout) as table:
                yield table
        else:
            with _open_binary(partial, ending) as file:
                yield _JsonLinesWriter(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _open_binary(path: Path, ending: str) -> Iterator[BinaryIO]:
    if ending.endswith(".gz"):
        with gzip.open(path, "wb", compresslevel=6) as compressed:
            yield compressed  # type: ignore[misc]
    elif ending.endswith(".zst"):
        import zstandard  # noqa: PLC0415 - rarely needed

        with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as stream:
            yield stream
    else:
        with path.open("wb") as file:
            yield file


class _JsonLinesWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: ExportRow) -> None:
        self._file.write(to_json(row) + b"\n")


@contextmanager
def _open_parquet(path: Path, layout: ExportFormat) -> Iterator[_ParquetWriter]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import, rarely needed

    schema = _schema(layout)
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        table = _ParquetWriter(file, schema)
        yield table
        table.flush()


class _ParquetWriter:
    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._is_backtalk_layout = "body" in schema.names
        self._rows: list[ExportRow] = []

    def write(self, row: ExportRow) -> str | None:
        if self._is_backtalk_layout:
            self._rows += _record_rows(row)
        elif _is_plain(row):
            self._rows.append(row)
        else:
            return "a message with more than text, which only JSON lines can hold"
        if len(self._rows) >= _BATCH:
            self.flush()
        return None

    def flush(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - slow to import, rarely needed

        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _is_plain(value: Any) -> bool:
    """Return true if a value consists of texts, flags and plain messages only."""
    if isinstance(value, dict):
        if "role" in value:
            return value.keys() == {"role", "content"} and isinstance(value["content"], str)
        return "tools" not in value and all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if isinstance(value, list) else True


def _record_rows(row: ExportRow) -> Iterator[ExportRow]:
    """Yield a row of Backtalk's own layout as one row per record."""
    if "interaction" in row:
        yield {"record": "interaction", "body": to_json(row["interaction"]).decode()}
    for item in row["feedback"]:
        yield {"record": "feedback", "body": to_json(item).decode()}


def _schema(layout: ExportFormat) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, rarely needed

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    types = {
        "text": pa.string(),
        "flag": pa.bool_(),
        "texts": pa.list_(pa.string()),
        "flags": pa.list_(pa.bool_()),
        "messages": messages,
        "input": pa.struct([("messages", messages)]),
    }
    return pa.schema([(name, types[kind]) for name, kind in layout.columns.items()])

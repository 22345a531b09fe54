"""Files that rows are written to: JSON lines, packed or not, and Parquet."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from pydantic_core import to_json

from backtalk.errors import BacktalkError
from backtalk.formats.exporters.format import Export, Row

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
_BATCH = 5_000
"""How many rows are written to Parquet at a time."""


class Writer(Protocol):
    """What rows are written to."""

    def write(self, row: Row) -> str | None:
        """Write a row, or return the reason why it has no place there."""
        ...


@contextmanager
def writer(to: Path | str, layout: Export) -> Iterator[Writer]:
    """Open a file for writing; it takes its name only once it is whole.

    Raises
    ------
    BacktalkError
        If its name has no known ending, or there is no folder for it.
    """
    if str(to) == "-":
        yield _Lines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(to)
    ending = next((each for each in _ENDINGS if path.name.lower().endswith(each)), None)
    if ending is None:
        raise BacktalkError(
            f"{path} has no ending that says how to write it", f"Use {', '.join(_ENDINGS)}"
        )
    if not path.parent.is_dir():
        raise BacktalkError(f"There is no folder {path.parent}", "Make it first")
    partial = path.with_name(f".{path.name}.partial")
    try:
        if ending == ".parquet":
            with _parquet(partial, layout) as table:
                yield table
        else:
            with _opened(partial, ending) as file:
                yield _Lines(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, ending: str) -> Iterator[BinaryIO]:
    if ending.endswith(".gz"):
        with gzip.open(path, "wb", compresslevel=6) as packed:
            yield packed  # type: ignore[misc]
    elif ending.endswith(".zst"):
        import zstandard  # noqa: PLC0415 - rarely needed

        with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as stream:
            yield stream
    else:
        with path.open("wb") as file:
            yield file


class _Lines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(to_json(row) + b"\n")


@contextmanager
def _parquet(path: Path, layout: Export) -> Iterator[_Parquet]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import, rarely needed

    schema = _schema(layout)
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        table = _Parquet(file, schema)
        yield table
        table.flush()


class _Parquet:
    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._whole_records = "body" in schema.names
        self._rows: list[Row] = []

    def write(self, row: Row) -> str | None:
        if self._whole_records:
            self._rows += _records(row)
        elif _fits(row):
            self._rows.append(row)
        else:
            return "a message with more than text, which only JSON lines have a place for"
        if len(self._rows) >= _BATCH:
            self.flush()
        return None

    def flush(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - slow to import, rarely needed

        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _fits(value: Any) -> bool:
    """Whether there is nothing in it but texts, flags and plain messages."""
    if isinstance(value, dict):
        if "role" in value:
            return value.keys() == {"role", "content"} and isinstance(value["content"], str)
        return "tools" not in value and all(map(_fits, value.values()))
    return all(map(_fits, value)) if isinstance(value, list) else True


def _records(row: Row) -> Iterator[Row]:
    """Return a row of Backtalk's own layout as rows of one record each."""
    if "interaction" in row:
        yield {"record": "interaction", "body": to_json(row["interaction"]).decode()}
    for item in row["feedback"]:
        yield {"record": "feedback", "body": to_json(item).decode()}


def _schema(layout: Export) -> pa.Schema:
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

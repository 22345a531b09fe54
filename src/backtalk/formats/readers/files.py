"""Input files, folders and standard input as streams of decompressed bytes, with progress."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from backtalk.errors import BacktalkError

if TYPE_CHECKING:
    import zstandard

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".eval")
"""File name endings that are read, also followed by one of ``COMPRESSED_ENDINGS``."""
COMPRESSED_ENDINGS = (".gz", ".zst")
REJECTED = ".rejected.jsonl"
"""File name ending of rejected rows."""
STDIN = "stdin"
"""Name of standard input, in place of a file name."""

READ_ERRORS = (EOFError, OSError, zlib.error)
"""Errors raised by a file that is truncated, damaged or not readable."""

Progress = Callable[[int, int | None], None]
"""Callback with the number of bytes read from disk, and the total if it is known."""

_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True)
class Source:
    """Input to read rows from."""

    name: str
    """File name, or ``"stdin"``."""
    path: Path | None
    """Path of the file; ``None`` for standard input."""

    @property
    def ending(self) -> str:
        """Ending that tells the file type, in lower case; empty if there is none."""
        suffixes = Path(self.name.lower()).suffixes
        if suffixes and suffixes[-1] in COMPRESSED_ENDINGS:
            suffixes.pop()
        return suffixes[-1] if suffixes and suffixes[-1] in ENDINGS else ""


def find_sources(path: str | Path) -> list[Source]:
    """Return the inputs at a path: a file, the files of a folder, or standard input for ``"-"``.

    A folder is searched with its subfolders, in order of name, for files with a known ending;
    hidden files and files of rejected rows are skipped.

    Raises
    ------
    BacktalkError
        If there is nothing to read.
    """
    if str(path) == "-":
        return [Source(STDIN, None)]
    path = Path(path)
    if path.is_dir():
        inputs = [
            Source(str(file), file) for file in sorted(path.rglob("*")) if _is_input(file, path)
        ]
        if not inputs:
            raise BacktalkError(
                f"The folder {path} has no file to read",
                f"Files are read if their names end in {', '.join(ENDINGS)}, also followed by "
                f"{' or '.join(COMPRESSED_ENDINGS)}",
            )
        return inputs
    if not path.exists():
        raise BacktalkError(
            f"There is no file {path}", "Name a file, a folder, or - for standard input"
        )
    return [Source(str(path), path)]


def _is_input(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    source = Source(str(file), file)
    return (
        bool(source.ending) and not hidden and not file.name.endswith(REJECTED) and file.is_file()
    )


class Meter:
    """Counter of bytes read that reports progress."""

    def __init__(self, report: Progress | None, inputs: list[Source]) -> None:
        self._report = report
        self._done = 0
        known = all(source.path is not None for source in inputs)
        self._total = sum(s.path.stat().st_size for s in inputs if s.path) if known else None

    def add(self, count: int) -> None:
        """Add a number of bytes."""
        self._done += count
        if self._report is not None:
            # The footer of a Parquet file is read more than once.
            done = self._done if self._total is None else min(self._done, self._total)
            self._report(done, self._total)


class _Binary(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _MeteredFile(io.RawIOBase):
    """File that reports the bytes read to a meter."""

    def __init__(self, file: _Binary, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        count = self._file.readinto(buffer)
        if count:
            self._meter.add(count)
        return count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _ZstandardReader(io.RawIOBase):
    """Decompressed content of a Zstandard file; a truncated file raises an error."""

    def __init__(self, compressed: BinaryIO) -> None:
        import zstandard  # noqa: PLC0415 - only needed for such files

        self._zstandard = zstandard
        self._compressed = compressed
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._decompressed = memoryview(b"")
        self._remainder = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._decompressed:
            chunk = self._remainder or self._compressed.read(_BUFFER_BYTES)
            self._remainder = b""
            if not chunk:
                if self._frame is not None:
                    raise EOFError("the Zstandard frame is not complete")
                return 0
            if self._frame is None:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._decompressed = memoryview(self._frame.decompress(chunk))
            except self._zstandard.ZstdError as error:
                raise OSError(f"not a Zstandard frame: {error}") from None
            if self._frame.eof:
                self._remainder = self._frame.unused_data
                self._frame = None
        count = min(len(buffer), len(self._decompressed))
        buffer[:count] = self._decompressed[:count]
        self._decompressed = self._decompressed[count:]
        return count


@contextmanager
def open_source(source: Source, meter: Meter) -> Iterator[io.BufferedReader[Any]]:
    """Open an input for reading; compressed content is recognised by its first bytes."""
    file: Any = sys.stdin.buffer if source.path is None else source.path.open("rb", buffering=0)
    try:
        stream: io.BufferedReader[Any] = io.BufferedReader(_MeteredFile(file, meter), _BUFFER_BYTES)
        magic = stream.peek(4)[:4]
        if magic.startswith(b"\x1f\x8b"):
            decompressed: Any = gzip.GzipFile(fileobj=stream)
            stream = io.BufferedReader(decompressed, _BUFFER_BYTES)
        elif magic == b"\x28\xb5\x2f\xfd":
            stream = io.BufferedReader(_ZstandardReader(stream), _BUFFER_BYTES)
        yield stream
    finally:
        if isinstance(file, io.RawIOBase):
            file.close()

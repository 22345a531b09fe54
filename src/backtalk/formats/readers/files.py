"""Files, folders and standard input as streams of bytes, unpacked, and counted as they are read."""

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

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""The endings of files that are read, each perhaps followed by one of ``PACKED``."""
PACKED = (".gz", ".zst")
REJECTED = ".rejected.jsonl"
"""The ending of the files in which bad rows are set aside."""
STDIN = "stdin"
"""The name of standard input where a file's name would stand."""

DAMAGE = (EOFError, OSError, zlib.error)
"""What is raised by a file that is cut off, damaged or cannot be read."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes read of the files as they lie on the disk, and their total if known."""

_BUFFER = 1 << 18


@dataclass(frozen=True)
class Source:
    """One input to read rows from."""

    name: str
    path: Path | None
    """``None`` for standard input."""

    @property
    def ending(self) -> str:
        """The ending that says how the rows are written, in lower case; empty if none does."""
        suffixes = Path(self.name.lower()).suffixes
        if suffixes and suffixes[-1] in PACKED:
            suffixes.pop()
        return suffixes[-1] if suffixes and suffixes[-1] in ENDINGS else ""


def sources(path: str | Path) -> list[Source]:
    """Return what is to be read: a file, the files of a folder, or standard input for ``"-"``.

    A folder is searched with its subfolders, in order of name, for files with a known ending;
    hidden files and files of rejected rows are passed over.

    Raises
    ------
    BacktalkError
        If there is nothing there to read.
    """
    if str(path) == "-":
        return [Source(STDIN, None)]
    path = Path(path)
    if path.is_dir():
        results = [
            Source(str(file), file) for file in sorted(path.rglob("*")) if _counts(file, path)
        ]
        if not results:
            raise BacktalkError(
                f"There is no file to read in the folder {path}",
                f"Files are read whose names end in {', '.join(ENDINGS)}, plain or with "
                f"{' or '.join(PACKED)} after it",
            )
        return results
    if not path.exists():
        raise BacktalkError(
            f"There is no file {path}", "Give a file, a folder, or - for standard input"
        )
    return [Source(str(path), path)]


def _counts(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    source = Source(str(file), file)
    return (
        bool(source.ending) and not hidden and not file.name.endswith(REJECTED) and file.is_file()
    )


class Meter:
    """Counts the bytes that are read and reports them."""

    def __init__(self, report: Progress | None, inputs: list[Source]) -> None:
        self._report = report
        self._done = 0
        known = all(source.path is not None for source in inputs)
        self._total = sum(s.path.stat().st_size for s in inputs if s.path) if known else None

    def add(self, count: int) -> None:
        """Count bytes that were read."""
        self._done += count
        if self._report is not None:
            # A Parquet file's footer is read more than once.
            done = self._done if self._total is None else min(self._done, self._total)
            self._report(done, self._total)


class _Binary(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _Counted(io.RawIOBase):
    """A file whose reading is counted."""

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


class _Unzstd(io.RawIOBase):
    """The content of a Zstandard file. One that is cut off is an error, not its end."""

    def __init__(self, packed: BinaryIO) -> None:
        import zstandard  # noqa: PLC0415 - loaded when such a file is read

        self._zstandard = zstandard
        self._packed = packed
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = memoryview(b"")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            chunk = self._rest or self._packed.read(_BUFFER)
            self._rest = b""
            if not chunk:
                if self._frame is not None:
                    raise EOFError("the Zstandard frame is not complete")
                return 0
            if self._frame is None:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._ready = memoryview(self._frame.decompress(chunk))
            except self._zstandard.ZstdError as error:
                raise OSError(f"not a Zstandard frame: {error}") from None
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


@contextmanager
def opened(source: Source, meter: Meter) -> Iterator[io.BufferedReader[Any]]:
    """Open an input for reading, unpacked if it is packed, which its first bytes tell."""
    file: Any = sys.stdin.buffer if source.path is None else source.path.open("rb", buffering=0)
    try:
        stream: io.BufferedReader[Any] = io.BufferedReader(_Counted(file, meter), _BUFFER)
        magic = stream.peek(4)[:4]
        if magic.startswith(b"\x1f\x8b"):
            packed: Any = gzip.GzipFile(fileobj=stream)
            stream = io.BufferedReader(packed, _BUFFER)
        elif magic == b"\x28\xb5\x2f\xfd":
            stream = io.BufferedReader(_Unzstd(stream), _BUFFER)
        yield stream
    finally:
        if isinstance(file, io.RawIOBase):
            file.close()

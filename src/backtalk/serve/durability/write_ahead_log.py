"""Write-ahead log on disk: records in order of arrival that are not in the store yet.

Every record is appended here first. An appended line survives the death of the process, and after
``sync`` the death of the machine. Lines that are in the store are removed about a second later.

Each process has its own folder, protected by a lock that ends with the process. The log of a killed
process is recognised by its free lock; another process then writes it to the store.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from backtalk.errors import BacktalkError
from backtalk.feedback.record import new_id

_LOCK = "lock"
_POSITION = "position"
_POSITION_WIDTH = 40
_MAKE_ROOM = "Make room on the disk, or bring the store back"


class WriteAheadLogFull(BacktalkError):
    """The write-ahead log has reached its size limit, or the disk is full."""


class LogPosition(NamedTuple):
    """Position of a line in the log."""

    segment: int
    offset: int
    """Byte offset in the segment file."""


@dataclass(frozen=True)
class LogLine:
    """Line of the log."""

    start: LogPosition
    end: LogPosition
    """Position of the next line."""
    text: bytes | None
    """Content without the checksum; ``None`` if the line is damaged, because the machine died while
    it was written."""


class WriteAheadLog:
    """Append-only log of one process, split into segment files.

    Parameters
    ----------
    folder : Path
        Folder of the log; created if it does not exist.
    segment_bytes : int, default 8000000
        Size in bytes after which a new segment file is started.
    max_bytes : int, default 4000000000
        Maximum size of all segment files in bytes.

    Raises
    ------
    BlockingIOError
        If another process holds the lock.
    """

    def __init__(
        self, folder: Path, *, segment_bytes: int = 8_000_000, max_bytes: int = 4_000_000_000
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise
        self._position_file = os.open(
            folder / _POSITION, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._files: dict[int, int] = {}
        """File descriptors of segments that may not be synced yet, by segment."""
        self._sizes = {number: path.stat().st_size for number, path in _segments(folder)}
        self._read_position = self._load_read_position()
        self._write_position = self._read_position
        self._start_segment(max([self._read_position.segment, *self._sizes]) + 1)

    @property
    def backlog(self) -> int:
        """Number of bytes that are not in the store yet."""
        with self._mutex:
            return sum(self._sizes.values()) - self._read_position.offset

    @property
    def drained(self) -> bool:
        """If true, all lines are in the store."""
        return self.backlog <= 0

    def append(self, texts: Sequence[bytes]) -> list[LogPosition]:
        """Append lines atomically and return their positions.

        The lines survive the death of the process, and after :meth:`sync` that of the machine.

        Raises
        ------
        WriteAheadLogFull
            If the size limit is reached or the disk is full.
        """
        lines = [b"%08x %b\n" % (crc32(text), text) for text in texts]
        data = b"".join(lines)
        with self._mutex:
            if sum(self._sizes.values()) + len(data) > self._max_bytes:
                raise WriteAheadLogFull(
                    f"The write-ahead log {self.folder} has reached its limit of "
                    f"{self._max_bytes:,} bytes",
                    "Bring the store back, or raise max_log_bytes",
                )
            if self._write_position.offset > self._segment_bytes:
                self._start_segment(self._write_position.segment + 1)
            segment, start = self._write_position
            self._write(data, start)
            self._write_position = LogPosition(segment, start + len(data))
            self._sizes[segment] = self._write_position.offset
        positions = []
        for line in lines:
            positions.append(LogPosition(segment, start))
            start += len(line)
        return positions

    def read(self, *, max_lines: int = 1_000, max_bytes: int = 4_000_000) -> list[LogLine]:
        """Return the next lines that are not in the store."""
        with self._mutex:
            at, until = self._read_position, self._write_position
            sizes = dict(self._sizes)
        results: list[LogLine] = []
        for segment in sorted(number for number in sizes if number >= at.segment):
            start = at.offset if segment == at.segment else 0
            stop = until.offset if segment == until.segment else sizes[segment]
            for line in _read_lines(self._path(segment), segment, start, stop):
                results.append(line)
                max_bytes -= line.end.offset - line.start.offset
                if len(results) == max_lines or max_bytes <= 0:
                    return results
            if results:
                return results
        return results

    def advance(self, end: LogPosition) -> None:
        """Mark all lines before ``end`` as stored."""
        with self._mutex:
            for number in [number for number in self._sizes if number < end.segment]:
                self._remove_segment(number)
            self._read_position = end
            self._save_read_position()

    def compact(self) -> None:
        """Remove the stored lines, if all lines are stored."""
        with self._mutex:
            at = self._read_position
            if at.offset and sum(self._sizes.values()) == at.offset:
                self._start_segment(self._write_position.segment + 1)
                for number in [n for n in self._sizes if n < self._write_position.segment]:
                    self._remove_segment(number)
                self._read_position = self._write_position
                self._save_read_position()

    def sync(self) -> None:
        """Flush all appended lines to disk with ``fsync``."""
        with self._mutex:
            copies = {segment: os.dup(file) for segment, file in self._files.items()}
        copies[-1] = os.open(self.folder, os.O_RDONLY)
        try:
            for file in copies.values():
                os.fsync(file)
        finally:
            for file in copies.values():
                os.close(file)
        with self._mutex:
            for segment in copies:
                if segment != self._write_position.segment:
                    self._close_segment(segment)

    def close(self) -> None:
        """Close the log, and delete it if all lines are stored."""
        if self.drained:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.sync()
        for file in (*self._files.values(), self._position_file, self._lock):
            os.close(file)

    def _load_read_position(self) -> LogPosition:
        """Return the position of the first line that may not be stored."""
        fields = os.pread(self._position_file, _POSITION_WIDTH, 0).split()
        at = LogPosition(int(fields[0]), int(fields[1])) if len(fields) == 2 else LogPosition(0, 0)
        for number in [number for number in self._sizes if number < at.segment]:
            self._remove_segment(number)
        if self._sizes.get(at.segment, -1) >= at.offset:
            return at
        # The segment was removed before the position was saved, or the machine died before the
        # segment reached the disk.
        return LogPosition(min(self._sizes, default=0), 0)

    def _save_read_position(self) -> None:
        text = b"%d %d" % self._read_position
        os.pwrite(self._position_file, text.ljust(_POSITION_WIDTH), 0)

    def _start_segment(self, segment: int) -> None:
        file = os.open(
            self._path(segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._files[segment] = file
        self._sizes[segment] = 0
        self._write_position = LogPosition(segment, 0)

    def _write(self, data: bytes, start: int) -> None:
        try:
            count = os.write(self._files[self._write_position.segment], data)
        except OSError as error:
            raise WriteAheadLogFull(
                f"{self.folder} cannot be written: {error}", _MAKE_ROOM
            ) from error
        if count < len(data):
            os.truncate(self._path(self._write_position.segment), start)
            raise WriteAheadLogFull(f"The disk of {self.folder} is full", _MAKE_ROOM)

    def _remove_segment(self, segment: int) -> None:
        self._close_segment(segment)
        self._path(segment).unlink(missing_ok=True)
        self._sizes.pop(segment, None)

    def _close_segment(self, segment: int) -> None:
        file = self._files.pop(segment, None)
        if file is not None:
            os.close(file)

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:012d}.log"


def open_own_log(root: Path, *, max_bytes: int) -> WriteAheadLog:
    """Create the log of this process in the folder that holds the logs of all processes."""
    while True:
        try:
            return WriteAheadLog(root / new_id(), max_bytes=max_bytes)
        except BlockingIOError:
            continue  # another process that looks for orphaned logs has locked it first


def orphaned_logs(root: Path) -> Iterator[WriteAheadLog]:
    """Yield the logs of dead processes, each open and locked. The caller closes them."""
    for folder in sorted(root.glob("*")):
        if not (folder / _LOCK).exists():
            continue
        try:
            yield WriteAheadLog(folder)
        except OSError:
            continue  # its process is alive, or another process has just adopted it


def _segments(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem), path) for path in folder.glob("*.log"))


def _read_lines(path: Path, segment: int, start: int, stop: int) -> Iterator[LogLine]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop:
            raw = file.readline()
            if not raw:
                return
            end = start + len(raw)
            yield LogLine(LogPosition(segment, start), LogPosition(segment, end), _decode(raw))
            start = end


def _decode(raw: bytes) -> bytes | None:
    """Return the content of a raw line, ``None`` if its checksum is wrong."""
    checksum, _, text = raw.partition(b" ")
    if not text.endswith(b"\n"):
        return None
    text = text[:-1]
    return text if checksum == b"%08x" % crc32(text) else None

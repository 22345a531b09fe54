"""What is not in the store yet: an append-only log on disk, read back in the order of writing.

Every record goes here first. A line that was appended survives the death of the process, and once
it was synced the death of the machine. What the store has got is thrown away a second later.

Each process has a folder of its own, under a lock that ends with the process: what a killed process
left behind is found by its free lock, and is handed to the store by whoever finds it.
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


class WriteAheadLogFull(BacktalkError):
    """No room for what the store has not got yet."""


class LogPosition(NamedTuple):
    """Where a line stands."""

    segment: int
    offset: int


@dataclass(frozen=True)
class LogLine:
    """One line, as it was appended."""

    place: LogPosition
    end: LogPosition
    """Where the next one begins."""
    text: bytes | None
    """``None`` for a line that is damaged: the machine died while it was written."""


class WriteAheadLog:
    """The log of one process.

    Parameters
    ----------
    folder : Path
        Where it is; made if it is not there.
    segment_bytes : int, default 8000000
        A file that is larger is left, and removed once the store has all of it.
    limit : int, default 4000000000
        The most bytes of all files together.

    Raises
    ------
    BlockingIOError
        If another process has it open.
    """

    def __init__(
        self, folder: Path, *, segment_bytes: int = 8_000_000, limit: int = 4_000_000_000
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._limit = limit
        self._mutex = threading.Lock()
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise
        self._position = os.open(folder / _POSITION, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._files: dict[int, int] = {}
        """The files that may not be synced yet, by segment."""
        self._sizes = {number: path.stat().st_size for number, path in _segments(folder)}
        self._read = self._first()
        self._written = self._read
        self._begin(max([self._read.segment, *self._sizes]) + 1)

    @property
    def backlog(self) -> int:
        """How many bytes the store has not got yet."""
        with self._mutex:
            return sum(self._sizes.values()) - self._read.offset

    @property
    def drained(self) -> bool:
        """Whether the store has got everything."""
        return self.backlog <= 0

    def append(self, texts: Sequence[bytes]) -> list[LogPosition]:
        """Write lines, all or none, and return where they stand.

        They survive the death of the process, and once :meth:`sync` returns that of the machine.

        Raises
        ------
        SpoolFull
            If the limit is reached or the disk is full.
        """
        lines = [b"%08x %b\n" % (crc32(text), text) for text in texts]
        data = b"".join(lines)
        with self._mutex:
            if sum(self._sizes.values()) + len(data) > self._limit:
                raise WriteAheadLogFull(
                    f"The spool {self.folder} holds {self._limit:,} bytes, which is its limit",
                    "Bring the store back, or raise spool_bytes",
                )
            if self._written.offset > self._segment_bytes:
                self._begin(self._written.segment + 1)
            segment, start = self._written
            self._write(data, start)
            self._written = LogPosition(segment, start + len(data))
            self._sizes[segment] = self._written.offset
        places = []
        for line in lines:
            places.append(LogPosition(segment, start))
            start += len(line)
        return places

    def read(self, *, most: int = 1_000, most_bytes: int = 4_000_000) -> list[LogLine]:
        """Return the next lines that the store has not got."""
        with self._mutex:
            at, until = self._read, self._written
            sizes = dict(self._sizes)
        results: list[LogLine] = []
        for segment in sorted(number for number in sizes if number >= at.segment):
            start = at.offset if segment == at.segment else 0
            stop = until.offset if segment == until.segment else sizes[segment]
            for line in _lines(self._path(segment), segment, start, stop):
                results.append(line)
                most_bytes -= line.end.offset - line.place.offset
                if len(results) == most or most_bytes <= 0:
                    return results
            if results:
                return results
        return results

    def advance(self, end: LogPosition) -> None:
        """Take note that the store has got all lines before ``end``."""
        with self._mutex:
            for number in [number for number in self._sizes if number < end.segment]:
                self._remove(number)
            self._read = end
            self._note()

    def tidy(self) -> None:
        """Throw away what the store has got, if it has got everything."""
        with self._mutex:
            if self._read.offset and sum(self._sizes.values()) == self._read.offset:
                self._begin(self._written.segment + 1)
                for number in [n for n in self._sizes if n < self._written.segment]:
                    self._remove(number)
                self._read = self._written
                self._note()

    def sync(self) -> None:
        """Make sure that everything appended so far survives the death of the machine."""
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
                if segment != self._written.segment:
                    self._leave(segment)

    def close(self) -> None:
        """Close the files; a log that the store has got all of is removed."""
        if self.drained:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.sync()
        for file in (*self._files.values(), self._position, self._lock):
            os.close(file)

    def _first(self) -> LogPosition:
        """Return the first place that the store has not got, as far as is known."""
        noted = os.pread(self._position, _POSITION_WIDTH, 0).split()
        at = LogPosition(int(noted[0]), int(noted[1])) if len(noted) == 2 else LogPosition(0, 0)
        for number in [number for number in self._sizes if number < at.segment]:
            self._remove(number)
        if self._sizes.get(at.segment, -1) >= at.offset:
            return at
        # The file was removed before that was noted, or the machine died before it was written.
        return LogPosition(min(self._sizes, default=0), 0)

    def _note(self) -> None:
        text = b"%d %d" % self._read
        os.pwrite(self._position, text.ljust(_POSITION_WIDTH), 0)

    def _begin(self, segment: int) -> None:
        file = os.open(
            self._path(segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._files[segment] = file
        self._sizes[segment] = 0
        self._written = LogPosition(segment, 0)

    def _write(self, data: bytes, start: int) -> None:
        try:
            done = os.write(self._files[self._written.segment], data)
        except OSError as error:
            raise WriteAheadLogFull(f"{self.folder} cannot be written: {error}", _ROOM) from error
        if done < len(data):
            os.truncate(self._path(self._written.segment), start)
            raise WriteAheadLogFull(f"The disk of {self.folder} is full", _ROOM)

    def _remove(self, segment: int) -> None:
        self._leave(segment)
        self._path(segment).unlink(missing_ok=True)
        self._sizes.pop(segment, None)

    def _leave(self, segment: int) -> None:
        file = self._files.pop(segment, None)
        if file is not None:
            os.close(file)

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:012d}.log"


_ROOM = "Make room on the disk, or bring the store back"


def open_own_log(root: Path, *, limit: int) -> WriteAheadLog:
    """Open a log for this process under the folder of all processes' logs."""
    while True:
        try:
            return WriteAheadLog(root / new_id(), limit=limit)
        except BlockingIOError:
            continue  # somebody who looks for what was left behind was quicker


def orphaned_logs(root: Path) -> Iterator[WriteAheadLog]:
    """Yield the logs of processes that are no more, each open, for the caller to close."""
    for folder in sorted(root.glob("*")):
        if not (folder / _LOCK).exists():
            continue
        try:
            yield WriteAheadLog(folder)
        except OSError:
            continue  # its process lives, or somebody else has just found it


def _segments(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem), path) for path in folder.glob("*.log"))


def _lines(path: Path, segment: int, start: int, stop: int) -> Iterator[LogLine]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop:
            raw = file.readline()
            if not raw:
                return
            end = start + len(raw)
            yield LogLine(LogPosition(segment, start), LogPosition(segment, end), _checked(raw))
            start = end


def _checked(raw: bytes) -> bytes | None:
    sum_, _, text = raw.partition(b" ")
    if not text.endswith(b"\n"):
        return None
    text = text[:-1]
    return text if sum_ == b"%08x" % crc32(text) else None

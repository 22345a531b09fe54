"""File of rejected rows next to the input, with the reasons."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from backtalk.closable import Closable
from backtalk.formats.readers import REJECTED, STDIN, RejectedRow
from backtalk.formats.readers.arrow import nan_to_null


class Rejects(Closable):
    """Writer of rejected rows to ``<input>.rejected.jsonl``.

    The file is created with the first rejected row, next to the input or, if that folder is not
    writable, in the working directory. A file of an earlier import may have been corrected since,
    and is never overwritten: the next one is ``<input>-2.rejected.jsonl``. If it has the same
    content as an earlier one, only the earlier one remains.

    Each line has ``source``, ``line``, ``reason`` and ``row``, the row as it was read. After
    ``row`` has been corrected, the file can be imported like any other.

    Parameters
    ----------
    input : str or Path
        Input that is read: a file, a folder, or ``"-"`` for standard input.
    """

    def __init__(self, input: str | Path) -> None:  # noqa: A002 - it is the input
        name = STDIN if str(input) == "-" else str(input)
        resolved = Path(name).resolve()
        self._preferred_path = resolved.with_name(resolved.name + REJECTED)
        self._file: TextIO | None = None
        self.path: Path | None = None
        """Path of the file; ``None`` as long as no row was rejected."""
        self.count = 0
        """Number of rejected rows."""

    def add(self, row: RejectedRow) -> None:
        """Write a rejected row."""
        if self._file is None:
            self._file = self._open()
        entry = {"source": row.source, "line": row.line, "reason": row.reason, "row": row.raw}
        self._file.write(_to_json(entry) + "\n")
        self.count += 1

    def close(self) -> None:
        """Close the file."""
        if self._file is None or self.path is None:
            return
        self._file.close()
        same = [
            path
            for path in _names(self.path.with_name(self._preferred_path.name), until=self.path)
            if path.is_file() and filecmp.cmp(path, self.path, shallow=False)
        ]
        if same:
            self.path.unlink()
            self.path = same[0]
        self._file = None

    def _open(self) -> TextIO:
        try:
            return self._create(self._preferred_path)
        except OSError:
            return self._create(Path.cwd() / self._preferred_path.name)

    def _create(self, preferred: Path) -> TextIO:
        """Create the first file of these names that does not exist."""
        for path in _names(preferred):
            with suppress(FileExistsError):
                file = path.open("x", encoding="utf-8", errors="backslashreplace")
                self.path = path
                return file
        raise AssertionError("the names are endless")


def _names(preferred: Path, *, until: Path | None = None) -> Iterator[Path]:
    """Yield the possible names of a file of rejected rows, in the order of their use."""
    stem = preferred.name.removesuffix(REJECTED)
    for number in count(1):
        name = preferred if number == 1 else preferred.with_name(f"{stem}-{number}{REJECTED}")
        if name == until:
            return
        yield name


def _to_json(entry: dict[str, Any]) -> str:
    """Return an entry as JSON; NaN becomes null, and infinity a text, as JSON has neither."""
    try:
        return json.dumps(entry, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = nan_to_null(entry, infinity="Infinity")
        return json.dumps(finite, ensure_ascii=False, allow_nan=False)

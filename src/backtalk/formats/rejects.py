"""File of rejected rows next to the input, with the reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from backtalk.closable import Closable
from backtalk.formats.readers import REJECTED, STDIN, RejectedRow
from backtalk.formats.readers.arrow import nan_to_null


class Rejects(Closable):
    """Writer of rejected rows to ``<input>.rejected.jsonl``.

    The file is created with the first rejected row, next to the input or, if that folder is not
    writable, in the working directory.

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
        if self._file is not None:
            self._file.close()

    def _open(self) -> TextIO:
        try:
            file = self._preferred_path.open("w", encoding="utf-8", errors="backslashreplace")
            self.path = self._preferred_path
        except OSError:
            self.path = Path.cwd() / self._preferred_path.name
            file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        return file


def _to_json(entry: dict[str, Any]) -> str:
    """Return an entry as JSON; NaN becomes null, and infinity a text, as JSON has neither."""
    try:
        return json.dumps(entry, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = nan_to_null(entry, infinity="Infinity")
        return json.dumps(finite, ensure_ascii=False, allow_nan=False)

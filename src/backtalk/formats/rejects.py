"""Bad rows, set aside in a file beside the input."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from backtalk.formats.readers import REJECTED, STDIN, RejectedRow


class Rejects:
    """Writes bad rows to ``<input>.rejected.jsonl``; without bad rows no file is made.

    It stands beside the input or, where that may not be written, in the working directory.

    Each line has ``source``, ``line``, ``reason`` and ``row``, what stood there. Once ``row`` is
    mended, the file can be imported like any other.

    Parameters
    ----------
    input : str | Path
        What is read: a file, a folder, or ``"-"`` for standard input.
    """

    def __init__(self, input: str | Path) -> None:  # noqa: A002 - it is the input
        name = STDIN if str(input) == "-" else str(input)
        beside = Path(name)
        self._wanted = beside.resolve().with_name(beside.resolve().name + REJECTED)
        self._file: TextIO | None = None
        self.path: Path | None = None
        """The file; ``None`` as long as there is no bad row."""
        self.count = 0
        """How many rows were set aside."""

    def add(self, bad: RejectedRow) -> None:
        """Set a row aside."""
        if self._file is None:
            self._file = self._open()
        entry = {"source": bad.source, "line": bad.line, "reason": bad.reason, "row": bad.raw}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> TextIO:
        try:
            file = self._wanted.open("w", encoding="utf-8", errors="backslashreplace")
            self.path = self._wanted
        except OSError:
            self.path = Path.cwd() / self._wanted.name
            file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        return file

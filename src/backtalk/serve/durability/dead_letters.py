"""Records that the store does not take, kept in a file with the reason."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from backtalk.feedback.record import now

FILE = "rejected.jsonl"


class DeadLetterFile:
    """The file of records that were set aside.

    Parameters
    ----------
    folder : Path
        Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._mutex = threading.Lock()

    def add(self, record: str, reason: str, project: str) -> None:
        """Set a record aside."""
        row = {"time": now().isoformat(), "reason": reason, "project": project, "record": record}
        with self._mutex, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def purge(self, user: str) -> int:
        """Remove what a user asked or said; return how many records that was."""
        with self._mutex:
            if not self.path.exists():
                return 0
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            rest = [line for line in lines if not _is_of(json.loads(line)["record"], user)]
            self.path.write_text("".join(rest), encoding="utf-8")
            return len(lines) - len(rest)


def _is_of(record: str, user: str) -> bool:
    try:
        fields: Any = json.loads(record)
    except ValueError:
        return user in record
    if not isinstance(fields, dict):
        return False
    annotator = fields.get("annotator")
    by = annotator.get("id") if isinstance(annotator, dict) else None
    return user in {fields.get("user"), by}

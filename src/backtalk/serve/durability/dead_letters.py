"""Dead-letter file: records the store rejected, with the reason."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from backtalk.feedback.record import now

FILE = "dead_letters.jsonl"
OLD_FILE = "rejected.jsonl"
"""File name of the previous version; still purged."""


class DeadLetterFile:
    """JSON Lines file of rejected records.

    Parameters
    ----------
    folder : Path
        Folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._old_path = folder / OLD_FILE
        self._mutex = threading.Lock()

    def add(self, record: str, reason: str, project: str) -> None:
        """Append a record.

        Parameters
        ----------
        record : str
            Record as JSON, or the undecodable line.
        reason : str
            Reason for the rejection.
        project : str
            Project of the record; empty if unknown.
        """
        row = {"time": now().isoformat(), "reason": reason, "project": project, "record": record}
        with self._mutex, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def purge(self, user: str) -> int:
        """Remove all records of a user and return their number."""
        with self._mutex:
            return sum(_purge_file(path, user) for path in (self.path, self._old_path))


def _purge_file(path: Path, user: str) -> int:
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    remaining = [line for line in lines if not _belongs_to(json.loads(line)["record"], user)]
    path.write_text("".join(remaining), encoding="utf-8")
    return len(lines) - len(remaining)


def _belongs_to(record: str, user: str) -> bool:
    try:
        fields: Any = json.loads(record)
    except ValueError:
        return user in record
    if not isinstance(fields, dict):
        return False
    annotator = fields.get("annotator")
    annotator_id = annotator.get("id") if isinstance(annotator, dict) else None
    return user in {fields.get("user"), annotator_id}

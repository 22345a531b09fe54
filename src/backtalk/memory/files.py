"""Files of entries as JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from backtalk.errors import NotFound
from backtalk.feedback.record import record_error
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.memory import Memory

_BATCH = 5_000


def write_entries(memory: Memory, file: TextIO) -> int:
    """Write all entries, in every state, one a line, and return their number."""
    count = 0
    for _, entry in memory.rows(states=()):
        file.write(f"{entry.to_json()}\n")
        count += 1
    return count


def read_entries(file: Path) -> Iterator[list[MemoryEntry]]:
    """Yield the entries of a file in batches.

    Raises
    ------
    NotFound
        If there is no such file.
    RecordError
        If a line holds no entry.
    """
    if not file.is_file():
        raise NotFound(f"There is no file {file}", "Give a file of `backtalk memory export`")
    with file.open(encoding="utf-8") as lines:
        entries = (
            _parse(line, f"{file}, line {number}")
            for number, line in enumerate(lines, 1)
            if line.strip()
        )
        while batch := list(islice(entries, _BATCH)):
            yield batch


def _parse(line: str, name: str) -> MemoryEntry:
    try:
        return MemoryEntry.model_validate_json(line)
    except ValidationError as error:
        raise record_error(name, error) from None

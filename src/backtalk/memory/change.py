"""Changes of a memory: who changed an entry, when, and what it was before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from backtalk.memory.entry import MemoryEntry

Action = Literal[
    "added", "edited", "superseded", "settled", "restored", "retired", "undone", "forgotten"
]
"""Kind of change. ``"settled"``: an entry holds over another that contradicts it. ``"restored"``:
an entry holds again that was superseded, retired or undone."""


@dataclass(frozen=True)
class MemoryChange:
    """Change of an entry."""

    number: int
    """Number of the change in its memory, from 1."""
    entry: str
    """Id of the entry."""
    row: int
    """Row number of the entry in its memory."""
    action: Action
    revision: int
    """Revision that added the entry."""
    time: datetime
    actor: str
    """Name of the person or program that made the change."""
    reason: str
    before: MemoryEntry | None
    """Entry before the change; ``None`` if it was added, or was forgotten since."""

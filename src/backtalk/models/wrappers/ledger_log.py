"""Log file of a ledger: one JSON object per reservation or settlement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from backtalk.errors import BacktalkError
from backtalk.models.protocol import Usage
from backtalk.models.wrappers.budget import Cost


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Line of the log file."""

    event: Literal["reserve", "settle"]
    number: int
    """Sequence number of the reservation."""
    role: str
    model: str
    cost: Cost
    """Maximum cost for a reservation, actual cost for a settlement."""
    clock: float
    """Time, in seconds, during which any call was in flight so far."""


class LedgerLog:
    """Append-only file of entries; it stays readable if the process is killed at any time.

    Parameters
    ----------
    path : Path
        File, created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.entries = self._read() if path.exists() else []
        """Entries at the time of opening."""
        self._file = path.open("a", encoding="utf-8")

    def _read(self) -> list[LedgerEntry]:
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if len(complete) < len(content):  # the process was killed while it wrote the last line
            with self.path.open("r+b") as file:
                file.truncate(len(complete))
        entries = []
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                entries.append(_parse_entry(json.loads(line)))
            except (ValueError, KeyError, TypeError, InvalidOperation):
                raise BacktalkError(
                    f"Line {number} of {self.path} is not an entry of a ledger",
                    "Use a separate file for the ledger",
                ) from None
        return entries

    def write(self, entry: LedgerEntry) -> None:
        """Append an entry and flush it to the operating system."""
        usage = entry.cost.usage
        fields = {
            "event": entry.event,
            "number": entry.number,
            "role": entry.role,
            "model": entry.model,
            "calls": usage.calls,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "seconds": round(usage.seconds, 6),
            "money": str(entry.cost.money),
            "clock": round(entry.clock, 6),
        }
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parse_entry(fields: dict[str, Any]) -> LedgerEntry:
    event = fields["event"]
    if event not in {"reserve", "settle"}:
        raise ValueError(event)
    names = ("calls", "prompt_tokens", "completion_tokens", "seconds")
    usage = Usage(**{name: fields[name] for name in names})
    cost = Cost(usage, Decimal(fields["money"]))
    return LedgerEntry(
        event, fields["number"], fields["role"], fields["model"], cost, fields["clock"]
    )

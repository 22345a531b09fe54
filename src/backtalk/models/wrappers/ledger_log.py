"""The journal of a ledger: every reservation and settlement, one JSON object a line."""

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
    """A line of the journal."""

    event: Literal["reserve", "settle"]
    number: int
    """Which reservation."""
    role: str
    model: str
    cost: Cost
    """The most that it can cost, or what it did cost."""
    clock: float
    """The seconds during which any call was in flight, up to this line."""


class LedgerLog:
    """A file of entries, which survives the process being killed at any moment.

    Parameters
    ----------
    path : Path
        The file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.entries = self._read() if path.exists() else []
        """What was there when the journal was opened."""
        self._file = path.open("a", encoding="utf-8")

    def _read(self) -> list[LedgerEntry]:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the process was killed while it wrote the last line
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        entries = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entries.append(_entry(json.loads(line)))
            except (ValueError, KeyError, TypeError, InvalidOperation):
                raise BacktalkError(
                    f"Line {number} of {self.path} is not an entry of a ledger",
                    "Give the ledger a file of its own",
                ) from None
        return entries

    def write(self, entry: LedgerEntry) -> None:
        """Add an entry; it is with the operating system when this returns."""
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


def _entry(fields: dict[str, Any]) -> LedgerEntry:
    event = fields["event"]
    if event not in {"reserve", "settle"}:
        raise ValueError(event)
    names = ("calls", "prompt_tokens", "completion_tokens", "seconds")
    usage = Usage(**{name: fields[name] for name in names})
    cost = Cost(usage, Decimal(fields["money"]))
    return LedgerEntry(
        event, fields["number"], fields["role"], fields["model"], cost, fields["clock"]
    )

"""Entries of a suggested mapping, and the table that they are suggested from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backtalk.formats.suggest import names
from backtalk.formats.suggest.names import aspect_of
from backtalk.formats.suggest.roles import Columns, Roles, target_of

SCALE = "LOW-HIGH"
"""Placeholder for a scale whose ends are not known."""
FIRST, SECOND = "FIRST", "SECOND"
"""Placeholders for the values that prefer the first and the second answer."""
GOOD, BAD = "GOOD", "BAD"
"""Placeholders for the values that mean good and bad."""
SIGN = "A-OR-B"
"""Placeholder for the answer that positive numbers prefer."""
MAX_WORDS = 12
"""Number of different words up to which a column holds verdicts and not remarks."""


@dataclass
class Item:
    """Entry of the list of feedback, with its questions."""

    fields: dict[str, Any]
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Guess:
    """Roles and columns of a table, for the functions that suggest feedback."""

    roles: Roles
    columns: Columns
    has_placeholders: bool = False
    """If true, a scale is a placeholder instead of the range of the values."""

    @property
    def answers(self) -> list[str]:
        """Columns of the answers."""
        return self.roles.responses

    def about(self, name: str) -> dict[str, Any]:
        """Return the response and the aspect that a column is about, as fields of feedback."""
        target = target_of(name, self.answers)
        index = self.answers.index(target) if target else 0
        aspect = aspect_of(name) if target is None else _aspect_without(name, target)
        return {
            **({"response": index} if index else {}),
            **({"aspect": aspect} if aspect else {}),
        }

    def is_open(self, name: str) -> bool:
        """Return true if it is not clear which of several answers a column is about."""
        return len(self.answers) > 1 and target_of(name, self.answers) is None


def _aspect_without(name: str, target: str) -> str | None:
    own = {*names.words_of(target)}
    aspect = aspect_of(name)
    return aspect if aspect and not own >= set(aspect.split("_")) else None

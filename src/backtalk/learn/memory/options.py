"""Options that all methods of memories share: the memory and how policies recall from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import JsonValue


@dataclass(frozen=True)
class RecallOptions:
    """Memory that a method writes to, and how the policy recalls from it."""

    memory_name: str | None
    """Name of the memory; ``None`` for that of the policy."""
    embedder: str
    """Embedder of entries and requests."""
    recall_limit: int
    """Maximum number of entries in a prompt."""
    withhold: float
    """Probability, in [0, 0.5], with which an entry that applies is withheld in use."""

    @property
    def spec(self) -> dict[str, Any]:
        """Fields of a :class:`~backtalk.memory.MemorySpec`."""
        return {
            "name": self.memory_name,
            "embedder": self.embedder,
            "limit": self.recall_limit,
            "withhold": self.withhold,
        }

    def with_own(self, **options: JsonValue) -> dict[str, JsonValue]:
        """Return the options for the lineage, with those of the method."""
        return {**asdict(self), **options}

"""Protocol of rewards: they score responses, with an uncertainty if it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from backtalk.models.protocol import PromptResponse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PlannedAnswers", "PromptResponse", "Reward", "Scores"]


@dataclass(frozen=True)
class Scores:
    """Scores of several responses; larger is better.

    Scores of responses to the same prompt are comparable. Scores of responses to different prompts
    are comparable only if the reward says so.
    """

    mean: NDArray[np.float64]
    """Score of each response, shape ``(n,)``."""
    std: NDArray[np.float64] | None = None
    """Standard deviation of each score, shape ``(n,)``; ``None`` if unknown."""


@dataclass(frozen=True)
class PlannedAnswers:
    """Answers of a policy that are to be judged, before any of them is generated."""

    policy: str
    """Label of the policy."""
    texts: tuple[str, ...] | None
    """Answer to each prompt if all are known without a call of the model: recorded ones, or those
    of an earlier evaluation. ``None`` if some have to be generated."""


@runtime_checkable
class Reward(Protocol):
    """Reward that scores responses."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lowest and highest possible score; ``None`` if unbounded."""
        ...

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the score of each response to its prompt."""
        ...

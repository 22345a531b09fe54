"""What a reward is: something that scores responses, and can say how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import Message

Answer = tuple[tuple[Message, ...], str]
"""A prompt and one response to it."""


@dataclass(frozen=True)
class Scores:
    """The scores of several responses; larger is better.

    Scores of responses to one prompt compare. Whether those to different prompts do is up to the
    reward.
    """

    mean: NDArray[np.float64]
    """Shape ``(n,)``."""
    std: NDArray[np.float64] | None = None
    """The standard deviation of each, shape ``(n,)``, where the reward knows it."""


@runtime_checkable
class Reward(Protocol):
    """Something that scores responses."""

    @property
    def name(self) -> str:
        """What to call it in reports."""
        ...

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The ends of its scale; ``None`` where it has none."""
        ...

    async def score(self, answers: Sequence[Answer]) -> Scores:
        """Return the score of each response to its prompt."""
        ...

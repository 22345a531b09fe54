"""What says which of two answers is better, and how surely: preferences that need no order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from backtalk.feedback import Message
from backtalk.rewards.protocol import Reward

Compared = tuple[tuple[Message, ...], str, str]
"""A prompt and two responses to it."""


@runtime_checkable
class PreferenceOracle(Protocol):
    """Something that compares two responses.

    Its preferences need not come from scores: a may be better than b, b than c, and c than a.
    ``P(a > b)`` and ``P(b > a)`` sum to 1.
    """

    @property
    def name(self) -> str:
        """What to call it in reports."""
        ...

    async def prefer(self, compared: Sequence[Compared]) -> NDArray[np.float64]:
        """Return the probability that the first response of each is better, shape ``(n,)``."""
        ...


@dataclass(frozen=True)
class ByReward:
    """A reward that compares: the better-scored response wins, or wins more often.

    Parameters
    ----------
    reward : Reward
        What scores.
    temperature : float, default 0.0
        By which difference of scores, in their own unit, the odds grow by the factor e:
        ``P(a > b) = sigmoid((r(a) - r(b)) / temperature)``, the Bradley-Terry model. Where it is 0,
        the better-scored one always wins and equal scores are even.
    """

    reward: Reward
    temperature: float = 0.0

    @property
    def name(self) -> str:
        """The reward's."""
        return self.reward.name

    async def prefer(self, compared: Sequence[Compared]) -> NDArray[np.float64]:
        """Return the probability that the first response of each is better, shape ``(n,)``."""
        if not compared:
            return np.empty(0)
        answers = {
            answer: None
            for prompt, one, other in compared
            for answer in ((prompt, one), (prompt, other))
        }
        scored = (await self.reward.score(list(answers))).mean
        score = dict(zip(answers, np.asarray(scored, dtype=float).tolist(), strict=True))
        gaps = np.array([score[p, one] - score[p, other] for p, one, other in compared])
        if self.temperature == 0:
            return np.asarray((1 + np.sign(gaps)) / 2)
        return np.asarray(expit(gaps / self.temperature))

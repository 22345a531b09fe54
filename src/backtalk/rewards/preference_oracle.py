"""Preference oracles: the probability that one response is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from backtalk.feedback import Message
from backtalk.rewards.judge_info import JudgeInfo, describe_judge
from backtalk.rewards.protocol import Reward

ResponsePair = tuple[tuple[Message, ...], str, str]
"""A prompt and the texts of two responses to it."""


@runtime_checkable
class PreferenceOracle(Protocol):
    """Comparison of two responses.

    Its preferences need not be transitive: a may be better than b, b than c, and c than a.
    ``P(a > b)`` and ``P(b > a)`` sum to 1.
    """

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    async def prefer(self, pairs: Sequence[ResponsePair]) -> NDArray[np.float64]:
        """Return the probability that the first response of each pair is better, shape ``(n,)``."""
        ...


@dataclass(frozen=True)
class RewardOracle:
    """Preference oracle by the scores of a reward.

    Parameters
    ----------
    reward : Reward
        Reward that scores the responses.
    temperature : float, default 0.0
        Temperature of the Bradley-Terry model, in the unit of the scores:
        ``P(a > b) = sigmoid((r(a) - r(b)) / temperature)``. With 0 the response with the higher
        score always wins, and equal scores are even.
    """

    reward: Reward
    temperature: float = 0.0

    @property
    def name(self) -> str:
        """Name of the reward."""
        return self.reward.name

    @property
    def info(self) -> JudgeInfo:
        """Description of the reward as a judge."""
        return describe_judge(self.reward)

    async def prefer(self, pairs: Sequence[ResponsePair]) -> NDArray[np.float64]:
        """Return the probability that the first response of each pair is better, shape ``(n,)``."""
        if not pairs:
            return np.empty(0)
        answers = dict.fromkeys(
            answer for prompt, a, b in pairs for answer in ((prompt, a), (prompt, b))
        )
        means = (await self.reward.score(list(answers))).mean
        score = dict(zip(answers, np.asarray(means, dtype=float).tolist(), strict=True))
        differences = np.array([score[prompt, a] - score[prompt, b] for prompt, a, b in pairs])
        if self.temperature == 0:
            return np.asarray((1 + np.sign(differences)) / 2)
        return np.asarray(expit(differences / self.temperature))

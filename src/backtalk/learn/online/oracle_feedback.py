"""Feedback of a preference oracle: every pair of responses to a prompt is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.feedback.answers import response_key
from backtalk.feedback.case import Case
from backtalk.feedback.describe import describe_answer
from backtalk.learn.online.feedback_sources import FeedbackSource, RewardJudge
from backtalk.rewards import PreferenceOracle, Reward, RewardOracle
from backtalk.rewards.judge_info import JudgeInfo, describe_judge

MUTUAL = "mutual"
"""Pair selection that compares all pairs of responses, ties included."""


@dataclass(frozen=True)
class PairwiseOracle:
    """Feedback of a preference oracle on all pairs of responses to a prompt.

    Preferences need not be transitive. Responses with the same text are tied.

    Parameters
    ----------
    oracle : PreferenceOracle
        Oracle that compares responses.
    sample_verdicts : bool, default False
        If true, a preference is a verdict drawn with the oracle's probability, instead of the
        probability itself.
    """

    oracle: PreferenceOracle
    sample_verdicts: bool = False

    @property
    def judges(self) -> tuple[JudgeInfo, ...]:
        """Description of the oracle, for the lineage of the learned policy."""
        return (describe_judge(self.oracle),)

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:
        """Return the interactions with a preference for each pair of responses.

        Parameters
        ----------
        interactions : sequence of Interaction
            Prompts with responses.
        seed : int
            Seed of the verdicts.
        """
        pairs = [
            (interaction, a, b)
            for interaction in interactions
            for a, b in combinations(interaction.responses, 2)
        ]
        oracle_probabilities = await self.oracle.prefer(
            [
                (
                    interaction.prompt,
                    describe_answer(a.text, a.messages),
                    describe_answer(b.text, b.messages),
                )
                for interaction, a, b in pairs
            ]
        )
        same = [response_key(a) == response_key(b) for _, a, b in pairs]
        probabilities = np.where(same, 0.5, oracle_probabilities)
        if self.sample_verdicts:
            rng = np.random.default_rng([seed, 13])
            probabilities = np.where(rng.random(len(probabilities)) < probabilities, 1.0, 0.0)
        feedback: dict[str, list[Preference]] = {interaction.id: [] for interaction in interactions}
        for (interaction, a, b), probability in zip(pairs, probabilities.tolist(), strict=True):
            feedback[interaction.id].append(
                Preference(
                    interaction=interaction.id,
                    annotator=Annotator.model(self.oracle.name),
                    a=a.id,
                    b=b.id,
                    verdict=Preference.verdict_for(probability),
                    probability=None if probability in {0, 1} else probability,
                )
            )
        return [Case(interaction, tuple(feedback[interaction.id])) for interaction in interactions]


def make_feedback_source(
    reward: Reward, pair_selection: str, *, rates: bool = False
) -> FeedbackSource:
    """Return a reward as a source of feedback.

    Parameters
    ----------
    reward : Reward
        Scorer of responses.
    pair_selection : str
        Name in :data:`~.pair_selection.PAIR_SELECTORS`, or ``"mutual"`` for all pairs with equal
        scores as ties.
    rates : bool, default False
        If true, rate responses instead of comparing pairs.
    """
    if pair_selection == MUTUAL and not rates:
        return PairwiseOracle(RewardOracle(reward))
    return RewardJudge(reward, pair_selection, rates=rates)

"""Each answer against each other one: feedback that compares without any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.feedback.views import Case
from backtalk.learn.online.loop import FeedbackSource, RewardJudge
from backtalk.rewards import ByReward, PreferenceOracle, Reward

MUTUAL = "mutual"
"""The rule that compares each answer with each other one, equally good ones too."""


@dataclass(frozen=True)
class PairwiseOracle:
    """A preference oracle that gives feedback on all answers of a prompt, two at a time.

    What it says need not be transitive. Answers of the same words are equally good.

    Parameters
    ----------
    oracle : PreferenceOracle
        What compares.
    draws
        Whether a preference is a verdict, drawn with the oracle's probability, in the place of the
        probability itself.
    """

    oracle: PreferenceOracle
    sample_verdicts: bool = False

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:
        """Return the interactions with a preference for each two answers."""
        asked = [
            (interaction, one, other)
            for interaction in interactions
            for one, other in combinations(interaction.responses, 2)
        ]
        known = await self.oracle.prefer(
            [(interaction.prompt, one.text, other.text) for interaction, one, other in asked]
        )
        same = [one.text == other.text for _, one, other in asked]
        odds = np.where(same, 0.5, known)
        if self.sample_verdicts:
            odds = np.where(np.random.default_rng([seed, 13]).random(len(odds)) < odds, 1.0, 0.0)
        said: dict[str, list[Preference]] = {interaction.id: [] for interaction in interactions}
        for (interaction, one, other), probability in zip(asked, odds.tolist(), strict=True):
            said[interaction.id].append(
                Preference(
                    interaction=interaction.id,
                    annotator=Annotator.model(self.oracle.name),
                    a=one.id,
                    b=other.id,
                    verdict=Preference.verdict_of(probability),
                    probability=None if probability in {0, 1} else probability,
                )
            )
        return [Case(interaction, tuple(said[interaction.id])) for interaction in interactions]


def make_feedback_source(reward: Reward, pairs: str, *, rates: bool = False) -> FeedbackSource:
    """Return who gives a reward's feedback in rounds.

    Parameters
    ----------
    reward : Reward
        What scores the answers.
    pairs : str
        Which of them are compared: a rule of :data:`~.pair_selection.PAIR_SELECTORS`, or
        ``"mutual"`` for each with each, equal scores as a tie.
    rates : bool, default False
        Whether answers are rated in the place of being compared.
    """
    if pairs == MUTUAL and not rates:
        return PairwiseOracle(ByReward(reward))
    return RewardJudge(reward, pairs, rates=rates)

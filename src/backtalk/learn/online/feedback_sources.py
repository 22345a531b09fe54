"""Sources of feedback for online learning: a reward, people, or cases in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.feedback.case import Case
from backtalk.feedback.describe import describe_answer
from backtalk.feedback.kinds import AnyFeedback, Rating, Scale
from backtalk.feedback.requests import stored_prompt_key
from backtalk.learn.left_out_rows import PROMPT_REASON, LeftOutRow
from backtalk.learn.online.pair_selection import SelectedPair, get_pair_selector
from backtalk.learn.training_set import Split, TrainingSet
from backtalk.rewards.judge_info import JudgeInfo, describe_judge
from backtalk.rewards.protocol import Reward
from backtalk.store import Store


class FeedbackSource(Protocol):
    """Source of feedback on the responses of a round.

    A source that asks a reward or another judge describes it in an attribute ``judges``, a tuple of
    :class:`~backtalk.rewards.judge_info.JudgeInfo`. The policies that learn from it record these in
    their lineage, so that no promotion rests on the same judge.
    """

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:
        """Return the interactions with feedback.

        Parameters
        ----------
        interactions : sequence of Interaction
            Prompts with responses.
        seed : int
            Seed of everything that is drawn at random.
        """
        ...


@dataclass(frozen=True)
class RewardJudge:
    """Feedback of a reward: preferences between selected pairs, or ratings.

    Parameters
    ----------
    reward : Reward
        Scorer of responses.
    pair_selection : str, default "best-worst"
        Name in :data:`~backtalk.learn.online.pair_selection.PAIR_SELECTORS`.
    rates : bool, default False
        If true, rate each response instead of comparing pairs, for methods that need scores.
    """

    reward: Reward
    pair_selection: str = "best-worst"
    rates: bool = False

    @property
    def judges(self) -> tuple[JudgeInfo, ...]:
        """Description of the reward, for the lineage of the learned policy."""
        return (describe_judge(self.reward),)

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:
        """Return the interactions with the reward's preferences or ratings.

        Parameters
        ----------
        interactions : sequence of Interaction
            Prompts with responses.
        seed : int
            Seed of the pair selection.
        """
        select = get_pair_selector(self.pair_selection)
        responses = [
            (interaction.prompt, describe_answer(response.text, response.messages))
            for interaction in interactions
            for response in interaction.responses
        ]
        scores = await self.reward.score(responses)
        std = np.zeros_like(scores.mean) if scores.std is None else scores.std
        ends = np.cumsum([len(interaction.responses) for interaction in interactions])[:-1]
        rng = np.random.default_rng([seed, 7])
        cases = []
        for interaction, means, stds in zip(
            interactions, np.split(scores.mean, ends), np.split(std, ends), strict=True
        ):
            feedback = (
                self._ratings(interaction, means)
                if self.rates
                else [self._preference(interaction, pair) for pair in select(means, stds, rng)]
            )
            cases.append(Case(interaction, tuple(feedback)))
        return cases

    @property
    def _annotator(self) -> Annotator:
        return Annotator.model(self.reward.name)

    def _preference(self, interaction: Interaction, pair: SelectedPair) -> AnyFeedback:
        return Preference(
            interaction=interaction.id,
            annotator=self._annotator,
            a=interaction.responses[pair.better].id,
            b=interaction.responses[pair.worse].id,
            verdict="a",
            probability=None if pair.probability == 1 else pair.probability,
        )

    def _ratings(self, interaction: Interaction, scores: NDArray[np.float64]) -> list[AnyFeedback]:
        low, high = self.reward.bounds or (float(scores.min()), float(scores.max()))
        width = (high - low) or 1.0
        return [
            Rating(
                interaction=interaction.id,
                annotator=self._annotator,
                response=response.id,
                value=float(np.clip((score - low) / width, 0, 1)),
                scale=Scale.UNIT,
            )
            for response, score in zip(interaction.responses, scores, strict=True)
        ]


class WaitingForFeedback(BacktalkError):
    """A round has too little feedback on its responses to go on."""


@dataclass(frozen=True)
class HumanFeedback:
    """Feedback of people, of any kind, as it arrives in the store.

    Parameters
    ----------
    store : Store
        Store with the responses and the feedback.
    min_fraction : float, default 1.0
        Fraction of the interactions that must have feedback, in (0, 1].
    """

    store: Store
    min_fraction: float = 1.0

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:  # noqa: ARG002
        """Return the interactions that have feedback.

        Raises
        ------
        WaitingForFeedback
            If these are too few.
        """
        cases = [
            case
            for interaction in interactions
            if (case := self.store.case(interaction.id)).feedback
        ]
        needed = math.ceil(self.min_fraction * len(interactions))
        if len(cases) < needed:
            raise WaitingForFeedback(
                f"{len(cases)} of {len(interactions)} interactions have feedback, {needed} are "
                "needed",
                f"Add feedback on the responses in the store (the first interaction is "
                f"{interactions[0].id!r}), then run the same command again",
            )
        return cases


class InMemoryTrainingSet(TrainingSet):
    """Training set of given cases.

    Parameters
    ----------
    store : Store
        Store for artifacts and policies.
    cases : sequence of Case
        Cases to learn from.
    split : Split, default "train"
        Split that the cases belong to, for the lineage.
    refused : sequence of LeftOutRow, default ()
        Prompts that have no case, as a model refused them.
    """

    def __init__(
        self,
        store: Store,
        cases: Sequence[Case],
        *,
        split: Split = "train",
        refused: Sequence[LeftOutRow] = (),
    ) -> None:
        super().__init__(store, split=split)
        self._cases = cases
        self._refused = refused
        self._count_refused()

    def _count_refused(self) -> None:
        if self._refused:
            self.refused.add_records(self._refused, total=len(self._cases) + len(self._refused))
            self.left_out[PROMPT_REASON] += len(self._refused)

    def _changed(self, **fields: object) -> Self:
        other = super()._changed(**fields)
        other._count_refused()  # noqa: SLF001 - the same class
        return other

    def cases(self) -> Iterator[Case]:
        """Iterate over the cases that have feedback."""
        return (case for case in self.every_case() if case.feedback)

    def every_case(self) -> Iterator[Case]:
        """Iterate over all cases."""
        drawn = self._drawn
        return (
            self._as_read(case)
            for case in self._cases
            if drawn is None or stored_prompt_key(case.interaction.prompt) in drawn
        )

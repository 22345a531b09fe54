"""Reward by recorded feedback, for evaluation without new annotations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from backtalk.errors import NotFound
from backtalk.feedback.case import Case, merge_by_prompt, prompt_key
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair, ScoreView
from backtalk.models.protocol import PromptResponse
from backtalk.rewards.protocol import Scores

ResponseKey = tuple[str, str]
"""The key of a prompt and the text of a response."""


class RecordedReward:
    """Reward of a response by its recorded feedback, in [0, 1].

    A response with scores (ratings, labels, outcomes) is worth their mean. A response that was only
    compared is worth its win rate. If all comparisons of a prompt are with the same *reference*,
    such as a leaderboard's baseline, the win rate is the probability of beating the reference, and
    the reference itself is worth one half. A response without feedback raises an error.

    Parameters
    ----------
    values : Mapping[ResponseKey, float]
        Value of each response.
    references : Iterable[ResponseKey], default ()
        Reference responses, which are not candidates.
    """

    name = "recorded feedback"
    bounds = (0.0, 1.0)

    def __init__(
        self, values: Mapping[ResponseKey, float], references: Iterable[ResponseKey] = ()
    ) -> None:
        self.values = dict(values)
        self.references = frozenset(references)

    @classmethod
    def from_cases(cls, cases: Iterable[Case]) -> RecordedReward:
        """Return the reward by the feedback in cases, which are merged by prompt in memory."""
        values: dict[ResponseKey, float] = {}
        references: list[ResponseKey] = []
        for case in merge_by_prompt(cases):
            key = prompt_key(case.interaction.prompt)
            scores = _mean_scores(case)
            win_rates, reference = _win_rates(case)
            if reference is not None and not scores:
                references.append((key, reference))
            values.update(((key, text), value) for text, value in (win_rates | scores).items())
        return cls(values, references)

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the value of each response.

        Raises
        ------
        NotFound
            If a response has no feedback.
        """
        return Scores(np.array([self._value(prompt_key(prompt), text) for prompt, text in answers]))

    def candidates(self, prompt: str) -> dict[str, float]:
        """Return the values of the responses to a prompt, by its key, except for the reference."""
        return self._by_prompt.get(prompt, {})

    @property
    def prompts(self) -> list[str]:
        """Keys of all prompts with candidates."""
        return list(self._by_prompt)

    @cached_property
    def _by_prompt(self) -> dict[str, dict[str, float]]:
        grouped: dict[str, dict[str, float]] = defaultdict(dict)
        for (prompt, text), value in self.values.items():
            if (prompt, text) not in self.references:
                grouped[prompt][text] = value
        return dict(grouped)

    def _value(self, prompt: str, text: str) -> float:
        if (prompt, text) not in self.values:
            shown = text if len(text) <= 60 else text[:57] + "..."
            raise NotFound(
                f"There is no recorded feedback on the response {shown!r}",
                "Evaluate only responses with recorded feedback, or use another judge",
            )
        return self.values[prompt, text]


def _mean_scores(case: Case) -> dict[str, float]:
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for view in views(case, ScoreView):
        scores[view.completion].append((view.score, view.weight))
    return {text: _weighted_mean(weighted) for text, weighted in scores.items()}


def _win_rates(case: Case) -> tuple[dict[str, float], str | None]:
    """Return the win rate of each response, and the reference if there is one."""
    wins: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sides: list[set[str]] = []
    for pair in views(case, Pair, kinds=("preference",)):
        wins[pair.chosen].append((pair.probability, pair.weight))
        wins[pair.rejected].append((1 - pair.probability, pair.weight))
        sides.append({pair.chosen, pair.rejected})
    common = set.intersection(*sides) if len(wins) > 2 else set()
    values = {text: _weighted_mean(weighted) for text, weighted in wins.items()}
    if len(common) != 1:
        return values, None
    (reference,) = common
    return values | {reference: 0.5}, reference


def _weighted_mean(weighted: list[tuple[float, float]]) -> float:
    values, weights = zip(*weighted, strict=True)
    return float(np.average(values, weights=weights))

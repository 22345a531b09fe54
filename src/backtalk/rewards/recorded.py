"""What was said about an answer already, as its reward: evaluation without asking anybody again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from backtalk.errors import NotFound
from backtalk.feedback.conversions import views
from backtalk.feedback.merge import merge_by_prompt, prompt_key
from backtalk.feedback.views import Case, Pair, ScoreView
from backtalk.rewards.protocol import Answer, Scores

Key = tuple[str, str]
"""The key of a prompt, and a response's text."""


class RecordedReward:
    """The value of an answer by the feedback that is recorded on it, in [0, 1].

    An answer that was scored (ratings, labels, outcomes) is worth the mean of its scores. One that
    was only compared is worth how often it is preferred. Where all comparisons on a prompt are
    with one and the same *reference*, as with a leaderboard's baseline, that is the probability
    of beating the reference, and the reference itself is worth one half. Nothing is guessed: an
    answer that nobody judged is an error.

    Parameters
    ----------
    values : Mapping[Key, float]
        The value of each answer.
    references : Iterable[Key], default ()
        The answers that the others were compared with.
    """

    name = "recorded feedback"
    bounds = (0.0, 1.0)

    def __init__(self, values: Mapping[Key, float], references: Iterable[Key] = ()) -> None:
        self.values = dict(values)
        self.references = frozenset(references)

    @classmethod
    def of(cls, cases: Iterable[Case]) -> RecordedReward:
        """Return what was said in cases. They are put together by prompt, in memory."""
        values: dict[Key, float] = {}
        references: list[Key] = []
        for case in merge_by_prompt(cases):
            key = prompt_key(case.interaction.prompt)
            scored = _scored(case)
            compared, reference = _compared(case)
            if reference is not None and not scored:
                references.append((key, reference))
            values.update(((key, text), value) for text, value in (compared | scored).items())
        return cls(values, references)

    async def score(self, answers: Sequence[Answer]) -> Scores:
        """Return the value of each answer.

        Raises
        ------
        NotFound
            For an answer that nobody judged.
        """
        return Scores(np.array([self._value(prompt_key(prompt), text) for prompt, text in answers]))

    def candidates(self, prompt: str) -> dict[str, float]:
        """Return the judged answers to a prompt, by its key, but for the reference."""
        return self._by_prompt.get(prompt, {})

    @property
    def prompts(self) -> list[str]:
        """The keys of all prompts with judged answers."""
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
                f"Nothing is recorded about the answer {shown!r}",
                "Judge only answers that were judged before, or take another judge",
            )
        return self.values[prompt, text]


def _scored(case: Case) -> dict[str, float]:
    said: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for view in views(case, ScoreView):
        said[view.completion].append((view.score, view.weight))
    return {text: _mean(scores) for text, scores in said.items()}


def _compared(case: Case) -> tuple[dict[str, float], str | None]:
    """Return how often each answer is preferred, and the reference, if there is one."""
    won: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sides: list[set[str]] = []
    for pair in views(case, Pair, kinds=("preference",)):
        won[pair.chosen].append((pair.probability, pair.weight))
        won[pair.rejected].append((1 - pair.probability, pair.weight))
        sides.append({pair.chosen, pair.rejected})
    always = set.intersection(*sides) if len(won) > 2 else set()
    values = {text: _mean(result) for text, result in won.items()}
    if len(always) != 1:
        return values, None
    (reference,) = always
    return values | {reference: 0.5}, reference


def _mean(weighted: list[tuple[float, float]]) -> float:
    values, weights = zip(*weighted, strict=True)
    return float(np.average(values, weights=weights))

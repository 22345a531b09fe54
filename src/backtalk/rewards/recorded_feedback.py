"""Reward by recorded feedback, for evaluation without new annotations."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from backtalk.errors import NotFound
from backtalk.feedback.answers import response_key
from backtalk.feedback.aspects import listed_aspects, on_aspect, other_aspects
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, merge_by_prompt, prompt_key
from backtalk.feedback.conversions import views
from backtalk.feedback.describe import describe_answer
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import stored_prompt_key
from backtalk.feedback.views import Pair, ScoreView
from backtalk.models.protocol import PromptResponse
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.rewards.protocol import PlannedAnswers, Scores

log = logging.getLogger(__name__)


class CannotJudge(NotFound):
    """Answers that a judge cannot judge, noticed before any answer is generated."""


class NewAnswers(CannotJudge):
    """Answers that are not recorded, because they are to be generated."""


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
    other_aspects : Mapping[str, int], optional
        Number of judgements on other aspects, by aspect, for the error message.
    """

    name = "recorded feedback"
    info = JudgeInfo(name=name, kind="recorded")
    bounds = (0.0, 1.0)

    def __init__(
        self,
        values: Mapping[ResponseKey, float],
        references: Iterable[ResponseKey] = (),
        other_aspects: Mapping[str, int] | None = None,
    ) -> None:
        self.values = dict(values)
        self.other_aspects = dict(other_aspects or {})
        self.references = frozenset(references)

    @classmethod
    def from_cases(cls, cases: Iterable[Case], *, aspect: str = OVERALL) -> RecordedReward:
        """Return the reward by the judgements of one aspect, merged by prompt in memory.

        An answer with tool calls or several messages is known by its description in words. Two
        answers to one prompt with the same description are left out.
        """
        values: dict[ResponseKey, float] = {}
        references: list[ResponseKey] = []
        others: Counter[str] = Counter()
        ambiguous = 0
        for merged in merge_by_prompt(cases):
            others += other_aspects(merged.feedback, aspect)
            case = on_aspect(merged, aspect)
            key = prompt_key(case.interaction.prompt)
            scores = _mean_scores(case)
            win_rates, reference = _win_rates(case)
            if reference is not None and not scores:
                references.append((key, reference))
            shared = _shared_texts(case)
            ambiguous += len(shared)
            values.update(
                ((key, text), value)
                for text, value in (win_rates | scores).items()
                if text not in shared
            )
        if ambiguous:
            log.warning(
                "left out %d descriptions that several answers share, which differ in the ids of "
                "tool calls or in media",
                ambiguous,
            )
        return cls(values, references, others)

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the value of each response.

        Raises
        ------
        NotFound
            If a response has no feedback.
        """
        keys = [(stored_prompt_key(prompt), text) for prompt, text in answers]
        return Scores(np.array([self._value(key, text) for key, text in keys]))

    async def check(self, prompts: Sequence[Prompt], answers: Sequence[PlannedAnswers]) -> None:
        """Raise an error unless all answers are known and have feedback.

        Parameters
        ----------
        prompts : sequence of Prompt
            Prompts of the evaluation.
        answers : sequence of PlannedAnswers
            Answers of each policy to these prompts.

        Raises
        ------
        CannotJudge
            If a policy generates new answers, or an answer has no feedback.
        """
        for planned in answers:
            if planned.texts is None:
                raise NewAnswers(
                    f"The judge `recorded` knows the answers in the store only, and "
                    f"{planned.policy} generates new ones. Nothing was generated",
                    "Use a judge of new answers: `people`, `llm:MODEL`, or a reward "
                    "(`backtalk reward list`)",
                )
            keys = [
                (stored_prompt_key(prompt), text)
                for prompt, text in zip(prompts, planned.texts, strict=True)
            ]
            missing = [text for key, text in keys if (key, text) not in self.values]
            if missing:
                raise CannotJudge(
                    f"{len(missing)} of {len(keys)} answers of {planned.policy} have no recorded "
                    f"feedback, such as {_shorten(missing[0])!r}",
                    self._mend,
                )

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
            raise NotFound(
                f"There is no recorded feedback on the response {_shorten(text)!r}", self._mend
            )
        return self.values[prompt, text]

    @property
    def _mend(self) -> str:
        if not self.other_aspects:
            return "Evaluate only responses with recorded feedback, or use another judge"
        return (
            f"There are judgements, {listed_aspects(self.other_aspects)}: name one as judge, "
            f"recorded:{next(iter(self.other_aspects))}"
        )


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _shared_texts(case: Case) -> set[str]:
    """Return the texts that belong to several answers with different messages."""
    answers = {
        response_key(response): describe_answer(response.text, response.messages)
        for response in case.interaction.responses
    }
    return {text for text, count in Counter(answers.values()).items() if count > 1}


def _mean_scores(case: Case) -> dict[str, float]:
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for view in views(case, ScoreView):
        text = describe_answer(view.completion, view.messages)
        scores[text].append((view.score, view.weight))
    return {text: _weighted_mean(weighted) for text, weighted in scores.items()}


def _win_rates(case: Case) -> tuple[dict[str, float], str | None]:
    """Return the win rate of each response, and the reference if there is one."""
    wins: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sides: list[set[str]] = []
    for pair in views(case, Pair, kinds=("preference",)):
        chosen = describe_answer(pair.chosen, pair.chosen_messages)
        rejected = describe_answer(pair.rejected, pair.rejected_messages)
        wins[chosen].append((pair.probability, pair.weight))
        wins[rejected].append((1 - pair.probability, pair.weight))
        sides.append({chosen, rejected})
    common = set.intersection(*sides) if len(wins) > 2 else set()
    values = {text: _weighted_mean(weighted) for text, weighted in wins.items()}
    if len(common) != 1:
        return values, None
    (reference,) = common
    return values | {reference: 0.5}, reference


def _weighted_mean(weighted: list[tuple[float, float]]) -> float:
    values, weights = zip(*weighted, strict=True)
    return float(np.average(values, weights=weights))

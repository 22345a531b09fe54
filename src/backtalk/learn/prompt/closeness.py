"""Closeness to corrections: edits and demonstrations as a judgement of new answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.kinds import Demonstration, Edit
from backtalk.learn.lazy_modules import np
from backtalk.learn.training_set import TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]|\n")
PRIOR_ACCURACY = 0.75
"""Accuracy of the part, in place of an estimate: a prompt rarely has two corrections, which a
cross-validation would need."""


@dataclass
class Closeness:
    """Similarity of answers to the corrections on their prompts: that of the word sequences.

    The lines of a text count as well, as in a list with one item a line.
    """

    corrections: Mapping[str, Sequence[str]]
    """Corrected and ideal answers by key of the prompt."""
    accuracy: float = PRIOR_ACCURACY
    name: str = "closeness to corrections"

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the closeness of each answer, in [0, 1]; NaN for prompts without a correction."""
        return np.array(
            [
                max(
                    (closeness(answer, item) for item in self._of(prompt)),
                    default=np.nan,
                )
                for prompt, answer in zip(prompts, answers, strict=True)
            ]
        )

    def _of(self, prompt: Prompt) -> Sequence[str]:
        return self.corrections.get(prompt_key(prompt), ())


def corrections(feedback: TrainingSet) -> dict[str, list[str]]:
    """Return edited answers and demonstrations by key of the prompt."""
    results: dict[str, list[str]] = {}
    for case in feedback.cases():
        texts = [edit.text for edit in case.of(Edit)]
        texts += [item.text for item in case.of(Demonstration)]
        if texts:
            results.setdefault(prompt_key(case.interaction.prompt), []).extend(texts)
    return results


def closeness(answer: str, correction: str) -> float:
    """Return how close an answer is to a correction, in [0, 1]."""
    words, target = _WORD.findall(answer.strip()), _WORD.findall(correction.strip())
    return SequenceMatcher(None, words, target, autojunk=False).ratio()

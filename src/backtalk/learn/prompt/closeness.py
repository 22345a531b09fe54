"""Closeness to corrections: edits and demonstrations as a judgement of new answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.kinds import Demonstration, Edit
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.refinements import Refinement
from backtalk.learn.training_set import TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]")
PRIOR_ACCURACY = 0.75
"""Accuracy of the part, in place of an estimate: a prompt rarely has two corrections, which a
cross-validation would need."""


@dataclass(frozen=True)
class Correction:
    """Text that a person made of an answer, or wrote in its place."""

    text: str
    original: str | None = None
    """Answer that was edited; ``None`` for a demonstration."""


@dataclass
class Closeness:
    """Similarity of answers to the corrections on their prompts.

    It is the mean of two parts: the similarity of the word sequences, and the share of the edit's
    changes that an answer has too, words added and words taken out. The second one tells apart
    answers that differ from the corrected text in other ways than the original did.
    """

    corrections: Mapping[str, Sequence[Correction]]
    """Corrections by key of the prompt."""
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

    def _of(self, prompt: Prompt) -> Sequence[Correction]:
        return self.corrections.get(prompt_key(prompt), ())


def corrections(
    feedback: TrainingSet, refinements: Sequence[Refinement] = ()
) -> dict[str, list[Correction]]:
    """Return edits and demonstrations by key of the prompt, and refined answers where none is.

    Parameters
    ----------
    feedback : TrainingSet
        Feedback.
    refinements : sequence of Refinement, default ()
        Answers that a model refined by critiques.
    """
    results: dict[str, list[Correction]] = {}
    for case in feedback.cases():
        items = [Correction(edit.text, case.text(edit.response)) for edit in case.of(Edit)]
        items += [Correction(item.text) for item in case.of(Demonstration)]
        if items:
            results.setdefault(prompt_key(case.interaction.prompt), []).extend(items)
    for one in refinements:
        results.setdefault(prompt_key(one.prompt), [Correction(one.text, one.original)])
    return results


def closeness(answer: str, correction: Correction) -> float:
    """Return how close an answer is to a correction, in [0, 1]."""
    words, target = _WORD.findall(answer), _WORD.findall(correction.text)
    similar = SequenceMatcher(None, words, target, autojunk=False).ratio()
    if correction.original is None:
        return similar
    had, has, target_counts = map(Counter, (_WORD.findall(correction.original), words, target))
    added, removed = target_counts - had, had - target_counts
    changes = added.total() + removed.total()
    if not changes:
        return similar
    made = (added & has).total() + sum(
        min(count, max(had[word] - has[word], 0)) for word, count in removed.items()
    )
    return (similar + made / changes) / 2

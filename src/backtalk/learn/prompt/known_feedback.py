"""Words of people about answers, found again for new answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.kinds import Demonstration, Edit
from backtalk.feedback.views import CritiqueView, Pair
from backtalk.learn.prompt.examples import good_answers
from backtalk.learn.prompt.protocol import TextFeedback
from backtalk.learn.prompt.refinements import Refinement
from backtalk.learn.training_set import TrainingSet

_SAME = 0.9
"""Similarity from which a critique of an answer holds for another one to the same prompt."""


@dataclass(frozen=True)
class KnownFeedback:
    """Critiques and better answers by prompt."""

    critiques: Mapping[str, Sequence[CritiqueView]]
    """Critiques by key of the prompt."""
    better: Mapping[str, Sequence[str]]
    """Corrected, ideal and preferred answers by key of the prompt, the most reliable first."""
    answers: Sequence[tuple[Prompt, str]] = ()
    """Requests with a good answer of a person each."""
    refinements: tuple[Refinement, ...] = ()
    """Answers that a model refined by critiques."""

    @classmethod
    def of(cls, feedback: TrainingSet) -> KnownFeedback:
        """Return the words and better answers of a training set, on all aspects."""
        critiques: dict[str, list[CritiqueView]] = {}
        for view in feedback.on_aspect(None).views(CritiqueView):
            critiques.setdefault(prompt_key(view.prompt), []).append(view)
        better: dict[str, list[str]] = {}
        for case in feedback.cases():
            texts = [item.text for item in case.feedback if isinstance(item, Edit | Demonstration)]
            if texts:
                better.setdefault(prompt_key(case.interaction.prompt), []).extend(texts)
        for pair in feedback.views(Pair):
            if not pair.tie:
                better.setdefault(prompt_key(pair.prompt), []).append(pair.chosen)
        return cls(critiques, better, good_answers(feedback))

    def about(self, prompt: Prompt, answer: str) -> TextFeedback:
        """Return what was said about an answer or one like it, and a better answer."""
        key = prompt_key(prompt)
        critiques = [
            view.critique
            for view in self.critiques.get(key, ())
            if view.completion == answer
            or SequenceMatcher(None, view.completion, answer).ratio() >= _SAME
        ]
        better = next((text for text in self.better.get(key, ()) if text != answer), None)
        return TextFeedback(prompt, answer, " ".join(dict.fromkeys(critiques)), better)

    def with_refined(self, refinements: Sequence[Refinement]) -> KnownFeedback:
        """Return the same feedback with refined answers as better ones, after those of people."""
        better = {key: list(texts) for key, texts in self.better.items()}
        for one in refinements:
            better.setdefault(prompt_key(one.prompt), []).append(one.text)
        return replace(self, better=better, refinements=tuple(refinements))

    @property
    def good_answers(self) -> list[tuple[Prompt, str]]:
        """Requests with a good answer each: of people, or else refined by a model."""
        results = {prompt_key(prompt): (prompt, text) for prompt, text in self.answers}
        for one in self.refinements:
            results.setdefault(prompt_key(one.prompt), (one.prompt, one.text))
        return list(results.values())

    @property
    def reviews(self) -> list[TextFeedback]:
        """All critiques with their answers."""
        return [
            TextFeedback(view.prompt, view.completion, view.critique, view.refinement)
            for views in self.critiques.values()
            for view in views
        ]

"""Views: the shapes of training data that learners read, made from feedback of any kind.

A view carries texts rather than ids, so that it can be used without its interaction. It also
carries the provenance needed to correct for bias: annotator, display order and propensity.
``records()`` converts a view back to an interaction and feedback.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Prompt, Response
from backtalk.feedback.kinds import (
    AnyFeedback,
    Critique,
    Demonstration,
    Edit,
    Label,
    Preference,
    Ranking,
    Rating,
    Scale,
    Span,
    Spans,
    Step,
    Steps,
)
from backtalk.feedback.record import Name, Offset, OptionalField, Probability, Propensity, Record


class View(Record):
    """Fields shared by all views."""

    prompt: Prompt
    interaction: Name = "unknown"
    """Id of the interaction that the view was made from."""
    annotator: Annotator = Annotator.human()
    feedback: tuple[Name, ...] = ()
    """Ids of the feedback that the view was made from."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the example, in (0, 1] when made from feedback: the annotator's confidence, 1 if
    it was not stated."""

    def records(self) -> Case:
        """Return an interaction and feedback that convert to this view."""
        raise TypeError(f"{type(self).__name__} cannot be converted to records")

    def _confidence(self) -> float | None:
        return self.weight if self.weight < 1 else None

    def _interaction(self, *texts: str) -> Interaction:
        responses = tuple(Response(id=str(i), text=text) for i, text in enumerate(texts))
        return Interaction(id=self.interaction, prompt=self.prompt, responses=responses, time=None)


class Pair(View):
    """Two responses, one better than the other, or a tie."""

    chosen: str
    rejected: str
    tie: bool = False
    """If true, the responses are equally good, and ``chosen`` is either of the two."""
    probability: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """Probability that ``chosen`` is better, in [0.5, 1]; 0.5 for a tie."""
    strength: OptionalField[Annotated[float, Field(gt=0, le=1)]] = None
    """Strength of the preference, in (0, 1]; ``None`` if unknown."""
    first: OptionalField[Literal["chosen", "rejected"]] = None
    """Response that was displayed first; ``None`` if unknown."""
    propensity: OptionalField[Propensity] = None
    """Probability, in (0, 1], of the judged display; ``None`` if it was not logged."""
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _tie_is_balanced(self) -> Self:
        if self.tie and (self.probability != 0.5 or self.strength is not None):
            raise ValueError("tie: a tie has probability 0.5 and no strength")
        return self

    def records(self) -> Case:
        """Return a preference between two responses."""
        texts = (self.chosen, self.rejected)
        a, b = ("1", "0") if self.first == "rejected" else ("0", "1")
        interaction = self._interaction(*(texts if a == "0" else texts[::-1]))
        if self.first is not None:
            interaction = interaction.model_copy(
                update={"shown": ("0", "1"), "propensity": self.propensity}
            )
        preference = Preference(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            a=a,
            b=b,
            verdict="tie" if self.tie else "a",
            probability=None if self.tie or self.probability == 1 else self.probability,
            strength=self.strength,
            aspect=self.aspect,
        )
        return Case(interaction, (preference,))


class SFTExample(View):
    """Completion to imitate, for supervised fine-tuning."""

    completion: str

    def records(self) -> Case:
        """Return a demonstration."""
        interaction = self._interaction()
        demonstration = Demonstration(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            text=self.completion,
        )
        return Case(interaction, (demonstration,))


class LabelView(View):
    """Completion that is good or bad, on its own (unpaired)."""

    completion: str
    good: bool
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a label."""
        interaction = self._interaction(self.completion)
        label = Label(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            good=self.good,
            aspect=self.aspect,
        )
        return Case(interaction, (label,))


class ScoreView(View):
    """Completion with a score in [0, 1] for one aspect."""

    completion: str
    score: Probability
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a rating on the unit scale."""
        interaction = self._interaction(self.completion)
        rating = Rating(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            value=self.score,
            scale=Scale.UNIT,
            aspect=self.aspect,
        )
        return Case(interaction, (rating,))


class RankingView(View):
    """Several completions in tiers, best first."""

    tiers: Annotated[tuple[tuple[str, ...], ...], Field(min_length=1)]
    within: Literal["tied", "unordered"] = "tied"
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a ranking."""
        interaction = self._interaction(*(text for tier in self.tiers for text in tier))
        ids = iter(response.id for response in interaction.responses)
        ranking = Ranking(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            tiers=tuple(tuple(next(ids) for _ in tier) for tier in self.tiers),
            within=self.within,
            aspect=self.aspect,
        )
        return Case(interaction, (ranking,))


class SpanWeight(Record):
    """Weight of a text range, ``text[start:end]``, in [-1, 1]; positive is good."""

    start: Offset
    end: Offset
    value: Annotated[float, Field(ge=-1, le=1)]
    label: OptionalField[Name] = None


class SpanWeights(View):
    """Completion with weights of text ranges; text outside them has weight 0."""

    completion: str
    weights: tuple[SpanWeight, ...]

    def records(self) -> Case:
        """Return spans."""
        interaction = self._interaction(self.completion)
        spans = tuple(
            Span(
                start=weight.start,
                end=weight.end,
                label=weight.label or ("good" if weight.value > 0 else "bad"),
                good=weight.value > 0,
                severity=abs(weight.value),
            )
            for weight in self.weights
        )
        feedback = Spans(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            spans=spans,
        )
        return Case(interaction, (feedback,))


class StepLabels(View):
    """Completion with its checked steps, up to the last one that was checked."""

    completion: str
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of the steps."""
        return tuple(self.completion[step.start : step.end] for step in self.steps)

    def records(self) -> Case:
        """Return checked steps."""
        interaction = self._interaction(self.completion)
        steps = Steps(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            steps=self.steps,
        )
        return Case(interaction, (steps,))


class CritiqueView(View):
    """Completion, critique of it, and refined completion if there is one."""

    completion: str
    critique: Name
    refinement: OptionalField[str] = None

    def records(self) -> Case:
        """Return a critique, and an edit if there is a refinement."""
        interaction = self._interaction(self.completion)
        feedback: list[AnyFeedback] = [
            Critique(
                interaction=interaction.id,
                annotator=self.annotator,
                time=None,
                confidence=self._confidence(),
                response="0",
                text=self.critique,
            )
        ]
        if self.refinement is not None:
            feedback.append(
                Edit(
                    interaction=interaction.id,
                    annotator=self.annotator,
                    time=None,
                    confidence=self._confidence(),
                    response="0",
                    text=self.refinement,
                )
            )
        return Case(interaction, tuple(feedback))


VIEWS: dict[str, type[View]] = {
    "pair": Pair,
    "example": SFTExample,
    "label": LabelView,
    "score": ScoreView,
    "ranking": RankingView,
    "span-weights": SpanWeights,
    "step-labels": StepLabels,
    "critique": CritiqueView,
}
"""All views by name."""

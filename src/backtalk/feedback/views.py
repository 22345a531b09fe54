"""What learners read: records of any kind, seen as one of a few shapes of training data.

A view carries texts rather than ids, so that it can be used without its interaction, and the
provenance that removes bias later: who judged, what was shown first, with what propensity.
``records()`` turns a view back into the interaction and feedback that say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction, Prompt, Response
from backtalk.feedback.judgements import OVERALL, Label, Preference, Ranking, Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.parts import Span, Spans, Step, Steps
from backtalk.feedback.record import Name, Offset, OptionalField, Probability, Propensity, Record
from backtalk.feedback.words import Critique, Demonstration, Edit

Kind = TypeVar("Kind", bound=AnyFeedback)


@dataclass(frozen=True, slots=True)
class Case:
    """An interaction and what was said about it."""

    interaction: Interaction
    feedback: tuple[AnyFeedback, ...] = ()

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the feedback of one kind, in order."""
        return [item for item in self.feedback if isinstance(item, kind)]

    def text(self, response: str) -> str:
        """Return the text of a response."""
        return self.interaction.response(response).text


class View(Record):
    """The fields that all views share."""

    prompt: Prompt
    interaction: Name = "unknown"
    """The id of the interaction it comes from."""
    annotator: Annotator = Annotator.human()
    feedback: tuple[Name, ...] = ()
    """The ids of the feedback it was made from."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How much it counts; the annotator's confidence where they gave one."""

    def records(self) -> Case:
        """Return the interaction and feedback that say the same as this view."""
        raise TypeError(f"{type(self).__name__} has no records of its own")

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
    """Whether they were found equally good; then ``chosen`` is simply one of the two."""
    probability: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """The probability that ``chosen`` is the better one; 0.5 in a tie."""
    strength: OptionalField[Annotated[float, Field(gt=0, le=1)]] = None
    """How much better, in (0, 1], where that is known."""
    first: OptionalField[Literal["chosen", "rejected"]] = None
    """Which was shown first, where that is known."""
    propensity: OptionalField[Propensity] = None
    """The probability of the display that was judged, where it was logged."""
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _tie_is_even(self) -> Self:
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
        judged = Preference(
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
        return Case(interaction, (judged,))


class SFTExample(View):
    """A completion to imitate."""

    completion: str

    def records(self) -> Case:
        """Return a demonstration."""
        interaction = self._interaction()
        shown = Demonstration(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            text=self.completion,
        )
        return Case(interaction, (shown,))


class LabelView(View):
    """A completion that is good or bad, on its own (unpaired)."""

    completion: str
    good: bool
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a label."""
        interaction = self._interaction(self.completion)
        said = Label(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            good=self.good,
            aspect=self.aspect,
        )
        return Case(interaction, (said,))


class ScoreView(View):
    """A completion with a score in [0, 1] for one aspect."""

    completion: str
    score: Probability
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a rating on the unit scale."""
        interaction = self._interaction(self.completion)
        said = Rating(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            value=self.score,
            scale=Scale.UNIT,
            aspect=self.aspect,
        )
        return Case(interaction, (said,))


class RankingView(View):
    """Several completions in tiers, best first."""

    tiers: Annotated[tuple[tuple[str, ...], ...], Field(min_length=1)]
    within: Literal["tied", "unordered"] = "tied"
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a ranking."""
        interaction = self._interaction(*(text for tier in self.tiers for text in tier))
        ids = iter(response.id for response in interaction.responses)
        said = Ranking(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            tiers=tuple(tuple(next(ids) for _ in tier) for tier in self.tiers),
            within=self.within,
            aspect=self.aspect,
        )
        return Case(interaction, (said,))


class SpanWeight(Record):
    """A stretch of a text, ``text[start:end]``, and how good it is, in [-1, 1]."""

    start: Offset
    end: Offset
    value: Annotated[float, Field(ge=-1, le=1)]
    label: OptionalField[Name] = None


class SpanWeights(View):
    """A completion whose parts are good or bad; what no weight covers counts 0."""

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
        said = Spans(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            spans=spans,
        )
        return Case(interaction, (said,))


class StepLabels(View):
    """A completion whose steps have been checked, up to the last one that was."""

    completion: str
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @property
    def texts(self) -> tuple[str, ...]:
        """The steps as texts."""
        return tuple(self.completion[step.start : step.end] for step in self.steps)

    def records(self) -> Case:
        """Return checked steps."""
        interaction = self._interaction(self.completion)
        said = Steps(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            steps=self.steps,
        )
        return Case(interaction, (said,))


class CritiqueView(View):
    """A completion, what was said about it in words, and the better version where there is one."""

    completion: str
    critique: Name
    refinement: OptionalField[str] = None

    def records(self) -> Case:
        """Return a critique, and an edit where there is a refinement."""
        interaction = self._interaction(self.completion)
        said: list[AnyFeedback] = [
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
            said.append(
                Edit(
                    interaction=interaction.id,
                    annotator=self.annotator,
                    time=None,
                    confidence=self._confidence(),
                    response="0",
                    text=self.refinement,
                )
            )
        return Case(interaction, tuple(said))


VIEWS: dict[str, type[View]] = {
    "pair": Pair,
    "example": SFTExample,
    "labelled": LabelView,
    "scored": ScoreView,
    "ranked": RankingView,
    "weighted": SpanWeights,
    "stepwise": StepLabels,
    "critiqued": CritiqueView,
}
"""Every view by its name."""

"""Views: the shapes of training data that learners read, made from feedback of any kind.

A view carries texts rather than ids, so that it can be used without its interaction. It also
carries the provenance needed to correct for bias: annotator, display order and propensity.
``records()`` converts a view back to an interaction and feedback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.answers import Messages, answer_key, is_plain
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
from backtalk.feedback.record import (
    OMIT_EMPTY,
    Name,
    Offset,
    OptionalField,
    Probability,
    Propensity,
    Record,
)


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

    @property
    def is_plain(self) -> bool:
        """True if its texts are all of its answers, without tool calls or further messages."""
        return True

    def records(self) -> Case:
        """Return an interaction and feedback that convert to this view."""
        raise TypeError(f"{type(self).__name__} cannot be converted to records")

    def _confidence(self) -> float | None:
        return self.weight if self.weight < 1 else None

    def _interaction(
        self,
        *texts: str,
        messages: Sequence[Messages] = (),
        reasoning: Sequence[str | None] = (),
    ) -> Interaction:
        turns, thoughts = messages or ((),) * len(texts), reasoning or (None,) * len(texts)
        responses = tuple(
            Response(id=str(i), text=text, messages=turns[i], reasoning=thoughts[i])
            for i, text in enumerate(texts)
        )
        return Interaction(id=self.interaction, prompt=self.prompt, responses=responses, time=None)


class Completion(View):
    """View of one completion."""

    completion: str
    messages: Messages = Field(default=(), exclude_if=OMIT_EMPTY)
    """All messages of the completion, if it is not one plain message: tool calls, several
    turns."""
    reasoning: OptionalField[str] = None
    """Reasoning before the completion, apart from its text; ``None`` if unknown."""

    @property
    def is_plain(self) -> bool:
        """True if the text is all of the completion."""
        return is_plain(self.messages)

    def _one_response(self) -> Interaction:
        return self._interaction(
            self.completion, messages=(self.messages,), reasoning=(self.reasoning,)
        )


class Pair(View):
    """Two responses, one better than the other, or a tie."""

    chosen: str
    rejected: str
    chosen_messages: Messages = Field(default=(), exclude_if=OMIT_EMPTY)
    """All messages of the better response, if it is not one plain message."""
    rejected_messages: Messages = Field(default=(), exclude_if=OMIT_EMPTY)
    """All messages of the other response, if it is not one plain message."""
    chosen_reasoning: OptionalField[str] = None
    """Reasoning before the better response, apart from its text; ``None`` if unknown."""
    rejected_reasoning: OptionalField[str] = None
    """Reasoning before the other response, apart from its text; ``None`` if unknown."""
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

    @property
    def is_plain(self) -> bool:
        """True if the texts are all of the two responses."""
        return is_plain(self.chosen_messages) and is_plain(self.rejected_messages)

    @property
    def is_equal(self) -> bool:
        """True if both responses are the same in text and messages."""
        return answer_key(self.chosen, self.chosen_messages) == answer_key(
            self.rejected, self.rejected_messages
        )

    def records(self) -> Case:
        """Return a preference between two responses."""
        a, b = ("1", "0") if self.first == "rejected" else ("0", "1")
        order = 1 if a == "0" else -1
        texts = [self.chosen, self.rejected][::order]
        messages = [self.chosen_messages, self.rejected_messages][::order]
        reasoning = [self.chosen_reasoning, self.rejected_reasoning][::order]
        interaction = self._interaction(*texts, messages=messages, reasoning=reasoning)
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


class SFTExample(Completion):
    """Completion to imitate, for supervised fine-tuning."""

    def records(self) -> Case:
        """Return a demonstration, or a good response if it has several messages or reasoning."""
        if self.messages or self.reasoning:
            label = LabelView(**dict(self), good=True)
            return label.records()
        interaction = self._interaction()
        demonstration = Demonstration(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            text=self.completion,
        )
        return Case(interaction, (demonstration,))


class LabelView(Completion):
    """Completion that is good or bad, on its own (unpaired)."""

    good: bool
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a label."""
        interaction = self._one_response()
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


Labelled = LabelView
"""Earlier name of :class:`LabelView`."""


class ScoreView(Completion):
    """Completion with a score in [0, 1] for one aspect."""

    score: Probability
    aspect: Name = OVERALL

    def records(self) -> Case:
        """Return a rating on the unit scale."""
        interaction = self._one_response()
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
    messages: tuple[tuple[Messages, ...], ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """All messages of each completion, in the same tiers; empty if all are plain messages."""
    within: Literal["tied", "unordered"] = "tied"
    aspect: Name = OVERALL

    @property
    def is_plain(self) -> bool:
        """True if the texts are all of the completions."""
        return all(is_plain(messages) for tier in self.messages for messages in tier)

    def records(self) -> Case:
        """Return a ranking."""
        interaction = self._interaction(
            *(text for tier in self.tiers for text in tier),
            messages=tuple(messages for tier in self.messages for messages in tier),
        )
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


class SpanWeights(Completion):
    """Completion with weights of text ranges; text outside them has weight 0."""

    weights: tuple[SpanWeight, ...]

    def records(self) -> Case:
        """Return spans."""
        interaction = self._one_response()
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


class StepLabels(Completion):
    """Completion with its checked steps, up to the last one that was checked."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of the steps."""
        return tuple(self.completion[step.start : step.end] for step in self.steps)

    def records(self) -> Case:
        """Return checked steps."""
        interaction = self._one_response()
        steps = Steps(
            interaction=interaction.id,
            annotator=self.annotator,
            time=None,
            confidence=self._confidence(),
            response="0",
            steps=self.steps,
        )
        return Case(interaction, (steps,))


class CritiqueView(Completion):
    """Completion, critique of it, and refined completion if there is one."""

    critique: Name
    refinement: OptionalField[str] = None

    def records(self) -> Case:
        """Return a critique, and an edit if there is a refinement."""
        interaction = self._one_response()
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

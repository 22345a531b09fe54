"""All kinds of feedback, from ratings to standing instructions, and their union.

>>> from backtalk.feedback import Annotator
>>> thumb = Label(interaction="i", annotator=Annotator.human("ada"), response="0", good=True)
>>> parse_feedback(thumb.to_json()) == thumb
True
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from backtalk.errors import RecordError
from backtalk.feedback.base import OVERALL, BaseFeedback, ResponseFeedback, TextRange
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.record import (
    Name,
    Offset,
    OptionalField,
    Probability,
    Propensity,
    Record,
    record_error,
    repeated,
)

# Ratings and labels


class Scale(Record):
    """Named scale of numbers; larger is better.

    >>> Scale.STARS.normalise(4)
    0.75
    """

    name: Name
    low: float
    """Worst value."""
    high: float
    """Best value."""

    STARS: ClassVar[Scale]
    UNIT: ClassVar[Scale]
    PERCENT: ClassVar[Scale]
    LIKERT_7: ClassVar[Scale]

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low: {self.low} is not below high, {self.high}")
        return self

    def normalise(self, value: float) -> float:
        """Return ``value`` mapped linearly to [0, 1]."""
        return (value - self.low) / (self.high - self.low)


Scale.STARS = Scale(name="stars", low=1, high=5)
Scale.UNIT = Scale(name="unit", low=0, high=1)
Scale.PERCENT = Scale(name="percent", low=0, high=100)
Scale.LIKERT_7 = Scale(name="likert-7", low=1, high=7)


class Rating(ResponseFeedback):
    """Number on a named scale, for one aspect of one response."""

    kind: Literal["rating"] = "rating"
    value: float
    """Value on ``scale``."""
    scale: Scale = Scale.STARS
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _value_on_scale(self) -> Self:
        if not self.scale.low <= self.value <= self.scale.high:
            raise ValueError(
                f"value: {self.value} is not on the scale {self.scale.name!r}, "
                f"{self.scale.low:g} to {self.scale.high:g}"
            )
        return self

    @property
    def normalised(self) -> float:
        """The value mapped linearly to [0, 1]."""
        return self.scale.normalise(self.value)


class Label(ResponseFeedback):
    """Good or bad, such as a thumb up or down."""

    kind: Literal["label"] = "label"
    good: bool
    aspect: Name = OVERALL


# Preferences and rankings

Verdict = Literal["a", "b", "tie", "both_bad"]


def verdict_score(verdict: Verdict) -> float | None:
    """Return the score of response ``a``: 1 if it wins, 0 if ``b`` wins, 0.5 for a tie.

    The score of "both bad" is ``None``: it is a judgement on each response and does not compare
    them, so that it is evidence for neither.

    >>> [verdict_score(verdict) for verdict in get_args(Verdict)]
    [1.0, 0.0, 0.5, None]
    """
    return _VERDICT_SCORES[verdict]


_VERDICT_SCORES: dict[Verdict, float | None] = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": None}


class Preference(BaseFeedback):
    """Comparison of two responses.

    ``"tie"`` means that they are equally good. ``"both_bad"`` means that neither is acceptable,
    which is a judgement on each of them and not a tie.

    >>> from backtalk.feedback import Annotator
    >>> preference = Preference(interaction="i", annotator=Annotator.human("ada"),
    ...                         a="0", b="1", verdict="b")
    >>> preference.chosen, preference.rejected
    ('1', '0')
    """

    kind: Literal["preference"] = "preference"
    a: Name
    """Id of the first response."""
    b: Name
    """Id of the second response."""
    verdict: Verdict
    probability: OptionalField[Probability] = None
    """Probability that ``a`` is better, in [0, 1], such as a judge's softmax or a panel's share of
    votes; ``None`` if the annotator gave none. It must agree with the verdict."""
    strength: OptionalField[Annotated[float, Field(gt=0, le=1)]] = None
    """Strength of the preference, in (0, 1], where 1 is the strongest that the annotator could
    express; ``None`` if it was not stated."""
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.a == self.b:
            raise ValueError(f"b: response {self.b!r} is compared with itself")
        p = self.probability
        if p is not None and (
            self.verdict == "both_bad"
            or (self.verdict == "a" and p < 0.5)
            or (self.verdict == "b" and p > 0.5)
            or (self.verdict == "tie" and p != 0.5)
        ):
            raise ValueError(f"probability: {p} contradicts the verdict {self.verdict!r}")
        if self.strength is not None and self.verdict not in {"a", "b"}:
            raise ValueError(f"strength: not allowed with the verdict {self.verdict!r}")
        return self

    @staticmethod
    def verdict_for(probability: float) -> Verdict:
        """Return the verdict that agrees with a probability that ``a`` is better."""
        if probability == 0.5:
            return "tie"
        return "a" if probability > 0.5 else "b"

    @property
    def chosen(self) -> str | None:
        """Id of the better response; ``None`` for a tie and for "both bad"."""
        return {"a": self.a, "b": self.b}.get(self.verdict)

    @property
    def rejected(self) -> str | None:
        """Id of the worse response; ``None`` for a tie and for "both bad"."""
        return {"a": self.b, "b": self.a}.get(self.verdict)

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the two responses compared."""
        return (("a", self.a), ("b", self.b))


class Ranking(BaseFeedback):
    """Partial order of several responses as tiers, best first.

    Responses in no tier were not ranked. ``within`` gives the relation of responses in one tier:
    the annotator found them equal (``"tied"``), or did not compare them (``"unordered"``), as when
    only the best of K was picked.
    """

    kind: Literal["ranking"] = "ranking"
    tiers: Annotated[
        tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...], Field(min_length=1)
    ]
    """Response ids in tiers, best tier first."""
    within: Literal["tied", "unordered"] = "tied"
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = list(chain.from_iterable(self.tiers))
        if (duplicate := repeated(ids)) is not None:
            raise ValueError(f"tiers: response {duplicate!r} is ranked twice")
        if len(ids) < 2:
            raise ValueError("tiers: a ranking needs at least two responses")
        if len(self.tiers) == 1 and self.within == "unordered":
            raise ValueError("tiers: a single unordered tier ranks nothing")
        return self

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return all ranked responses."""
        return tuple(("tiers", id_) for tier in self.tiers for id_ in tier)


# Critiques, edits and demonstrations


class Critique(BaseFeedback):
    """Free text about a response, a part of it, an interaction, or the system as a whole."""

    kind: Literal["critique"] = "critique"
    interaction: OptionalField[Name] = None  # type: ignore[assignment]
    """Id of the interaction; ``None`` for the system as a whole."""
    text: Name
    response: OptionalField[Name] = None
    """Id of the response; ``None`` for the interaction or the system as a whole."""
    start: OptionalField[Offset] = None
    """Start offset of the criticised part, inclusive."""
    end: OptionalField[Offset] = None
    """End offset of the criticised part, exclusive."""
    step: OptionalField[Offset] = None
    """Index of the criticised step, from 0."""
    aspect: OptionalField[Name] = None
    """Aspect that the critique is about, if it was stated."""

    @model_validator(mode="after")
    def _valid_target(self) -> Self:
        if self.response is not None and self.interaction is None:
            raise ValueError("interaction: required in a critique of a response")
        if (self.start is None) != (self.end is None):
            raise ValueError("end: start and end must be set together")
        if self.start is not None and self.end is not None and not self.start < self.end:
            raise ValueError(f"end: {self.end} is not greater than start, {self.start}")
        if self.response is None and (self.start is not None or self.step is not None):
            raise ValueError("response: required in a critique of a part or a step")
        return self

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the criticised response, if there is one."""
        return () if self.response is None else (("response", self.response),)

    def check(self, interaction: Interaction) -> None:
        """Check that the critique fits its interaction and its part lies inside the text."""
        super().check(interaction)
        if self.response is not None and self.end is not None:
            self._check_end_offset("end", self.end, interaction.response(self.response).text)


class Edit(ResponseFeedback):
    """Response as a person changed it."""

    kind: Literal["edit"] = "edit"
    text: str
    """Full text after the edit."""

    def check(self, interaction: Interaction) -> None:
        """Check that the edit fits its interaction and changes the response."""
        super().check(interaction)
        if self.text == interaction.response(self.response).text:
            raise RecordError("text: the edited text is the same as the response")


class Demonstration(BaseFeedback):
    """Ideal response, written from scratch."""

    kind: Literal["demonstration"] = "demonstration"
    text: Name


# Parts of a response


class Span(TextRange):
    """Labelled range of a response's text."""

    label: Name
    """Type of error or merit, such as "irrelevant" or "wrong-grounding"."""
    good: bool = False
    """If true, the label is praise; by default it is an error."""
    severity: OptionalField[Annotated[float, Field(ge=0, le=1)]] = None
    """Severity of the error or degree of the merit, in [0, 1]; ``None`` if it was not stated."""
    comment: OptionalField[Name] = None


class Spans(ResponseFeedback):
    """Labelled ranges of a response; an empty list means that the annotator marked none."""

    kind: Literal["spans"] = "spans"
    spans: tuple[Span, ...]

    def check(self, interaction: Interaction) -> None:
        """Check that the spans fit their interaction and lie inside the response's text."""
        super().check(interaction)
        text = interaction.response(self.response).text
        for i, span in enumerate(self.spans):
            self._check_end_offset(f"spans.{i}.end", span.end, text)


StepVerdict = Literal["right", "wrong", "neutral"]


class Step(TextRange):
    """One step of a solution with its verdict."""

    verdict: StepVerdict
    comment: OptionalField[Name] = None


class Steps(ResponseFeedback):
    """Steps of a response in order, each right, wrong or neutral."""

    kind: Literal["steps"] = "steps"
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for i in range(1, len(self.steps)):
            if self.steps[i].start < self.steps[i - 1].end:
                raise ValueError(f"steps: step {i} begins before step {i - 1} ends")
        return self

    def check(self, interaction: Interaction) -> None:
        """Check that the steps fit their interaction and lie inside the response's text."""
        super().check(interaction)
        text = interaction.response(self.response).text
        for i, step in enumerate(self.steps):
            self._check_end_offset(f"steps.{i}.end", step.end, text)


# Observations: verifier results, follow-ups and clicks


class Outcome(ResponseFeedback):
    """Result of a verifier or a run for a response."""

    kind: Literal["outcome"] = "outcome"
    passed: OptionalField[bool] = None
    score: OptionalField[Probability] = None
    """Score in [0, 1], such as the share of tests passed."""
    text: str = ""
    """Output of the run, such as a traceback or an error message."""

    @model_validator(mode="after")
    def _has_result(self) -> Self:
        if self.passed is None and self.score is None:
            raise ValueError("passed: an outcome needs passed or score")
        return self


DialogueAct = Literal["thanks", "complaint", "correction", "rephrasing", "clarification", "other"]


class FollowUp(BaseFeedback):
    """Next message of the user."""

    kind: Literal["follow_up"] = "follow_up"
    text: Name
    response: OptionalField[Name] = None
    """Id of the response that the message follows, if several were shown."""
    act: OptionalField[DialogueAct] = None
    """Dialogue act of the message; ``None`` if it has not been classified."""

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the response that the message follows, if it is named."""
        return () if self.response is None else (("response", self.response),)


class Shown(Record):
    """One displayed response; its index in the list is its position."""

    response: Name
    """Id of the response."""
    propensity: OptionalField[Propensity] = None
    """Probability, in (0, 1], with which the response was shown at this position."""


class Choice(BaseFeedback):
    """Response that the user picked from those displayed, in display order."""

    kind: Literal["choice"] = "choice"
    chosen: Name | None
    """Id of the picked response; ``None`` if the user saw the list and picked nothing."""
    shown: Annotated[tuple[Shown, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _chosen_was_shown(self) -> Self:
        ids = [item.response for item in self.shown]
        if (duplicate := repeated(ids)) is not None:
            raise ValueError(f"shown: the response {duplicate!r} is listed twice")
        if self.chosen is not None and self.chosen not in ids:
            raise ValueError(f"chosen: {self.chosen!r} was not shown; the display had {ids}")
        return self

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return all displayed responses."""
        return tuple(("shown", item.response) for item in self.shown)


# Standing instructions


class Scope(Record):
    """Conditions under which a standing instruction applies; an empty scope means always."""

    where: OptionalField[Name] = None
    """Condition in words, such as "in e-mails to my boss"."""
    users: tuple[Name, ...] = ()
    """Ids of the users to whose requests it applies; empty for all users."""
    inside: tuple[Name, ...] = ()
    """Prompts, as text, to which it applies."""
    outside: tuple[Name, ...] = ()
    """Prompts, as text, to which it does not apply."""


class Instruction(BaseFeedback):
    """Standing rule in words, such as "no emojis in e-mails to my boss"."""

    kind: Literal["instruction"] = "instruction"
    interaction: OptionalField[Name] = None  # type: ignore[assignment]
    """Id of the interaction that prompted the rule, if one did."""
    text: Name
    scope: Scope = Field(default_factory=Scope)


# Union of all kinds

AnyFeedback = (
    Rating
    | Label
    | Preference
    | Ranking
    | Critique
    | Edit
    | Demonstration
    | Spans
    | Steps
    | Outcome
    | FollowUp
    | Choice
    | Instruction
)
Feedback = Annotated[AnyFeedback, Field(discriminator="kind")]

FeedbackT = TypeVar("FeedbackT", bound=AnyFeedback)

KINDS: dict[str, type[AnyFeedback]] = {
    get_args(cls.model_fields["kind"].annotation)[0]: cls for cls in get_args(AnyFeedback)
}
"""Feedback classes by the value of their ``kind`` field."""


@cache
def feedback_adapter() -> TypeAdapter[AnyFeedback]:
    """Return the pydantic adapter that validates and serialises feedback of any kind."""
    return TypeAdapter(Feedback)


def parse_feedback(data: str | bytes | dict[str, Any]) -> AnyFeedback:
    """Parse feedback of any kind from JSON or from a dictionary.

    Raises
    ------
    RecordError
        If it is not valid; the message names the field.
    """
    try:
        if isinstance(data, (str, bytes)):
            return feedback_adapter().validate_json(data)
        return feedback_adapter().validate_python(data)
    except ValidationError as error:
        raise record_error("feedback", error) from None


def parse_interaction(data: str | bytes | dict[str, Any]) -> Interaction:
    """Parse an interaction from JSON or from a dictionary.

    Raises
    ------
    RecordError
        If it is not valid; the message names the field.
    """
    try:
        if isinstance(data, (str, bytes)):
            return Interaction.model_validate_json(data)
        return Interaction.model_validate(data)
    except ValidationError as error:
        raise record_error("interaction", error) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an interaction and of every kind of feedback."""
    models = [(cls, "validation") for cls in (Interaction, *KINDS.values())]
    _, schema = models_json_schema(models, title="Backtalk records")  # type: ignore[arg-type]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["oneOf"] = [
        {"$ref": f"#/$defs/{cls.__name__}"} for cls in (Interaction, *KINDS.values())
    ]
    return schema

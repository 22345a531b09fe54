"""What a mapping says about feedback: for each kind, which columns hold it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from backtalk.feedback.annotator import Annotator, AnnotatorKind
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.judgements import OVERALL, Label, Preference, Ranking, Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.record import Name, OptionalField, Record, repeated
from backtalk.feedback.signals import Choice, FollowUp, Outcome, Shown
from backtalk.feedback.words import Critique, Demonstration, Edit, Instruction
from backtalk.formats.content_ids import Kind, feedback
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.cells import (
    Column,
    Values,
    cell,
    empty,
    meaning,
    number,
    plain,
    timestamp,
    value,
    words,
)
from backtalk.formats.options import scale as read_scale

Talk = Interaction | None
"""What the feedback is about; ``None`` for the system as a whole."""
Place = Annotated[int, Field(ge=0)]
"""The place of a response in the mapping's list, from 0."""


class _Mapping(Record):
    """What every kind has: who gave it, and when; each by the name of a column."""

    # Most imports need no mapping, and building the validators takes longer than reading one.
    model_config = ConfigDict(defer_build=True)

    annotator: OptionalField[Column] = None
    annotator_kind: AnnotatorKind = "human"
    time: OptionalField[Column] = None
    confidence: OptionalField[Column] = None

    VALUES: ClassVar[tuple[str, ...]] = ()
    """The fields that say which values of the column stand for what."""

    OF_PROMPT: ClassVar[bool] = True
    """Whether there is such feedback only about an answer to a prompt."""

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        said = [name for name in self.VALUES if name in self.model_fields_set]
        if (twice := repeated(each for name in said for each in getattr(self, name))) is not None:
            raise ValueError(f"{' and '.join(said)}: the value {twice!r} stands for two things")
        return self

    def places(self) -> dict[str, int]:
        """Return the places of the responses that it speaks of, by field."""
        return {}

    def said(self, row: Fields) -> bool:
        """Whether there is such feedback in a row: not where the cell is empty."""
        raise NotImplementedError

    def read(self, row: Fields, interaction: Talk, distinct: str | None) -> list[AnyFeedback]:
        """Return what a row says."""
        return [self._say(row, interaction, distinct)] if self.said(row) else []

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> AnyFeedback:
        raise NotImplementedError

    def _build(
        self, kind: type[Kind], row: Fields, interaction: Talk, distinct: str | None, **payload: Any
    ) -> Kind:
        return feedback(
            kind,
            interaction,
            Annotator(id=words(row, self.annotator) or "unknown", kind=self.annotator_kind),
            time=timestamp(row, self.time),
            confidence=number(row, self.confidence),
            distinct=distinct,
            **payload,
        )

    def _meaning(self, row: Fields, column: str) -> str:
        # What the file says goes before what is assumed.
        names = sorted(self.VALUES, key=lambda name: name not in self.model_fields_set)
        return meaning(row, column, {name: getattr(self, name) for name in names})


class _OfColumn(_Mapping):
    column: Column

    def said(self, row: Fields) -> bool:
        return not empty(row, self.column)


class _OfResponse(_OfColumn):
    response: Place = 0

    def places(self) -> dict[str, int]:
        return {"response": self.response}


class RatingMapping(_OfResponse):
    """A number on a scale."""

    kind: Literal["rating"]
    scale: Annotated[
        Scale, BeforeValidator(lambda text: read_scale(text) if isinstance(text, str) else text)
    ] = Scale.STARS
    """The worst and the best value: ``1-5``."""
    aspect: Name = OVERALL

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Rating:
        return self._build(
            Rating,
            row,
            interaction,
            distinct,
            response=str(self.response),
            value=cell(row, self.column).number("it"),
            scale=self.scale,
            aspect=self.aspect,
        )


class LabelMapping(_OfResponse):
    """Good or bad."""

    kind: Literal["label"]
    good: Values = ("1", "true", "yes", "good", "up", "+1")
    bad: Values = ("0", "false", "no", "bad", "down", "-1")
    aspect: Name = OVERALL
    VALUES: ClassVar = ("good", "bad")

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Label:
        good = self._meaning(row, self.column) == "good"
        about = {"response": str(self.response), "aspect": self.aspect}
        return self._build(Label, row, interaction, distinct, good=good, **about)


class PreferenceMapping(_Mapping):
    """Which of two responses is better.

    Said by a verdict in words, by the probability of the first, or, where the columns themselves
    are the better and the worse response, by the same verdict for every row.
    """

    kind: Literal["preference"]
    column: OptionalField[Column] = None
    """The column of the verdict."""
    probability: OptionalField[Column] = None
    """The column of the probability, in [0, 1], that the first is better."""
    always: OptionalField[Literal["a", "b"]] = None
    """The verdict of every row: the first, or the second."""
    first: Place = 0
    second: Place = 1
    a: Values = ("a", "1", "first", "left", "model_a")
    """The values that say that the first is better."""
    b: Values = ("b", "2", "second", "right", "model_b")
    tie: Values = ("tie", "0", "equal", "same")
    both_bad: Values = ("both_bad", "both bad", "neither", "tie (bothbad)")
    strength: OptionalField[Column] = None
    """The column that says how much better, in (0, 1]."""
    aspect: Name = OVERALL
    VALUES: ClassVar = ("a", "b", "tie", "both_bad")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = (self.column, self.probability, self.always)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("column: a preference needs one of column, probability and always")
        if self.first == self.second:
            raise ValueError("second: the same response as first")
        return self

    def places(self) -> dict[str, int]:
        """Return the places of the two."""
        return {"first": self.first, "second": self.second}

    def said(self, row: Fields) -> bool:
        """Whether the verdict, or the probability, is there."""
        column = self.column or self.probability
        return column is None or not empty(row, column)

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Preference:
        probability = number(row, self.probability)
        if probability is not None:
            verdict: str = Preference.verdict_of(probability)
        else:
            verdict = self.always or self._meaning(row, str(self.column))
        return self._build(
            Preference,
            row,
            interaction,
            distinct,
            a=str(self.first),
            b=str(self.second),
            verdict=verdict,
            probability=probability,
            strength=number(row, self.strength) if verdict in {"a", "b"} else None,
            aspect=self.aspect,
        )


class RankingMapping(_Mapping):
    """An order over the responses: a column with the rank of each, 1 the best; equal ranks tie.

    A response without a rank was not ranked; a row with fewer than two ranks says nothing.
    """

    kind: Literal["ranking"]
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    """The column with the rank of each response, in the order of the responses."""
    aspect: Name = OVERALL

    def places(self) -> dict[str, int]:
        """Return the places of all responses ranked."""
        return {f"columns.{place}": place for place in range(len(self.columns))}

    def said(self, row: Fields) -> bool:
        """Whether there are two ranks at least."""
        return sum(not empty(row, column) for column in self.columns) > 1

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Ranking:
        ranks: dict[float, list[str]] = {}
        for index, column in enumerate(self.columns):
            if (rank := number(row, column)) is not None:
                ranks.setdefault(rank, []).append(str(index))
        tiers = tuple(tuple(ranks[rank]) for rank in sorted(ranks))
        return self._build(Ranking, row, interaction, distinct, tiers=tiers, aspect=self.aspect)


class _OfResponseOrWhole(_OfColumn):
    response: Place | None = 0
    """``null`` for the interaction as a whole, as also where the mapping has no responses."""

    def places(self) -> dict[str, int]:
        return {} if self.response is None else {"response": self.response}

    def _about(self, interaction: Talk) -> str | None:
        whole = self.response is None or interaction is None or not interaction.responses
        return None if whole else str(self.response)


class CritiqueMapping(_OfResponseOrWhole):
    """Free text about a response, an interaction or the system as a whole."""

    kind: Literal["critique"]
    aspect: OptionalField[Name] = None
    OF_PROMPT: ClassVar = False

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Critique:
        text, about = cell(row, self.column).text("it"), self._about(interaction)
        return self._build(
            Critique, row, interaction, distinct, text=text, response=about, aspect=self.aspect
        )


class EditMapping(_OfResponse):
    """The response as somebody changed it. One that was not changed says nothing."""

    kind: Literal["edit"]

    def read(self, row: Fields, interaction: Talk, distinct: str | None) -> list[AnyFeedback]:
        """Return the edit, if the text was changed."""
        texts = (
            {response.id: response.text for response in interaction.responses}
            if interaction
            else {}
        )
        if value(row, self.column) == texts.get(str(self.response)):
            return []
        return super().read(row, interaction, distinct)

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Edit:
        text = cell(row, self.column).text("it")
        return self._build(Edit, row, interaction, distinct, response=str(self.response), text=text)


class DemonstrationMapping(_OfColumn):
    """An ideal response."""

    kind: Literal["demonstration"]

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Demonstration:
        text = cell(row, self.column).text("it")
        return self._build(Demonstration, row, interaction, distinct, text=text)


class OutcomeMapping(_Mapping):
    """What a check returned."""

    kind: Literal["outcome"]
    response: Place = 0
    column: OptionalField[Column] = None
    """Whether it passed."""
    score: OptionalField[Column] = None
    """How well, in [0, 1]."""
    text: OptionalField[Column] = None
    """What it printed."""
    passed: Values = ("1", "true", "yes", "passed", "pass", "ok")
    failed: Values = ("0", "false", "no", "failed", "fail", "error")
    annotator_kind: AnnotatorKind = "verifier"
    VALUES: ClassVar = ("passed", "failed")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.column is None and self.score is None:
            raise ValueError("column: an outcome needs a column or a score")
        return self

    def places(self) -> dict[str, int]:
        """Return the place of the response that was checked."""
        return {"response": self.response}

    def said(self, row: Fields) -> bool:
        """Whether it is there if it passed, or how well."""
        given = (column for column in (self.column, self.score) if column is not None)
        return not all(empty(row, column) for column in given)

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Outcome:
        passed = None
        if self.column is not None and not empty(row, self.column):
            passed = self._meaning(row, self.column) == "passed"
        return self._build(
            Outcome,
            row,
            interaction,
            distinct,
            response=str(self.response),
            passed=passed,
            score=number(row, self.score),
            text=words(row, self.text),
        )


class FollowUpMapping(_OfResponseOrWhole):
    """What the user said next."""

    kind: Literal["follow_up"]
    annotator_kind: AnnotatorKind = "implicit"

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> FollowUp:
        text, about = cell(row, self.column).text("it"), self._about(interaction)
        return self._build(FollowUp, row, interaction, distinct, text=text, response=about)


class ChoiceMapping(_OfColumn):
    """What was clicked among the responses, all of which were shown, in their order.

    The column holds the place of the response taken, counted from ``base``.
    """

    kind: Literal["choice"]
    base: int = 0
    nothing: Values = ("none", "nothing", "-1")
    """The values that say that nothing was taken."""
    annotator_kind: AnnotatorKind = "implicit"

    def places(self) -> dict[str, int]:
        """Return the first place, as there must be something to choose from."""
        return {"column": 0}

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Choice:
        taken = None
        if plain(value(row, self.column)) not in self.nothing:
            taken = str(cell(row, self.column).integer("it") - self.base)
        responses = interaction.responses if interaction else ()
        shown = tuple(Shown(response=response.id) for response in responses)
        return self._build(Choice, row, interaction, distinct, shown=shown, chosen=taken)


class InstructionMapping(_OfColumn):
    """A standing rule that the row prompted."""

    kind: Literal["instruction"]
    OF_PROMPT: ClassVar = False

    def _say(self, row: Fields, interaction: Talk, distinct: str | None) -> Instruction:
        text = cell(row, self.column).text("it")
        return self._build(Instruction, row, interaction, distinct, text=text)


FeedbackMapping = Annotated[
    RatingMapping
    | LabelMapping
    | PreferenceMapping
    | RankingMapping
    | CritiqueMapping
    | EditMapping
    | DemonstrationMapping
    | OutcomeMapping
    | FollowUpMapping
    | ChoiceMapping
    | InstructionMapping,
    Field(discriminator="kind"),
]

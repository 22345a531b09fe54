"""Parts of a mapping that describe feedback: the columns of each kind."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from backtalk.feedback.annotator import Annotator, AnnotatorKind
from backtalk.feedback.base import OVERALL
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import (
    AnyFeedback,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FeedbackT,
    FollowUp,
    Instruction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Scale,
    Shown,
)
from backtalk.feedback.record import Name, OptionalField, Record, repeated
from backtalk.formats.content_ids import make_feedback
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.cells import (
    Column,
    Values,
    cell,
    empty,
    meaning,
    normalise,
    number,
    text,
    timestamp,
    value,
)
from backtalk.formats.options import parse_scale

Target = Interaction | None
"""Interaction that feedback is about; ``None`` for the system as a whole."""
ResponseIndex = Annotated[int, Field(ge=0)]
"""Index of a response in the mapping's list, from 0."""


class _BaseMapping(Record):
    """Fields that the mappings of all kinds share."""

    # Building the validators takes longer than reading a mapping, and most imports need none.
    model_config = ConfigDict(defer_build=True)

    annotator: OptionalField[Column] = None
    """Column of the annotator's id."""
    annotator_kind: AnnotatorKind = "human"
    time: OptionalField[Column] = None
    """Column of the time."""
    confidence: OptionalField[Column] = None
    """Column of the confidence, in [0, 1]."""

    VALUE_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that list values of the column, one for each meaning."""

    NEEDS_PROMPT: ClassVar[bool] = True
    """If true, feedback of this kind needs a prompt."""

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        names = [name for name in self.VALUE_FIELDS if name in self.model_fields_set]
        if (
            duplicate := repeated(item for name in names for item in getattr(self, name))
        ) is not None:
            raise ValueError(f"{' and '.join(names)}: the value {duplicate!r} has two meanings")
        return self

    def response_indices(self) -> dict[str, int]:
        """Return the indices of the responses that the feedback is about, by field."""
        return {}

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has such feedback, which it has not if the cell is empty."""
        raise NotImplementedError

    def read(self, row: Fields, interaction: Target, distinct: str | None) -> list[AnyFeedback]:
        """Return the feedback in a row.

        Parameters
        ----------
        row : Fields
            Row of the table.
        interaction : Interaction or None
            Interaction that the row describes; ``None`` for the system as a whole.
        distinct : str or None
            Further part of the id, which distinguishes rows with the same content.
        """
        return [self._parse(row, interaction, distinct)] if self.is_present(row) else []

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> AnyFeedback:
        raise NotImplementedError

    def _build(
        self,
        kind: type[FeedbackT],
        row: Fields,
        interaction: Target,
        distinct: str | None,
        **fields: Any,
    ) -> FeedbackT:
        return make_feedback(
            kind,
            interaction,
            Annotator(id=text(row, self.annotator) or "unknown", kind=self.annotator_kind),
            time=timestamp(row, self.time),
            confidence=number(row, self.confidence),
            distinct=distinct,
            **fields,
        )

    def _meaning(self, row: Fields, column: str) -> str:
        # Values in the file take precedence over default values.
        names = sorted(self.VALUE_FIELDS, key=lambda name: name not in self.model_fields_set)
        return meaning(row, column, {name: getattr(self, name) for name in names})


class _ColumnMapping(_BaseMapping):
    column: Column

    def is_present(self, row: Fields) -> bool:
        return not empty(row, self.column)


class _ResponseMapping(_ColumnMapping):
    response: ResponseIndex = 0

    def response_indices(self) -> dict[str, int]:
        return {"response": self.response}


def _scale_from_text(value: Any) -> Any:
    return parse_scale(value) if isinstance(value, str) else value


class RatingMapping(_ResponseMapping):
    """Mapping of ratings: a number on a scale."""

    kind: Literal["rating"]
    scale: Annotated[
        Scale,
        BeforeValidator(_scale_from_text),
    ] = Scale.STARS
    """Worst and best value, such as ``1-5``."""
    aspect: Name = OVERALL

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Rating:
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


class LabelMapping(_ResponseMapping):
    """Mapping of labels: good or bad."""

    kind: Literal["label"]
    good: Values = ("1", "true", "yes", "good", "up", "+1")
    bad: Values = ("0", "false", "no", "bad", "down", "-1")
    aspect: Name = OVERALL
    VALUE_FIELDS: ClassVar = ("good", "bad")

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Label:
        good = self._meaning(row, self.column) == "good"
        return self._build(
            Label,
            row,
            interaction,
            distinct,
            good=good,
            response=str(self.response),
            aspect=self.aspect,
        )


class PreferenceMapping(_BaseMapping):
    """Mapping of preferences: which of two responses is better.

    The verdict is a word in a column, a probability, or, if one column has the better and another
    the worse response, the same in every row.
    """

    kind: Literal["preference"]
    column: OptionalField[Column] = None
    """Column of the verdict."""
    probability: OptionalField[Column] = None
    """Column of the probability, in [0, 1], that the first response is better."""
    always: OptionalField[Literal["a", "b"]] = None
    """Verdict of every row: the first response, or the second."""
    first: ResponseIndex = 0
    second: ResponseIndex = 1
    a: Values = ("a", "1", "first", "left", "model_a")
    """Values for which the first response is better."""
    b: Values = ("b", "2", "second", "right", "model_b")
    """Values for which the second response is better."""
    tie: Values = ("tie", "0", "equal", "same")
    both_bad: Values = ("both_bad", "both bad", "neither", "tie (bothbad)")
    strength: OptionalField[Column] = None
    """Column of the strength of the preference, in (0, 1]."""
    aspect: Name = OVERALL
    VALUE_FIELDS: ClassVar = ("a", "b", "tie", "both_bad")

    @model_validator(mode="after")
    def _one_verdict_source(self) -> Self:
        sources = (self.column, self.probability, self.always)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("column: a preference needs one of column, probability and always")
        if self.first == self.second:
            raise ValueError("second: the same response as first")
        return self

    def response_indices(self) -> dict[str, int]:
        """Return the indices of the two responses."""
        return {"first": self.first, "second": self.second}

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has a verdict or a probability."""
        column = self.column or self.probability
        return column is None or not empty(row, column)

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Preference:
        probability = number(row, self.probability)
        if probability is not None:
            verdict: str = Preference.verdict_for(probability)
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


class RankingMapping(_BaseMapping):
    """Mapping of rankings: a column with the rank of each response, 1 for the best.

    Equal ranks are a tie. A response without a rank was not ranked. A row with fewer than two ranks
    has no ranking.
    """

    kind: Literal["ranking"]
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    """Columns of the ranks, in the order of the responses."""
    aspect: Name = OVERALL

    def response_indices(self) -> dict[str, int]:
        """Return the indices of all ranked responses."""
        return {f"columns.{index}": index for index in range(len(self.columns))}

    def is_present(self, row: Fields) -> bool:
        """Return true if there are at least two ranks."""
        return sum(not empty(row, column) for column in self.columns) > 1

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Ranking:
        ranks: dict[float, list[str]] = {}
        for index, column in enumerate(self.columns):
            if (rank := number(row, column)) is not None:
                ranks.setdefault(rank, []).append(str(index))
        tiers = tuple(tuple(ranks[rank]) for rank in sorted(ranks))
        return self._build(Ranking, row, interaction, distinct, tiers=tiers, aspect=self.aspect)


class _OptionalResponseMapping(_ColumnMapping):
    response: ResponseIndex | None = 0
    """Index of the response; ``null``, or a mapping without responses, for the interaction as a
    whole."""

    def response_indices(self) -> dict[str, int]:
        return {} if self.response is None else {"response": self.response}

    def _response_id(self, interaction: Target) -> str | None:
        if self.response is None or interaction is None or not interaction.responses:
            return None
        return str(self.response)


class CritiqueMapping(_OptionalResponseMapping):
    """Mapping of critiques: free text about a response, an interaction or the whole system."""

    kind: Literal["critique"]
    aspect: OptionalField[Name] = None
    NEEDS_PROMPT: ClassVar = False

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Critique:
        return self._build(
            Critique,
            row,
            interaction,
            distinct,
            text=cell(row, self.column).text("it"),
            response=self._response_id(interaction),
            aspect=self.aspect,
        )


class EditMapping(_ResponseMapping):
    """Mapping of edits: the edited response; an unchanged one is no edit."""

    kind: Literal["edit"]

    def read(self, row: Fields, interaction: Target, distinct: str | None) -> list[AnyFeedback]:
        """Return the edit, if the text was changed.

        Parameters
        ----------
        row : Fields
            Row of the table.
        interaction : Interaction or None
            Interaction that the row describes.
        distinct : str or None
            Further part of the id.
        """
        texts = (
            {response.id: response.text for response in interaction.responses}
            if interaction
            else {}
        )
        if value(row, self.column) == texts.get(str(self.response)):
            return []
        return super().read(row, interaction, distinct)

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Edit:
        return self._build(
            Edit,
            row,
            interaction,
            distinct,
            response=str(self.response),
            text=cell(row, self.column).text("it"),
        )


class DemonstrationMapping(_ColumnMapping):
    """Mapping of demonstrations: an ideal response."""

    kind: Literal["demonstration"]

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Demonstration:
        demonstration = cell(row, self.column).text("it")
        return self._build(Demonstration, row, interaction, distinct, text=demonstration)


class OutcomeMapping(_BaseMapping):
    """Mapping of outcomes: the result of a check."""

    kind: Literal["outcome"]
    response: ResponseIndex = 0
    column: OptionalField[Column] = None
    """Column of the result, passed or failed."""
    score: OptionalField[Column] = None
    """Column of the score, in [0, 1]."""
    text: OptionalField[Column] = None
    """Column of the output."""
    passed: Values = ("1", "true", "yes", "passed", "pass", "ok")
    failed: Values = ("0", "false", "no", "failed", "fail", "error")
    annotator_kind: AnnotatorKind = "verifier"
    VALUE_FIELDS: ClassVar = ("passed", "failed")

    @model_validator(mode="after")
    def _has_result(self) -> Self:
        if self.column is None and self.score is None:
            raise ValueError("column: an outcome needs a column or a score")
        return self

    def response_indices(self) -> dict[str, int]:
        """Return the index of the response that was checked."""
        return {"response": self.response}

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has a result or a score."""
        columns = (column for column in (self.column, self.score) if column is not None)
        return not all(empty(row, column) for column in columns)

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Outcome:
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
            text=text(row, self.text),
        )


class FollowUpMapping(_OptionalResponseMapping):
    """Mapping of follow-ups: the next message of the user."""

    kind: Literal["follow_up"]
    annotator_kind: AnnotatorKind = "implicit"

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> FollowUp:
        return self._build(
            FollowUp,
            row,
            interaction,
            distinct,
            text=cell(row, self.column).text("it"),
            response=self._response_id(interaction),
        )


class ChoiceMapping(_ColumnMapping):
    """Mapping of choices: the response that was picked; all were shown, in their order.

    The column has the position of the picked response, counted from ``base``.
    """

    kind: Literal["choice"]
    base: int = 0
    """Position of the first response."""
    nothing: Values = ("none", "nothing", "-1")
    """Values for which nothing was picked."""
    annotator_kind: AnnotatorKind = "implicit"

    def response_indices(self) -> dict[str, int]:
        """Return index 0, as a choice needs at least one response."""
        return {"column": 0}

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Choice:
        chosen = None
        if normalise(value(row, self.column)) not in self.nothing:
            chosen = str(cell(row, self.column).integer("it") - self.base)
        responses = interaction.responses if interaction else ()
        shown = tuple(Shown(response=response.id) for response in responses)
        return self._build(Choice, row, interaction, distinct, shown=shown, chosen=chosen)


class InstructionMapping(_ColumnMapping):
    """Mapping of standing instructions."""

    kind: Literal["instruction"]
    NEEDS_PROMPT: ClassVar = False

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Instruction:
        rule = cell(row, self.column).text("it")
        return self._build(Instruction, row, interaction, distinct, text=rule)


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

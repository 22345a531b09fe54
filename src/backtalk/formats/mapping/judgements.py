"""Mappings of ratings, labels, rankings, outcomes and choices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from backtalk.errors import RecordError
from backtalk.feedback.annotator import AnnotatorKind
from backtalk.feedback.base import OVERALL
from backtalk.feedback.kinds import Choice, Label, Outcome, Ranking, Rating, Scale, Shown
from backtalk.feedback.record import OptionalField
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.base import (
    Aspect,
    BaseMapping,
    ColumnMapping,
    Doubt,
    ResponseIndex,
    ResponseMapping,
    Target,
    label_doubt,
    read_aspect,
)
from backtalk.formats.mapping.cells import (
    Degree,
    ScaleText,
    Values,
    cell,
    check_on_scale,
    counted,
    degree,
    degree_column,
    empty,
    number,
    text,
    value,
)
from backtalk.formats.mapping.paths import normalise
from backtalk.formats.mapping.sources import Source, name_of


class RatingMapping(ResponseMapping):
    """Mapping of ratings: a number on a scale."""

    kind: Literal["rating"]
    scale: ScaleText = Scale.STARS
    """Worst and best value, such as ``1-5``."""
    aspect: Aspect = OVERALL

    def resolve(self, rows: Iterable[Fields], responses: int) -> tuple[Self, Doubt | None]:
        """Return a doubt if several values are outside the default scale.

        Parameters
        ----------
        rows : iterable of Fields
            First rows of the table.
        responses : int
            Number of responses of the mapping.
        """
        if "scale" in self.model_fields_set:
            return self, None
        low, high = self.scale.low, self.scale.high
        numbers = {float(item) for item in self._numbers(rows, self.column)}
        if sum(not low <= item <= high for item in numbers) < 2:
            return super().resolve(rows, responses)
        return self, Doubt(
            self.column,
            f"the values run from {min(numbers):g} to {max(numbers):g}, not from {low:g} to "
            f"{high:g}, which is the scale if none is named",
            "Name the scale of the column in the mapping: scale: LOW-HIGH",
        )

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Rating:
        rating = cell(row, self.column).number("it")
        check_on_scale(rating, self.scale, name_of(self.column))
        return self._build(
            Rating,
            row,
            interaction,
            distinct,
            response=str(self.response),
            value=rating,
            scale=self.scale,
            aspect=read_aspect(row, self.aspect),
        )


class LabelMapping(ResponseMapping):
    """Mapping of labels: good or bad."""

    kind: Literal["label"]
    good: Values = (
        "1",
        "true",
        "yes",
        "good",
        "up",
        "+1",
        "positive",
        "like",
        "liked",
        "correct",
        "accept",
        "accepted",
        "thumbs_up",
        "thumbsup",
        "👍",
    )
    bad: Values = (
        "0",
        "false",
        "no",
        "bad",
        "down",
        "-1",
        "negative",
        "dislike",
        "disliked",
        "incorrect",
        "wrong",
        "reject",
        "rejected",
        "thumbs_down",
        "thumbsdown",
        "👎",
    )
    aspect: Aspect = OVERALL
    VALUE_FIELDS: ClassVar = ("good", "bad")

    def resolve(self, rows: Iterable[Fields], responses: int) -> tuple[Self, Doubt | None]:  # noqa: ARG002
        """Return a doubt if the column has other numbers than 0 and 1, or -1 and 1.

        Parameters
        ----------
        rows : iterable of Fields
            First rows of the table.
        responses : int
            Number of responses of the mapping.
        """
        return self, label_doubt(self.column, self._numbers(rows, self.column), ("good", "bad"))

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Label:
        good = self._meaning(row, self.column) == "good"
        return self._build(
            Label,
            row,
            interaction,
            distinct,
            good=good,
            response=str(self.response),
            aspect=read_aspect(row, self.aspect),
        )


class RankingMapping(BaseMapping):
    """Mapping of rankings: a column with the rank of each response, 1 for the best.

    Equal ranks are a tie. A response without a rank was not ranked. A row with fewer than two ranks
    has no ranking.
    """

    kind: Literal["ranking"]
    columns: Annotated[tuple[Source, ...], Field(min_length=2)]
    """Columns of the ranks, in the order of the responses."""
    aspect: Aspect = OVERALL

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
                if rank < 0:
                    raise RecordError(
                        f"{name_of(column)}: the rank {rank:g} is below 0",
                        "Leave the cell empty if the response was not ranked",
                    )
                ranks.setdefault(rank, []).append(str(index))
        tiers = tuple(tuple(ranks[rank]) for rank in sorted(ranks))
        return self._build(
            Ranking, row, interaction, distinct, tiers=tiers, aspect=read_aspect(row, self.aspect)
        )


class OutcomeMapping(BaseMapping):
    """Mapping of outcomes: the result of a check."""

    kind: Literal["outcome"]
    response: ResponseIndex = 0
    column: OptionalField[Source] = None
    """Column of the result, passed or failed."""
    score: OptionalField[Degree] = None
    """Column of the score, in [0, 1], or with its scale."""
    text: OptionalField[Source] = None
    """Column of the output."""
    passed: Values = ("1", "true", "yes", "passed", "pass", "ok", "success")
    failed: Values = ("0", "false", "no", "failed", "fail", "error", "failure")
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

    def resolve(self, rows: Iterable[Fields], responses: int) -> tuple[Self, Doubt | None]:  # noqa: ARG002
        """Return a doubt if the column has other numbers than 0 and 1, or -1 and 1.

        Parameters
        ----------
        rows : iterable of Fields
            First rows of the table.
        responses : int
            Number of responses of the mapping.
        """
        if self.column is None:
            return self, None
        numbers = self._numbers(rows, self.column)
        return self, label_doubt(self.column, numbers, ("passed", "failed"))

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has a result or a score."""
        columns = (self.column, degree_column(self.score))
        return any(column is not None and not empty(row, column) for column in columns)

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
            score=degree(row, self.score, "score"),
            text=text(row, self.text),
        )


class ChoiceMapping(ColumnMapping):
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

    def resolve(self, rows: Iterable[Fields], responses: int) -> tuple[Self, Doubt | None]:
        """Return a doubt if the positions seem to count from 1 and the mapping does not say so.

        Parameters
        ----------
        rows : iterable of Fields
            First rows of the table.
        responses : int
            Number of responses of the mapping.
        """
        numbers = {counted(value(row, self.column)) for row in rows}
        if "base" in self.model_fields_set or str(responses) not in numbers or "0" in numbers:
            return self, None
        return self, Doubt(
            self.column,
            f"the positions run up to {responses}, the number of responses, and none is 0",
            "Name the first position in the mapping: base: 1 or base: 0",
        )

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Choice:
        chosen = None
        if normalise(value(row, self.column)) not in self.nothing:
            chosen = str(cell(row, self.column).integer("it") - self.base)
        responses = interaction.responses if interaction else ()
        shown = tuple(Shown(response=response.id) for response in responses)
        return self._build(Choice, row, interaction, distinct, shown=shown, chosen=chosen)

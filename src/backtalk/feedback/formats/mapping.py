"""Any table by a mapping: a file that says what the columns mean.

>>> mapping = RowMapping.from_yaml('''
... prompt: question
... responses: [answer]
... feedback:
...   - {kind: rating, column: stars, scale: 1-5, annotator: rater}
... ''')
>>> row = {"question": "2 + 2?", "answer": "4", "stars": "5", "rater": "ada"}
>>> (case,) = mapping.parse(row)
>>> case.feedback[0].value, case.feedback[0].annotator.id
(5.0, 'ada')
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from backtalk.errors import NotFound, RecordError
from backtalk.feedback.annotator import Annotator, AnnotatorKind
from backtalk.feedback.formats.fields import Fields
from backtalk.feedback.formats.format import Data, Format, Said
from backtalk.feedback.formats.options import scale as read_scale
from backtalk.feedback.formats.records import case, feedback, interaction
from backtalk.feedback.interaction import Interaction, Message, Response
from backtalk.feedback.judgements import OVERALL, Label, Preference, Ranking, Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.record import Maybe, Name, Record, record_error
from backtalk.feedback.signals import Choice, FollowUp, Outcome, Shown
from backtalk.feedback.words import Critique, Demonstration, Edit, Instruction

Column = Name
"""The name of a column. A dotted name goes into nested JSON objects: ``meta.rater``."""


def _cell(value: Any) -> str:
    return str(value).strip().lower()


def _texts(value: Any) -> Any:
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple(_cell(item) for item in listed)


Values = Annotated[tuple[str, ...], BeforeValidator(_texts), Field(min_length=1)]
"""One value of a column or several, compared as texts, without regard to case."""


class ResponseMapping(Record):
    """Where one response stands."""

    text: Column
    model: Maybe[Column] = None
    """The column that names the model which wrote it."""
    written_by: Maybe[Name] = None
    """The model that wrote all responses of this column."""


def _response(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class _About(Record):
    """Who gave feedback, and when; each by the name of a column."""

    annotator: Maybe[Column] = None
    annotator_kind: AnnotatorKind = "human"
    time: Maybe[Column] = None
    confidence: Maybe[Column] = None

    @property
    def needed(self) -> str:
        """The column without which there is no such feedback in a row."""
        raise NotImplementedError

    def read(self, row: Fields, talk: Interaction) -> list[AnyFeedback]:
        """Return what the row says; nothing where the cell is empty."""
        if _empty(row, self.needed):
            return []
        who = _words(row, self.annotator) if self.annotator else None
        confidence = self.confidence and not _empty(row, self.confidence)
        about = {
            "annotator": Annotator(id=who or "unknown", kind=self.annotator_kind),
            "time": _moment(row, self.time),
            "confidence": _at(row, str(self.confidence)).number("it") if confidence else None,
        }
        return [self._say(row, talk, about)]

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> AnyFeedback:
        raise NotImplementedError


class _AboutResponse(_About):
    response: Annotated[int, Field(ge=0)] = 0
    """The place of the response in the mapping's list, from 0."""


def _scale(value: Any) -> Any:
    return read_scale(value) if isinstance(value, str) else value


class RatingMapping(_AboutResponse):
    """A number on a scale."""

    kind: Literal["rating"]
    column: Column
    scale: Annotated[Scale, BeforeValidator(_scale)] = Scale.STARS
    """The worst and the best value: ``1-5``."""
    aspect: Name = OVERALL

    @property
    def needed(self) -> str:
        """The rating."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Rating:
        value = _at(row, self.column).number("it")
        given: dict[str, Any] = {
            "response": str(self.response),
            "value": value,
            "scale": self.scale,
        }
        return feedback(Rating, talk, **about, **given, aspect=self.aspect)


class LabelMapping(_AboutResponse):
    """Good or bad."""

    kind: Literal["label"]
    column: Column
    good: Values = ("1", "true", "yes", "good", "up", "+1")
    bad: Values = ("0", "false", "no", "bad", "down", "-1")
    aspect: Name = OVERALL

    @property
    def needed(self) -> str:
        """The label."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Label:
        good = _which(row, self.column, {"good": self.good, "bad": self.bad}) == "good"
        return feedback(
            Label, talk, **about, response=str(self.response), good=good, aspect=self.aspect
        )


class PreferenceMapping(_About):
    """Which of two responses is better: a verdict in words, or the probability of the first."""

    kind: Literal["preference"]
    column: Maybe[Column] = None
    """The column of the verdict."""
    probability: Maybe[Column] = None
    """The column of the probability, in [0, 1], that the first is better."""
    first: Annotated[int, Field(ge=0)] = 0
    second: Annotated[int, Field(ge=0)] = 1
    a: Values = ("a", "1", "first", "left")
    """The values that say that the first is better."""
    b: Values = ("b", "2", "second", "right")
    tie: Values = ("tie", "0", "equal", "same")
    both_bad: Values = ("both_bad", "both bad", "neither")
    aspect: Name = OVERALL

    @model_validator(mode="after")
    def _one_column(self) -> Self:
        if (self.column is None) == (self.probability is None):
            raise ValueError("column: a preference needs either a column or a probability")
        return self

    @property
    def needed(self) -> str:
        """The verdict or the probability."""
        return str(self.column or self.probability)

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Preference:
        number = None
        if self.probability is not None:
            number = _at(row, self.probability).number("it")
            verdict = Preference.verdict_of(number)
        else:
            known = {"a": self.a, "b": self.b, "tie": self.tie, "both_bad": self.both_bad}
            verdict = _which(row, self.needed, known)  # type: ignore[assignment]
        return feedback(
            Preference,
            talk,
            **about,
            a=str(self.first),
            b=str(self.second),
            verdict=verdict,
            probability=number,
            aspect=self.aspect,
        )


class RankingMapping(_About):
    """An order over the responses: a column with the rank of each, 1 the best; equal ranks tie."""

    kind: Literal["ranking"]
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    """The column with the rank of each response, in the order of the responses."""
    aspect: Name = OVERALL

    @property
    def needed(self) -> str:
        """The first response's rank."""
        return self.columns[0]

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Ranking:
        ranks: dict[float, list[str]] = {}
        for place, column in enumerate(self.columns):
            if not _empty(row, column):
                ranks.setdefault(_at(row, column).number("it"), []).append(str(place))
        tiers = tuple(tuple(ranks[rank]) for rank in sorted(ranks))
        return feedback(Ranking, talk, **about, tiers=tiers, aspect=self.aspect)


class CritiqueMapping(_AboutResponse):
    """Free text about a response."""

    kind: Literal["critique"]
    column: Column
    aspect: Maybe[Name] = None

    @property
    def needed(self) -> str:
        """The text."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Critique:
        text = _at(row, self.column).text("it")
        return feedback(
            Critique, talk, **about, response=str(self.response), text=text, aspect=self.aspect
        )


class EditMapping(_AboutResponse):
    """The response as somebody changed it. One that was not changed says nothing."""

    kind: Literal["edit"]
    column: Column

    @property
    def needed(self) -> str:
        """The changed text."""
        return self.column

    def read(self, row: Fields, talk: Interaction) -> list[AnyFeedback]:
        """Return the edit, if the text was changed."""
        if _words(row, self.column) == talk.responses[self.response].text:
            return []
        return super().read(row, talk)

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Edit:
        text = _at(row, self.column).text("it")
        return feedback(Edit, talk, **about, response=str(self.response), text=text)


class DemonstrationMapping(_About):
    """An ideal response."""

    kind: Literal["demonstration"]
    column: Column

    @property
    def needed(self) -> str:
        """The ideal response."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Demonstration:
        return feedback(Demonstration, talk, **about, text=_at(row, self.column).text("it"))


class OutcomeMapping(_AboutResponse):
    """What a check returned."""

    kind: Literal["outcome"]
    column: Maybe[Column] = None
    """Whether it passed."""
    score: Maybe[Column] = None
    """How well, in [0, 1]."""
    text: Maybe[Column] = None
    """What it printed."""
    passed: Values = ("1", "true", "yes", "passed", "pass", "ok")
    failed: Values = ("0", "false", "no", "failed", "fail", "error")
    annotator_kind: AnnotatorKind = "verifier"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.column is None and self.score is None:
            raise ValueError("column: an outcome needs a column or a score")
        return self

    @property
    def needed(self) -> str:
        """Whether it passed, or how well."""
        return str(self.column or self.score)

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Outcome:
        known = {"passed": self.passed, "failed": self.failed}
        scored = self.score is not None and not _empty(row, self.score)
        return feedback(
            Outcome,
            talk,
            **about,
            response=str(self.response),
            passed=_which(row, self.column, known) == "passed" if self.column else None,
            score=_at(row, str(self.score)).number("it") if scored else None,
            text=_words(row, self.text) or "" if self.text else None,
        )


class FollowUpMapping(_AboutResponse):
    """What the user said next."""

    kind: Literal["follow_up"]
    column: Column
    annotator_kind: AnnotatorKind = "implicit"

    @property
    def needed(self) -> str:
        """The message."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> FollowUp:
        text = _at(row, self.column).text("it")
        return feedback(FollowUp, talk, **about, response=str(self.response), text=text)


class ChoiceMapping(_About):
    """What was clicked among the responses, all of which were shown, in their order."""

    kind: Literal["choice"]
    column: Column
    """The place of the response taken, from ``base`` up; a value of ``nothing`` for none."""
    base: int = 0
    nothing: Values = ("none", "nothing", "-1")
    annotator_kind: AnnotatorKind = "implicit"

    @property
    def needed(self) -> str:
        """What was clicked."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Choice:
        taken = None
        if _cell(_value(row, self.column)) not in self.nothing:
            taken = str(_at(row, self.column).integer("it") - self.base)
        shown = tuple(Shown(response=response.id) for response in talk.responses)
        return feedback(Choice, talk, **about, shown=shown, chosen=taken)


class InstructionMapping(_About):
    """A standing rule that the row prompted."""

    kind: Literal["instruction"]
    column: Column

    @property
    def needed(self) -> str:
        """The rule."""
        return self.column

    def _say(self, row: Fields, talk: Interaction, about: dict[str, Any]) -> Instruction:
        return feedback(Instruction, talk, **about, text=_at(row, self.column).text("it"))


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


class RowMapping(Record):
    """What the columns of a table mean."""

    prompt: Column
    """A text, or chat messages."""
    system: Maybe[Column] = None
    """A system prompt that stands before it."""
    responses: tuple[Annotated[ResponseMapping, BeforeValidator(_response)], ...] = ()
    """The columns of the responses. One whose cell is empty was not given in that row."""
    feedback: Annotated[tuple[FeedbackMapping, ...], Field(min_length=1)]
    user: Maybe[Column] = None
    """Who asked."""
    time: Maybe[Column] = None
    """When."""
    metadata: tuple[Column, ...] = ()
    """Columns that are kept as they are."""

    @model_validator(mode="after")
    def _responses_are_there(self) -> Self:
        for number, item in enumerate(self.feedback):
            for name in ("response", "first", "second"):
                place = getattr(item, name, 0)
                speaks = name in type(item).model_fields
                if speaks and place >= len(self.responses):
                    raise ValueError(
                        f"feedback.{number}.{name}: there is no response {place}, "
                        f"the mapping lists {len(self.responses)}, counted from 0"
                    )
            if isinstance(item, RankingMapping) and len(item.columns) != len(self.responses):
                raise ValueError(
                    f"feedback.{number}.columns: {len(item.columns)} ranks for "
                    f"{len(self.responses)} responses"
                )
        return self

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a mapping from YAML or JSON.

        Raises
        ------
        RecordError
            If it is not valid; the message names the field.
        """
        try:
            return cls.model_validate(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise RecordError(f"the mapping is not YAML: {error}") from None
        except ValidationError as error:
            raise record_error("the mapping", error) from None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a mapping from a file; raise ``NotFound`` if there is none."""
        path = Path(path)
        if not path.is_file():
            raise NotFound(f"There is no file {path}", "docs/formats.md shows how to write one")
        return cls.from_yaml(path.read_text(encoding="utf-8"))

    def parse(self, row: Data) -> list[Said]:
        """Return the interaction that a row tells of, with the feedback in it.

        Raises
        ------
        RecordError
            If a column is missing, or holds what the mapping does not know.
        """
        fields = Fields(row)
        prompt = _at(fields, self.prompt).messages("it")
        if self.system is not None and (told := _words(fields, self.system)):
            prompt = (Message.system(told), *prompt)
        talk = interaction(
            prompt,
            self._responses(fields),
            time=_moment(fields, self.time),
            user=_words(fields, self.user) if self.user else None,
            metadata={name: _value(fields, name) for name in self.metadata},
        )
        return [case(talk, [said for item in self.feedback for said in item.read(fields, talk)])]

    def _responses(self, fields: Fields) -> Sequence[Response]:
        found = []
        for place, item in enumerate(self.responses):
            if _empty(fields, item.text):
                continue
            model = _words(fields, item.model) if item.model else item.written_by
            text = _at(fields, item.text).text("it")
            found.append(Response(id=str(place), text=text, model=model))
        return found


def mapping_format(mapping: RowMapping) -> Format:
    """Return a mapping as a format."""
    return Format(
        name="mapping",
        title="a table by a mapping",
        source="docs/formats.md",
        parse=mapping.parse,
        looks_like=lambda _row: False,
    )


def _value(row: Fields, column: str) -> Any:
    """Return what stands in a column, ``None`` if there is none; a dot leads into an object."""
    if column in row.data:
        return row.data[column]
    value: Any = row.data
    for step in column.split("."):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


class _Cell(Fields):
    """One cell, under the name ``it``; messages name its column."""

    def where(self, name: str) -> str:  # noqa: ARG002 - there is one
        return self.path


def _at(row: Fields, column: str) -> Fields:
    return _Cell({"it": _value(row, column)}, column)


def _empty(row: Fields, column: str) -> bool:
    value = _value(row, column)
    return value is None or (isinstance(value, str) and not value.strip())


def _words(row: Fields, column: str) -> str | None:
    value = _value(row, column)
    return None if value is None or not str(value).strip() else str(value)


def _moment(row: Fields, column: str | None) -> datetime | None:
    return _at(row, column).moment("it") if column is not None else None


def _which(row: Fields, column: str, known: dict[str, tuple[str, ...]]) -> str:
    value = _value(row, column)
    for name, values in known.items():
        if _cell(value) in values:
            return name
    listed = "; ".join(f"{name}: {json.dumps(values)[1:-1]}" for name, values in known.items())
    raise RecordError(
        f"{column}: the mapping does not say what {value!r} means", f"It knows {listed}"
    )

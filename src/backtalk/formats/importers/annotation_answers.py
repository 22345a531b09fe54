"""Answers to the questions of an annotation tool, as feedback on the responses it showed."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.base import OVERALL
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.kinds import (
    AnyFeedback,
    Critique,
    Demonstration,
    Edit,
    FeedbackT,
    Label,
    Preference,
    Ranking,
    Rating,
    Scale,
    Span,
    Spans,
)
from backtalk.formats.content_ids import make_feedback
from backtalk.formats.fields import Fields
from backtalk.formats.importers.annotation_options import AnswerOptions, aspect_of
from backtalk.formats.importers.annotation_spans import is_ambiguous, is_at, read_offsets
from backtalk.formats.unusual import note_unusual

_SCALE_NOTE = "rating read on the scale 1 to 5, as the file names none; another is scale=LOW-HIGH"
_OFFSETS_NOTE = (
    "marked text after a character such as an emoji, with offsets read as code points; if the tool "
    "counts UTF-16 units, as in JavaScript, give the option offsets=utf-16"
)
_UNDECIDED: dict[str, Literal["tie", "both_bad"]] = {
    **dict.fromkeys(
        ("tie", "draw", "equal", "same", "both", "bothgood", "equallygood", "nopreference"), "tie"
    ),
    **dict.fromkeys(("neither", "bothbad", "equallybad"), "both_bad"),
}
"""Verdicts that prefer neither of two responses, by word, without spaces and punctuation."""


@dataclass(frozen=True)
class ToolAnswer:
    """Answer of a person, or of a model, to a question."""

    question: str
    value: Any
    """A number, a text, true or false, names of responses in order, labels, or marked parts."""
    annotator: Annotator
    confidence: float | None = None
    time: datetime | None = None
    response: str | None = None
    """Response that the question is about, if the tool states it."""
    ordered: bool = True
    """If false, a list of names is not an order."""


class AnswerReader:
    """Reader of the answers about one interaction.

    Parameters
    ----------
    interaction : Interaction
        Interaction that the answers are about; its responses have the names of their fields.
    options : AnswerOptions
        Meaning of the questions.
    """

    def __init__(self, interaction: Interaction, options: AnswerOptions) -> None:
        self._interaction = interaction
        self._options = options
        self._names = tuple(response.id for response in interaction.responses)

    def read(self, answer: ToolAnswer) -> list[AnyFeedback]:
        """Return the feedback that an answer is; an empty answer is none.

        A number becomes a rating, an order a ranking, and marked parts become spans. The name of
        one of several responses becomes a preference for it. A word for good or bad becomes a
        label, any other text a critique. The name of the question is the aspect, unless it means
        the response as a whole, such as "best".

        Raises
        ------
        RecordError
            If the answer's meaning is not clear.
        """
        value = rows_from_columns(answer.value)
        if value is None or value == [] or (isinstance(value, str) and not value.strip()):
            return []
        if not self._names and answer.question not in self._options.demonstration:
            raise RecordError(
                f"{answer.question}: the record has no response that the answer could be about",
                "Name the fields of the responses with the option responses=FIELD,FIELD; if the "
                f"answer is itself a response, give the option demonstration={answer.question}",
            )
        if isinstance(value, str):
            return self._read_text(answer, value)
        if isinstance(value, bool):
            return [self._label(answer, good=value, is_yes_or_no=True)]
        if isinstance(value, int | float):
            return [self._rating(answer, value)]
        if not isinstance(value, list):
            raise _unclear(answer, "an answer of an unknown type")
        return self._read_list(answer, value)

    def _read_list(self, answer: ToolAnswer, value: list[Any]) -> list[AnyFeedback]:
        if all(isinstance(item, dict) and "start" in item for item in value):
            return [self._marked_spans(answer, value)]
        tiers = self._tiers(value) if answer.ordered else None
        if tiers is not None:
            return [self._make(Ranking, answer, tiers=tiers)]
        if not all(isinstance(item, str) for item in value):
            raise _unclear(answer, "a list that is neither an order of the responses nor labels")
        if answer.ordered:
            return [self._critique(answer, word) for word in value]
        return [item for word in value for item in self._read_text(answer, word)]

    def _read_text(self, answer: ToolAnswer, text: str) -> list[AnyFeedback]:
        if answer.question in self._options.demonstration:
            return [self._make(Demonstration, answer, text=text)]
        if answer.question in self._options.edit:
            response = self._response_id(answer)
            if self._interaction.response(response).text == text:
                return []
            return [self._make(Edit, answer, response=response, text=text)]
        return [self._read_word(answer, text)]

    def _read_word(self, answer: ToolAnswer, text: str) -> AnyFeedback:
        word = text.strip().lower()
        if len(self._names) > 1 and (best := self._response_named(text)) is not None:
            return self._best_response(answer, best)
        if len(self._names) == 2 and (verdict := _UNDECIDED.get(_normalise(text))) is not None:
            return self._preference(answer, verdict)
        options = self._options
        if word in (*options.good, *options.bad):
            return self._label(
                answer, good=word in options.good, is_yes_or_no=options.is_yes_or_no(word)
            )
        return self._critique(answer, text)

    def _best_response(self, answer: ToolAnswer, best: str) -> AnyFeedback:
        if len(self._names) == 2:
            return self._preference(answer, "a" if best == self._names[0] else "b")
        others = tuple(name for name in self._names if name != best)
        tiers = ((best,), others)
        return self._make(
            Ranking, answer, tiers=tiers, within="unordered", aspect=self._aspect(answer)
        )

    def _preference(
        self, answer: ToolAnswer, verdict: Literal["a", "b", "tie", "both_bad"]
    ) -> Preference:
        a, b = self._names
        return self._make(
            Preference, answer, a=a, b=b, verdict=verdict, aspect=self._aspect(answer)
        )

    def _label(self, answer: ToolAnswer, *, good: bool, is_yes_or_no: bool) -> Label:
        question = answer.question
        if is_yes_or_no:
            good = good != self._options.is_fault(question)
        return self._make(
            Label,
            answer,
            response=self._response_id(answer),
            good=good,
            aspect=self._aspect(answer),
        )

    def _rating(self, answer: ToolAnswer, value: float) -> Rating:
        scale = self._options.scale_of(answer.question)
        if scale is Scale.STARS:
            note_unusual(_SCALE_NOTE)
        if not scale.low <= value <= scale.high:
            raise RecordError(
                f"{answer.question}: {value} is not on the scale {scale.low:g} to {scale.high:g}",
                "Name the scale with the option scale=LOW-HIGH, or, for this question, "
                f"scale={answer.question}=LOW-HIGH",
            )
        return self._make(
            Rating,
            answer,
            response=self._response_id(answer),
            value=value,
            scale=scale,
            aspect=self._aspect(answer),
        )

    def _marked_spans(self, answer: ToolAnswer, value: list[Any]) -> Spans:
        unit = self._options.offsets
        marks = [Fields(mark, answer.question) for mark in value]
        response = self._marked_response(answer, marks) or self._response_id(answer)
        text = self._interaction.response(response).text
        spans = []
        for mark in marks:
            start, end = read_offsets(text, mark, unit)
            label = mark.text("label")
            good = label.lower() in self._options.good
            comment = mark.optional_text("comment")
            spans.append(Span(start=start, end=end, label=label, good=good, comment=comment))
        metadata = {}
        if any(is_ambiguous(text, mark, unit) for mark in marks):
            metadata["offsets"] = "read as code points; may count UTF-16 units"
            note_unusual(_OFFSETS_NOTE)
        return self._make(
            Spans, answer, response=response, spans=tuple(spans), metadata=metadata or None
        )

    def _marked_response(self, answer: ToolAnswer, marks: list[Fields]) -> str | None:
        """Return the response whose text is marked, ``None`` if the marks do not tell."""
        if self._response_for(answer) is not None or not all("text" in mark for mark in marks):
            return None
        unit = self._options.offsets
        fitting = [
            response.id
            for response in self._interaction.responses
            if all(is_at(response.text, mark, unit) for mark in marks)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _tiers(self, value: list[Any]) -> tuple[tuple[str, ...], ...] | None:
        """Return an order of the responses from a list of their names, or of names with ranks."""
        tiers: dict[int, list[str]] = defaultdict(list)
        for i, item in enumerate(value):
            has_rank = isinstance(item, dict) and "rank" in item
            word, rank = (item.get("value"), item["rank"]) if has_rank else (item, i)
            name = self._response_named(word) if isinstance(word, str) else None
            if name is None or not isinstance(rank, int):
                return None
            tiers[rank].append(name)
        return tuple(tuple(tiers[rank]) for rank in sorted(tiers)) if len(value) > 1 else None

    def _critique(self, answer: ToolAnswer, text: str) -> Critique:
        aspect = self._aspect(answer)
        return self._make(
            Critique,
            answer,
            response=self._response_for(answer),
            text=text,
            aspect=None if aspect == OVERALL else aspect,
        )

    def _make(self, kind: type[FeedbackT], answer: ToolAnswer, **fields: Any) -> FeedbackT:
        return make_feedback(
            kind,
            self._interaction,
            answer.annotator,
            time=answer.time,
            confidence=answer.confidence,
            **fields,
        )

    def _response_id(self, answer: ToolAnswer) -> str:
        response = self._response_for(answer)
        if response is None:
            raise _unclear(answer, "it is not clear which response it is about")
        return response

    def _response_for(self, answer: ToolAnswer) -> str | None:
        """Return the response that a question is about, inferred from the names."""
        about = self._options.about.get(answer.question, answer.response)
        if about is not None or len(self._names) == 1:
            return about if about is not None else self._names[0]
        normalised = _normalise(answer.question)
        contained = [name for name in self._names if _normalise(name) in normalised]
        suffix = _suffix(answer.question)
        same_suffix = [name for name in self._names if suffix and _suffix(name) == suffix]
        candidates = contained or same_suffix
        return candidates[0] if len(candidates) == 1 else None

    def _response_named(self, word: str) -> str | None:
        """Return the response with that name, number or letter."""
        for name in self._names:
            if _normalise(name) == _normalise(word):
                return name
        if not re.fullmatch(r"[A-Za-z]*[-_ ]?\d+|([A-Za-z]+[-_ ])?[A-Za-z]", word.strip()):
            return None
        suffix = _suffix(word.strip())
        same = [name for name in self._names if suffix and _suffix(name) == suffix]
        return same[0] if len(same) == 1 else None

    def _aspect(self, answer: ToolAnswer) -> str:
        """Return the aspect of a question, without the number of the response it is about."""
        question, suffix = answer.question, _suffix(answer.question)
        response = self._response_for(answer)
        if len(self._names) > 1 and response is not None and suffix == _suffix(response):
            question = question[: -len(suffix)].rstrip("-_ ") or question
        return aspect_of(question)


def _normalise(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _suffix(name: str) -> str:
    """Return the number or the letter at the end of a name: ``answer_2``, ``Response A``."""
    match = re.search(r"\d+$|(?<=[-_ ])[A-Za-z]$|(?<=[a-z])[A-Z]$|^[A-Za-z]$", name)
    return match[0].lower() if match else ""


def _unclear(answer: ToolAnswer, what: str) -> RecordError:
    return RecordError(
        f"{answer.question}: {what}",
        "Name the responses with the option responses=FIELD,FIELD, and the response of a question "
        "with about=QUESTION=FIELD",
    )


def rows_from_columns(value: Any) -> Any:
    """Return an object of lists, the form of lists of objects in some files, as that list.

    Raises
    ------
    RecordError
        If the lists differ in length.
    """
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(column, list) for column in value.values())
    ):
        if len(set(map(len, value.values()))) > 1:
            raise RecordError(
                f"the lists of {', '.join(map(str, value))} differ in length",
                "Give one entry for each answer",
            )
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return value

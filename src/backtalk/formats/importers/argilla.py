"""Argilla: records with fields, and people's answers to questions about them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
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
from backtalk.formats.content_ids import (
    make_case,
    make_feedback,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.argilla_layouts import (
    ArgillaAnswer,
    matches,
    parse_record,
    rows_from_columns,
)
from backtalk.formats.options import parse_list, parse_pairs, parse_scale

_PROMPT_FIELDS = ("prompt", "instruction", "question", "query", "input", "messages", "chat")
_RESPONSE_FIELDS = (
    "response",
    "completion",
    "answer",
    "output",
    "generation",
    "reply",
    "candidate",
)
_GOOD = ("yes", "good", "correct", "true", "positive", "accept", "👍")
_BAD = ("no", "bad", "incorrect", "wrong", "false", "negative", "reject", "👎")
_UNDECIDED: dict[str, Literal["tie", "both_bad"]] = {
    **dict.fromkeys(("tie", "equal", "same", "both", "bothgood"), "tie"),
    **dict.fromkeys(("neither", "bothbad"), "both_bad"),
}
"""Verdicts that prefer neither of two responses, by word, without spaces and punctuation."""


@import_format(
    "argilla",
    title="Argilla records, 1.x and 2.x, nested or flattened",
    source="https://docs.argilla.io/latest/reference/argilla/records/records/",
    matches=matches,
    options={
        "prompt": str,
        "responses": parse_list,
        "about": parse_pairs,
        "good": parse_list,
        "bad": parse_list,
        "edit": parse_list,
        "demonstration": parse_list,
        "scale": parse_scale,
    },
)
def argilla(
    row: RowData,
    *,
    prompt: str | None = None,
    responses: tuple[str, ...] = (),
    about: dict[str, str] | None = None,
    good: tuple[str, ...] = _GOOD,
    bad: tuple[str, ...] = _BAD,
    edit: tuple[str, ...] = (),
    demonstration: tuple[str, ...] = (),
    scale: Scale = Scale.STARS,
) -> list[Case]:
    """Parse submitted answers, and suggestions, which are by a model.

    A number becomes a rating, an order a ranking, and marked parts become spans. The name of one of
    several responses becomes a preference for it. A word for good or bad becomes a label, any
    other text a critique. The name of the question is the aspect.

    Parameters
    ----------
    row : dict
        Record as JSON, or row of a data set.
    prompt : str, optional
        Field of the prompt. Default: the first field called prompt, instruction, question or
        similar.
    responses : tuple of str, default ()
        Fields of the responses. Default: the fields called response, answer, completion or
        similar, also with a number.
    about : dict of str to str, optional
        Response field that each question is about, if the names do not tell.
    good : tuple of str
        Words for good.
    bad : tuple of str
        Words for bad.
    edit : tuple of str, default ()
        Questions whose answer is the corrected response.
    demonstration : tuple of str, default ()
        Questions whose answer is a new response.
    scale : Scale, default Scale.STARS
        Scale of the ratings.
    """
    record = parse_record(row)
    fields = Fields(record.fields)
    prompt_field = prompt or next((name for name in _PROMPT_FIELDS if name in fields), None)
    if prompt_field is None or prompt_field not in fields:
        raise RecordError(
            f"the prompt is in none of the fields {', '.join(record.fields)}",
            "Name the field with the option prompt=FIELD",
        )
    names = responses or tuple(
        name
        for name in record.fields
        if name != prompt_field and _normalise(name).startswith(_RESPONSE_FIELDS)
    )
    other_fields = {
        name: value for name, value in record.fields.items() if name not in (prompt_field, *names)
    }
    interaction = make_interaction(
        fields.messages(prompt_field),
        [_response(fields, name) for name in names],
        distinct=[record.id],
        metadata=record.metadata | other_fields,
    )
    settings = _Settings(names, about or {}, good, bad, edit, demonstration, scale)
    feedback = [
        item for answer in record.answers for item in _feedback(interaction, answer, settings)
    ]
    return [make_case(interaction, feedback)]


@dataclass(frozen=True)
class _Settings:
    names: tuple[str, ...]
    about: dict[str, str]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    edit: tuple[str, ...]
    demonstration: tuple[str, ...]
    scale: Scale

    def response_for(self, question: str) -> str | None:
        """Return the response that a question is about, inferred from the names."""
        if question in self.about or len(self.names) == 1:
            return self.about.get(question, self.names[0] if self.names else None)
        normalised = _normalise(question)
        contained = [name for name in self.names if _normalise(name) in normalised]
        same_number = [
            name for name in self.names if _number(name) and _number(name) == _number(normalised)
        ]
        candidates = contained or same_number
        return candidates[0] if len(candidates) == 1 else None

    def response_named(self, word: str) -> str | None:
        """Return the response with that name or number."""
        for name in self.names:
            if _normalise(name) == _normalise(word):
                return name
        if not re.fullmatch(r"[A-Za-z]*[-_ ]?\d+", word):
            return None
        return next((name for name in self.names if _number(name) == _number(word)), None)


def _normalise(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _number(name: str) -> str:
    match = re.search(r"\d+$", name)
    return match[0] if match else ""


def _response(fields: Fields, name: str) -> Response:
    if isinstance(fields.data.get(name), list):
        return response_from_messages(name, fields.messages(name))
    return Response(id=name, text=fields.text(name))


def _feedback(
    interaction: Interaction, answer: ArgillaAnswer, settings: _Settings
) -> list[AnyFeedback]:
    value = rows_from_columns(answer.value)
    if value is None or value == []:
        return []
    if isinstance(value, str):
        return _text_feedback(interaction, answer, value, settings)
    if isinstance(value, (int, float)):
        return [_rating_or_label(interaction, answer, value, settings)]
    if not isinstance(value, list):
        raise _unclear(answer, "an answer of an unknown type")
    if all(isinstance(item, dict) and "start" in item for item in value):
        return [_spans(interaction, answer, value, settings)]
    tiers = _tiers(value, settings)
    if tiers is not None:
        return [_make(Ranking, interaction, answer, tiers=tiers)]
    if not all(isinstance(item, str) for item in value):
        raise _unclear(answer, "a list that is neither an order of the responses nor labels")
    return [_critique(interaction, answer, word, settings) for word in value]


def _text_feedback(
    interaction: Interaction, answer: ArgillaAnswer, text: str, settings: _Settings
) -> list[AnyFeedback]:
    question = answer.question
    if not text.strip():
        return []
    if question in settings.demonstration:
        return [_make(Demonstration, interaction, answer, text=text)]
    if question in settings.edit:
        response = _response_id(answer, settings)
        if interaction.response(response).text == text:
            return []
        return [_make(Edit, interaction, answer, response=response, text=text)]
    return [_word_feedback(interaction, answer, text, settings)]


def _word_feedback(
    interaction: Interaction, answer: ArgillaAnswer, text: str, settings: _Settings
) -> AnyFeedback:
    question, word = answer.question, text.strip().lower()
    if len(settings.names) > 1 and (best := settings.response_named(text)) is not None:
        return _best_response(interaction, answer, best, settings)
    if len(settings.names) == 2 and (verdict := _UNDECIDED.get(_normalise(text))) is not None:
        a, b = settings.names
        return _make(Preference, interaction, answer, a=a, b=b, verdict=verdict, aspect=question)
    if word in (*settings.good, *settings.bad):
        response, good = _response_id(answer, settings), word in settings.good
        return _make(Label, interaction, answer, response=response, good=good, aspect=question)
    return _critique(interaction, answer, text, settings)


def _best_response(
    interaction: Interaction, answer: ArgillaAnswer, best: str, settings: _Settings
) -> AnyFeedback:
    if len(settings.names) == 2:
        a, b = settings.names
        verdict = "a" if best == a else "b"
        return _make(
            Preference, interaction, answer, a=a, b=b, verdict=verdict, aspect=answer.question
        )
    others = tuple(name for name in settings.names if name != best)
    return _make(
        Ranking,
        interaction,
        answer,
        tiers=((best,), others),
        within="unordered",
        aspect=answer.question,
    )


def _rating_or_label(
    interaction: Interaction, answer: ArgillaAnswer, value: float, settings: _Settings
) -> AnyFeedback:
    response, aspect, scale = _response_id(answer, settings), answer.question, settings.scale
    if isinstance(value, bool):
        return _make(Label, interaction, answer, response=response, good=value, aspect=aspect)
    if not scale.low <= value <= scale.high:
        raise RecordError(
            f"{aspect}: {value} is not on the scale {scale.low:g} to {scale.high:g}",
            "Name the scale with the option scale=LOW-HIGH",
        )
    return _make(
        Rating, interaction, answer, response=response, value=value, scale=scale, aspect=aspect
    )


def _spans(
    interaction: Interaction, answer: ArgillaAnswer, value: list[Any], settings: _Settings
) -> AnyFeedback:
    marks = [Fields(mark, answer.question) for mark in value]
    spans = tuple(
        Span(start=mark.integer("start"), end=mark.integer("end"), label=mark.text("label"))
        for mark in marks
    )
    response = _response_id(answer, settings)
    return _make(Spans, interaction, answer, response=response, spans=spans)


def _tiers(value: list[Any], settings: _Settings) -> tuple[tuple[str, ...], ...] | None:
    """Return an order of the responses from a list of their names, or of names with ranks."""
    tiers: dict[int, list[str]] = defaultdict(list)
    for i, item in enumerate(value):
        has_rank = isinstance(item, dict) and "rank" in item
        word, rank = (item.get("value"), item["rank"]) if has_rank else (item, i)
        name = settings.response_named(word) if isinstance(word, str) else None
        if name is None or not isinstance(rank, int):
            return None
        tiers[rank].append(name)
    return tuple(tuple(tiers[rank]) for rank in sorted(tiers)) if len(value) > 1 else None


def _critique(
    interaction: Interaction, answer: ArgillaAnswer, text: str, settings: _Settings
) -> AnyFeedback:
    response = settings.response_for(answer.question)
    return _make(
        Critique, interaction, answer, response=response, text=text, aspect=answer.question
    )


def _make(
    kind: type[FeedbackT], interaction: Interaction, answer: ArgillaAnswer, **fields: Any
) -> FeedbackT:
    return make_feedback(
        kind, interaction, answer.annotator, confidence=answer.confidence, **fields
    )


def _response_id(answer: ArgillaAnswer, settings: _Settings) -> str:
    response = settings.response_for(answer.question)
    if response is None:
        raise _unclear(answer, "it is not clear which response it is about")
    return response


def _unclear(answer: ArgillaAnswer, what: str) -> RecordError:
    return RecordError(
        f"{answer.question}: {what}",
        "Name the responses with the option responses=FIELD,FIELD, and the response of a question "
        "with about=QUESTION=FIELD",
    )

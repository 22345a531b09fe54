"""Argilla: records with fields, and people's answers to questions about them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.judgements import Label, Preference, Ranking, Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.parts import Span, Spans
from backtalk.feedback.views import Case
from backtalk.feedback.words import Critique, Demonstration, Edit
from backtalk.formats.content_ids import Kind, case, feedback, make_interaction, written
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format
from backtalk.formats.importers.argilla_layouts import Answer, by_rows, looks_like, record
from backtalk.formats.options import pairs, scale, words

_PROMPTS = ("prompt", "instruction", "question", "query", "input", "messages", "chat")
_RESPONSES = ("response", "completion", "answer", "output", "generation", "reply", "candidate")
_GOOD = ("yes", "good", "correct", "true", "positive", "accept", "👍")
_BAD = ("no", "bad", "incorrect", "wrong", "false", "negative", "reject", "👎")
_EVEN: dict[str, Literal["tie", "both_bad"]] = {
    **dict.fromkeys(("tie", "equal", "same", "both", "bothgood"), "tie"),
    **dict.fromkeys(("neither", "bothbad"), "both_bad"),
}
"""What is said of two responses of which none is preferred; without spaces and signs."""


@import_format(
    "argilla",
    title="Argilla records, 1.x and 2.x, nested or flattened",
    source="https://docs.argilla.io/latest/reference/argilla/records/records/",
    looks_like=looks_like,
    options={
        "prompt": str,
        "responses": words,
        "about": pairs,
        "good": words,
        "bad": words,
        "edit": words,
        "demonstration": words,
        "scale": scale,
    },
)
def argilla(
    row: Data,
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
    """Answers that were submitted, and suggestions, which are by a model.

    A number is a rating; an order a ranking; marked parts are spans; the name of a response among
    several is a preference for it; a word for good or bad a label; any other text a critique.
    The question's name is the aspect.

    Parameters
    ----------
    row : Data
        A record as JSON, or as a row of a data set.
    prompt : str, optional
        The field that is the prompt; by default the first that is called prompt, instruction,
        question or the like.
    responses : tuple of str, default ()
        The fields that are responses; by default those called response, answer, completion or
        the like, perhaps numbered.
    about : dict[str, str], optional
        For each question the field that it is about, where the names do not tell.
    good, bad
        The words that mean good and bad.
    edit, demonstration : tuple of str, default ()
        Questions whose answer is the response as it should be, or a response of its own.
    scale : Scale, default Scale.STARS
        The scale of ratings.
    """
    result = record(row)
    fields = Fields(result.fields)
    asked = prompt or next((name for name in _PROMPTS if name in fields), None)
    if asked is None or asked not in fields:
        raise RecordError(
            f"the prompt is in none of the fields {', '.join(result.fields)}",
            "Say which field it is with the option prompt=FIELD",
        )
    names = responses or tuple(
        name for name in result.fields if name != asked and _squeezed(name).startswith(_RESPONSES)
    )
    others = {name: value for name, value in result.fields.items() if name not in (asked, *names)}
    interaction = make_interaction(
        fields.messages(asked),
        [_response(fields, name) for name in names],
        distinct=[result.id],
        metadata=result.metadata | others,
    )
    how = _How(names, about or {}, good, bad, edit, demonstration, scale)
    return [
        case(
            interaction, [item for each in result.answers for item in _said(interaction, each, how)]
        )
    ]


@dataclass(frozen=True)
class _How:
    names: tuple[str, ...]
    about: dict[str, str]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    edit: tuple[str, ...]
    demonstration: tuple[str, ...]
    scale: Scale

    def response(self, question: str) -> str | None:
        """Return the response that a question is about, by the names of the two."""
        if question in self.about or len(self.names) == 1:
            return self.about.get(question, self.names[0] if self.names else None)
        asked = _squeezed(question)
        inside = [name for name in self.names if _squeezed(name) in asked]
        numbered = [
            name for name in self.names if _number(name) and _number(name) == _number(asked)
        ]
        fitting = inside or numbered
        return fitting[0] if len(fitting) == 1 else None

    def meant(self, word: str) -> str | None:
        """Return the response that a word names."""
        for name in self.names:
            if _squeezed(name) == _squeezed(word):
                return name
        if not re.fullmatch(r"[A-Za-z]*[-_ ]?\d+", word):
            return None
        return next((name for name in self.names if _number(name) == _number(word)), None)


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _number(name: str) -> str:
    result = re.search(r"\d+$", name)
    return result[0] if result else ""


def _response(fields: Fields, name: str) -> Response:
    if isinstance(fields.data.get(name), list):
        return written(name, fields.messages(name))
    return Response(id=name, text=fields.text(name))


def _said(interaction: Interaction, answer: Answer, how: _How) -> list[AnyFeedback]:
    value = by_rows(answer.value)
    if value is None or value == []:
        return []
    if isinstance(value, str):
        return _word(interaction, answer, value, how)
    if isinstance(value, (int, float)):
        return [_number_or_flag(interaction, answer, value, how)]
    if not isinstance(value, list):
        raise _unclear(answer, "an answer of an unknown sort")
    if all(isinstance(each, dict) and "start" in each for each in value):
        return [_spans(interaction, answer, value, how)]
    ranked = _tiers(value, how)
    if ranked is not None:
        return [_say(Ranking, interaction, answer, tiers=ranked)]
    if not all(isinstance(each, str) for each in value):
        raise _unclear(answer, "a list that is neither an order of the responses nor labels")
    return [_critique(interaction, answer, word, how) for word in value]


def _word(interaction: Interaction, answer: Answer, word: str, how: _How) -> list[AnyFeedback]:
    question, plain = answer.question, word.strip().lower()
    if not plain:
        return []
    if question in how.demonstration:
        return [_say(Demonstration, interaction, answer, text=word)]
    if question in how.edit:
        about = _about(answer, how)
        if interaction.response(about).text == word:
            return []
        return [_say(Edit, interaction, answer, response=about, text=word)]
    return [_chosen_word(interaction, answer, word, how)]


def _chosen_word(interaction: Interaction, answer: Answer, word: str, how: _How) -> AnyFeedback:
    question, plain = answer.question, word.strip().lower()
    if len(how.names) > 1 and (best := how.meant(word)) is not None:
        return _best(interaction, answer, best, how)
    if len(how.names) == 2 and (even := _EVEN.get(_squeezed(word))) is not None:
        a, b = how.names
        return _say(Preference, interaction, answer, a=a, b=b, verdict=even, aspect=question)
    if plain in (*how.good, *how.bad):
        about, good = _about(answer, how), plain in how.good
        return _say(Label, interaction, answer, response=about, good=good, aspect=question)
    return _critique(interaction, answer, word, how)


def _best(interaction: Interaction, answer: Answer, best: str, how: _How) -> AnyFeedback:
    if len(how.names) == 2:
        a, b = how.names
        verdict = "a" if best == a else "b"
        return _say(
            Preference, interaction, answer, a=a, b=b, verdict=verdict, aspect=answer.question
        )
    others = tuple(name for name in how.names if name != best)
    return _say(
        Ranking,
        interaction,
        answer,
        tiers=((best,), others),
        within="unordered",
        aspect=answer.question,
    )


def _number_or_flag(
    interaction: Interaction, answer: Answer, value: float, how: _How
) -> AnyFeedback:
    about, aspect = _about(answer, how), answer.question
    if isinstance(value, bool):
        return _say(Label, interaction, answer, response=about, good=value, aspect=aspect)
    if not how.scale.low <= value <= how.scale.high:
        raise RecordError(
            f"{aspect}: {value} is not on the scale {how.scale.low:g} to {how.scale.high:g}",
            "Say what the scale is with the option scale=LOW-HIGH",
        )
    return _say(
        Rating, interaction, answer, response=about, value=value, scale=how.scale, aspect=aspect
    )


def _spans(interaction: Interaction, answer: Answer, value: list[Any], how: _How) -> AnyFeedback:
    marks = [Fields(mark, answer.question) for mark in value]
    spans = tuple(
        Span(start=mark.integer("start"), end=mark.integer("end"), label=mark.text("label"))
        for mark in marks
    )
    return _say(Spans, interaction, answer, response=_about(answer, how), spans=spans)


def _tiers(value: list[Any], how: _How) -> tuple[tuple[str, ...], ...] | None:
    """Return an order of the responses: a list of their names, or of names with ranks."""
    tiers: dict[int, list[str]] = defaultdict(list)
    for i, item in enumerate(value):
        ranked = isinstance(item, dict) and "rank" in item
        word, rank = (item.get("value"), item["rank"]) if ranked else (item, i)
        name = how.meant(word) if isinstance(word, str) else None
        if name is None or not isinstance(rank, int):
            return None
        tiers[rank].append(name)
    return tuple(tuple(tiers[rank]) for rank in sorted(tiers)) if len(value) > 1 else None


def _critique(interaction: Interaction, answer: Answer, text: str, how: _How) -> AnyFeedback:
    about = how.response(answer.question)
    return _say(Critique, interaction, answer, response=about, text=text, aspect=answer.question)


def _say(kind: type[Kind], interaction: Interaction, answer: Answer, **payload: Any) -> Kind:
    return feedback(kind, interaction, answer.annotator, confidence=answer.confidence, **payload)


def _about(answer: Answer, how: _How) -> str:
    about = how.response(answer.question)
    if about is None:
        raise _unclear(answer, "it is not clear which response it is about")
    return about


def _unclear(answer: Answer, what: str) -> RecordError:
    return RecordError(
        f"{answer.question}: {what}",
        "Name the responses with the option responses=FIELD,FIELD, and what a question is about "
        "with about=QUESTION=FIELD",
    )

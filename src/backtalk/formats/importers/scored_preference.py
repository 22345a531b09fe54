"""Pairs with a score of each answer: distilabel, Argilla's DPO sets, capybara-dpo."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Scale
from backtalk.formats.cell_values import read_list_cells
from backtalk.formats.chat import plain_text
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference
from backtalk.formats.importers.trl import parse_pair
from backtalk.formats.options import parse_scale
from backtalk.formats.prompts import PROMPT_COLUMNS, SYSTEM_COLUMNS, has_prompt

_SCORE_COLUMNS = {
    ("rating_chosen", "rating_rejected"): Scale.STARS,
    ("chosen-rating", "rejected-rating"): Scale.STARS,
    ("chosen_avg_rating", "rejected_avg_rating"): Scale.STARS,
    ("chosen_rating", "rejected_rating"): None,
    ("chosen_score", "rejected_score"): None,
}
"""Columns of the scores of the chosen and the rejected answer, with their scale if it is known."""
_LISTS_OF_RATINGS = ("rating", "ratings")
_SIDES = ("chosen", "rejected")
_ASSISTANTS = ("assistant", "gpt")
_READ_COLUMNS = (
    *(name for names in _SCORE_COLUMNS for name in names),
    *(f"{side}{end}" for side in _SIDES for end in ("", "_response", "_model", "-model")),
    *PROMPT_COLUMNS,
    "labelling_model",
    "rationale",
)
_REPEATED_COLUMNS = tuple(name for name in PROMPT_COLUMNS if name not in SYSTEM_COLUMNS)
"""Columns that repeat the prompt if the answers are whole conversations."""
_LEFT_OUT_COLUMNS = (
    "conversation",
    "conversations",
    "messages",
    "original_conversation",
    "original_response",
    "original_chosen",
    "original_rejected",
    "generation_model",
    "generation_models",
    "generation_prompt",
    "generations",
    "new_generations",
    "raw_generation_response",
    "raw_generation_responses",
    "order",
    *_LISTS_OF_RATINGS,
    "labelling_prompt",
    "raw_labelling_response",
)
"""Columns of the steps by which a pair was made."""
_CODE_ULTRAFEEDBACK = frozenset({"instruction", "preference"})
"""Columns of a layout in which the scores are those of one aspect."""


def has_scored_pair(row: RowData) -> bool:
    """Return true if a row has two answers and columns of their scores."""
    if set(row) >= _CODE_ULTRAFEEDBACK:
        return False
    return _has_answers(row) and (
        any(set(names) <= set(row) for names in _SCORE_COLUMNS)
        or {"chosen_score", "labelling_model"} <= set(row)
    )


def _has_answers(row: RowData) -> bool:
    return any(all(f"{side}{end}" in row for side in _SIDES) for end in ("", "_response"))


@import_format(
    "scored-preference",
    title="Pairs with a score of each answer: distilabel, Argilla's DPO sets, capybara-dpo",
    source="https://huggingface.co/datasets/argilla/distilabel-capybara-dpo-7k-binarized",
    matches=has_scored_pair,
    options={"scale": parse_scale},
    columns=(*_READ_COLUMNS, *_LEFT_OUT_COLUMNS, "status"),
)
def scored_preference(row: RowData, *, scale: Scale | None = None) -> list[Case]:
    """Parse a model's preference, whose strength is the difference of the scores on their scale.

    Equal scores are a tie. The scores are metadata of the answers, and the judge's reasons are a
    critique. Columns of the steps by which the pair was made are left out.

    Parameters
    ----------
    row : RowData
        Row of the file.
    scale : Scale, optional
        Scale of the scores. By default 1 to 5 for ``rating_chosen``, ``chosen-rating`` and
        ``chosen_avg_rating``; others have no known scale, and their preferences no strength.
    """
    fields = Fields(read_list_cells(row, (*_LISTS_OF_RATINGS, "generations", "order")))
    for name in _LISTS_OF_RATINGS:
        if name in fields and not isinstance(fields.data[name], list):
            raise fields.error(name, "one rating for two answers", "Read it with a mapping")
    scores, known_scale = _scores(fields)
    judge = Annotator.model(fields.optional_text("labelling_model") or "unknown")
    judge = judge if scores else HUMAN
    interaction = read_pair(fields, scores)
    tie = fields.data.get("status") == "tie" or (len(scores) > 1 and scores[0] == scores[1])
    feedback: list[AnyFeedback] = [
        make_preference(
            interaction,
            judge,
            "tie" if tie else "a",
            strength=None if tie else _strength(scores, scale or known_scale),
        )
    ]
    if reasons := fields.optional_text("rationale"):
        feedback.append(make_feedback(Critique, interaction, judge, text=reasons))
    return [make_case(interaction, feedback)]


def read_pair(fields: Fields, scores: list[float]) -> Interaction:
    """Return the interaction with a chosen and a rejected answer, and their models.

    Parameters
    ----------
    fields : Fields
        The row, whose answers are in ``chosen`` or ``chosen_response``.
    scores : list of float
        Scores of the answers, empty if they are not known.

    Raises
    ------
    RecordError
        If an answer or the prompt is missing.
    """
    data = dict(fields.data)
    for side in _SIDES:
        data.setdefault(side, data.get(f"{side}_response"))
        if is_empty(data[side]):
            raise fields.error(side, "missing")
    repeated = {}
    if all(is_conversation(data[side]) for side in _SIDES):
        repeated = {name: data.pop(name, None) for name in _REPEATED_COLUMNS}
    elif not has_prompt(fields):
        data["prompt"] = data.get("messages") or data.get("conversations")
    prompt, *answers = parse_pair(Fields(data, fields.path))
    questions = {plain_text(message.text) for message in prompt}
    metadata = fields.other_fields((*_READ_COLUMNS, *_LEFT_OUT_COLUMNS))
    metadata |= {
        name: value
        for name, value in repeated.items()
        if not is_empty(value) and plain_text(str(value)) not in questions
    }
    numbers: list[float | None] = [*scores] or [None, None]
    return make_interaction(
        prompt,
        [_response(fields, *item) for item in zip(answers, _SIDES, numbers, strict=True)],
        metadata=metadata,
    )


def is_conversation(value: Any) -> bool:
    """Return true if a value is a list of messages that does not begin with an answer."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and first.get("role", first.get("from")) not in _ASSISTANTS


def _response(fields: Fields, answer: Response, side: str, score: float | None) -> Response:
    model = fields.optional_text(f"{side}_model") or fields.optional_text(f"{side}-model")
    metadata = {} if score is None else {"score": score}
    return answer.model_copy(update={"model": model, "metadata": metadata})


def _scores(fields: Fields) -> tuple[list[float], Scale | None]:
    """Return the scores of both answers, best first, and their scale if it is known."""
    for names, scale in _SCORE_COLUMNS.items():
        if all(name in fields for name in names):
            better, worse = (fields.number(name) for name in names)
            if worse > better:
                raise fields.error(names[1], f"{worse:g} is above {names[0]}, {better:g}")
            return [better, worse], scale
    return _generation_scores(fields), None


def _generation_scores(fields: Fields) -> list[float]:
    """Return the ratings of the generations that are the answers, if both are rated."""
    if "rating" not in fields or "generations" not in fields:
        return []
    texts, ratings = fields.array("generations"), fields.array_fields("rating")
    numbers = [ratings.optional_number(index) for index in ratings.data]
    by_text = {str(text): number for text, number in zip(texts, numbers, strict=False)}
    scores = [by_text.get(str(fields.data.get(side))) for side in _SIDES]
    known = [score for score in scores if score is not None]
    return known if len(known) == len(_SIDES) else []


def _strength(scores: list[float], scale: Scale | None) -> float | None:
    if not scores or scale is None:
        return None
    better, worse = scores
    if not scale.low <= worse <= better <= scale.high:
        raise RecordError(
            f"the scores {better:g} and {worse:g} are not on the scale {scale.low:g} to "
            f"{scale.high:g}",
            "Name the scale with the option scale=LOW-HIGH",
        )
    return (better - worse) / (scale.high - scale.low)

"""Prometheus: responses scored or compared by GPT-4 on a criterion of the row."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Demonstration, Rating, Scale
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference

_JUDGE = Annotator.model("gpt-4")
_JUDGE_PROMPT_COLUMNS = frozenset({"instruction", "input", "output"})
"""Prompt and completion of the judge, which repeat the other columns."""
_RUBRIC_COLUMNS = tuple(f"orig_score{score}_description" for score in range(1, 6))
_SHARED_COLUMNS = frozenset(
    {"orig_instruction", "orig_criteria", "orig_reference_answer", "orig_feedback"}
).union(_JUDGE_PROMPT_COLUMNS, _RUBRIC_COLUMNS)
_RATED = frozenset({"orig_instruction", "orig_response", "orig_score"})
_COMPARED = frozenset({"orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"})
_SINGLE_COLUMNS = _SHARED_COLUMNS | _RATED
_PAIR_COLUMNS = _SHARED_COLUMNS.union(
    _COMPARED, (f"orig_{name}_{letter}" for name in ("score", "feedback") for letter in "AB")
)


@import_format(
    "prometheus-feedback",
    title="Prometheus Feedback-Collection: orig_response, orig_score",
    source="https://huggingface.co/datasets/prometheus-eval/Feedback-Collection",
    matches=lambda row: set(row) >= _RATED,
    columns=_SINGLE_COLUMNS,
)
def prometheus_feedback(row: RowData) -> list[Case]:
    """Parse a rating from 1 to 5 with its critique, and the reference answer.

    The criterion is the aspect of the rating. The reference answer, which GPT-4 wrote as one that
    gets the best score, is a demonstration. The judge's prompt and its completion are left out, as
    they repeat the other columns.
    """
    fields = Fields(row)
    interaction = _interaction(fields, _SINGLE_COLUMNS, "orig_response")
    feedback = _judgement(interaction, fields, "0", "orig_score", "orig_feedback")
    return [make_case(interaction, [*feedback, *_reference(interaction, fields)])]


@import_format(
    "prometheus-preference",
    title="Prometheus Preference-Collection: orig_response_A, orig_response_B, orig_preference",
    source="https://huggingface.co/datasets/prometheus-eval/Preference-Collection",
    matches=lambda row: set(row) >= _COMPARED,
    columns=_PAIR_COLUMNS,
)
def prometheus_preference(row: RowData) -> list[Case]:
    """Parse a preference, a rating and a critique of each response, and the reference answer.

    The criterion is the aspect, as in :func:`prometheus_feedback`. The critique of the comparison
    is about no response in particular.
    """
    fields = Fields(row)
    interaction = _interaction(fields, _PAIR_COLUMNS, "orig_response_A", "orig_response_B")
    answer = fields.text("orig_preference").strip().upper()
    if answer not in {"A", "B"}:
        raise fields.error("orig_preference", f"expected A or B, got {answer!r}")
    feedback: list[AnyFeedback] = [
        make_preference(
            interaction,
            _JUDGE,
            "a" if answer == "A" else "b",
            aspect=_criterion(fields),
            metadata=_rubric(fields),
        ),
        *_critique(interaction, fields, None, "orig_feedback"),
    ]
    for response, letter in (("0", "A"), ("1", "B")):
        score, reason = (f"orig_{name}_{letter}" for name in ("score", "feedback"))
        feedback += _judgement(interaction, fields, response, score, reason)
    return [make_case(interaction, [*feedback, *_reference(interaction, fields)])]


def _interaction(fields: Fields, known: frozenset[str], *columns: str) -> Interaction:
    return make_interaction(
        fields.text("orig_instruction"),
        [Response(id=str(i), text=fields.text(name)) for i, name in enumerate(columns)],
        metadata=fields.other_fields(known),
    )


def _judgement(
    interaction: Interaction, fields: Fields, response: str, score: str, reason: str
) -> list[AnyFeedback]:
    """Return the rating of a response, if its score is in the row, and the critique."""
    critique = _critique(interaction, fields, response, reason)
    if score not in fields.data:
        return critique
    value = fields.integer(score)
    if not Scale.STARS.low <= value <= Scale.STARS.high:
        raise fields.error(score, f"expected a number from 1 to 5, got {value}")
    rating = make_feedback(
        Rating,
        interaction,
        _JUDGE,
        response=response,
        value=value,
        scale=Scale.STARS,
        aspect=_criterion(fields),
        metadata=_rubric(fields),
    )
    return [rating, *critique]


def _critique(
    interaction: Interaction, fields: Fields, response: str | None, name: str
) -> list[AnyFeedback]:
    if (text := fields.optional_text(name)) is None:
        return []
    aspect = _criterion(fields)
    return [
        make_feedback(Critique, interaction, _JUDGE, response=response, text=text, aspect=aspect)
    ]


def _reference(interaction: Interaction, fields: Fields) -> list[AnyFeedback]:
    if (text := fields.optional_text("orig_reference_answer")) is None:
        return []
    return [make_feedback(Demonstration, interaction, _JUDGE, text=text)]


def _criterion(fields: Fields) -> str | None:
    criterion = fields.optional_text("orig_criteria")
    return criterion and criterion.strip()


def _rubric(fields: Fields) -> dict[str, Any]:
    return fields.select(*_RUBRIC_COLUMNS)

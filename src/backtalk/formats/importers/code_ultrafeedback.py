"""CodeUltraFeedback: code by several models, rated by GPT-3.5 on one coding preference."""

from __future__ import annotations

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Rating, Scale
from backtalk.formats.cell_values import is_json_cell, read_cells
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference

_JUDGE = Annotator.model("gpt-3.5-turbo")
_LIST_COLUMNS = ("responses", "annotations")
_LISTS = frozenset({"instruction", "preference", *_LIST_COLUMNS})
_BINARIZED = frozenset({"instruction", "preference", "chosen", "rejected"})
_COLUMNS = _LISTS.union(
    _BINARIZED,
    {"models"},
    (
        f"{side}_{name}"
        for side in ("chosen", "rejected")
        for name in ("model", "rating", "rationale")
    ),
)


def _matches(row: RowData) -> bool:
    names = set(row)
    if names >= _LISTS:
        return all(isinstance(row[name], list) or is_json_cell(row[name]) for name in _LIST_COLUMNS)
    return names >= _BINARIZED and isinstance(row["preference"], str)


@import_format(
    "code-ultrafeedback",
    title="CodeUltraFeedback, as released and binarized",
    source="https://huggingface.co/datasets/coseal/CodeUltraFeedback",
    matches=_matches,
    columns=_COLUMNS,
)
def code_ultrafeedback(row: RowData) -> list[Case]:
    """Parse a rating and a critique of each response, whose aspect is the coding preference.

    A rating "N/A" is left out. The binarized layout has a preference besides.
    """
    fields = Fields(read_cells(row, _LIST_COLUMNS))
    if "responses" in fields:
        return [_rated_case(fields)]
    return [_binarized_case(fields)]


def _rated_case(fields: Fields) -> Case:
    responses = [
        Response(id=str(i), text=item.text("response"), model=item.text("model"))
        for i, item in enumerate(fields.objects("responses"))
    ]
    interaction = make_interaction(
        fields.text("instruction"), responses, metadata=fields.other_fields(_COLUMNS)
    )
    ids = {response.model: response.id for response in responses}
    if len(ids) < len(responses):
        raise fields.error("responses", "two responses are by the same model")
    feedback: list[AnyFeedback] = []
    for item in fields.objects("annotations"):
        model = item.text("model")
        if model not in ids:
            raise item.error("model", f"there is no response by {model!r}")
        names = "rating", "rationale"
        feedback += _judgement(interaction, ids[model], item, names, fields.text("preference"))
    return make_case(interaction, feedback)


def _binarized_case(fields: Fields) -> Case:
    sides = ("chosen", "rejected")
    interaction = make_interaction(
        fields.text("instruction"),
        [
            Response(id=str(i), text=fields.text(side), model=fields.optional_text(f"{side}_model"))
            for i, side in enumerate(sides)
        ],
        metadata=fields.other_fields(_COLUMNS),
    )
    aspect = fields.text("preference")
    feedback: list[AnyFeedback] = [make_preference(interaction, _JUDGE, "a", aspect=aspect)]
    for i, side in enumerate(sides):
        names = f"{side}_rating", f"{side}_rationale"
        feedback += _judgement(interaction, str(i), fields, names, aspect)
    return make_case(interaction, feedback)


def _judgement(
    interaction: Interaction, response: str, fields: Fields, names: tuple[str, str], aspect: str
) -> list[AnyFeedback]:
    """Return the rating of a response and the reason for it, in fields of these names."""
    rating, rationale = names
    feedback: list[AnyFeedback] = []
    value = fields.optional_number(rating)
    if value is not None:
        if not Scale.STARS.low <= value <= Scale.STARS.high:
            raise fields.error(rating, f"expected a number from 1 to 5, got {value:g}")
        feedback.append(
            make_feedback(
                Rating,
                interaction,
                _JUDGE,
                response=response,
                value=value,
                scale=Scale.STARS,
                aspect=aspect,
            )
        )
    if text := fields.optional_text(rationale):
        feedback.append(
            make_feedback(
                Critique, interaction, _JUDGE, response=response, text=text, aspect=aspect
            )
        )
    return feedback

"""PKU-SafeRLHF: two responses compared for helpfulness and for safety."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Label
from backtalk.formats.cell_values import read_cells
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference, read_choice

SAFETY = "safety"
"""Aspect of judgements on safety."""

_REQUIRED = frozenset({"prompt", "response_0", "response_1", "better_response_id"})
_HARM_COLUMNS = ("response_0_harm_category", "response_1_harm_category")
_COLUMNS = _REQUIRED.union(
    {"safer_response_id", *_HARM_COLUMNS},
    *(
        {
            f"is_response_{i}_safe",
            f"response_{i}_source",
            f"response_{i}_severity_level",
            f"response_{i}_sha256",
        }
        for i in range(2)
    ),
)


@import_format(
    "pku-saferlhf",
    title="PKU-SafeRLHF: better_response_id, safer_response_id",
    source="https://huggingface.co/datasets/PKU-Alignment/PKU-SafeRLHF",
    matches=lambda row: set(row) >= _REQUIRED,
    columns=_COLUMNS,
)
def pku_saferlhf(row: RowData) -> list[Case]:
    """Parse an overall preference, one for safety, and a label for the safety of each response.

    Ids of responses count from 0. The harm categories that apply and the level of severity, from 0
    to 3, are metadata of the label. ``safer_response_id`` and the labels are missing in files with
    a single dimension.
    """
    fields = Fields(read_cells(row, _HARM_COLUMNS))
    interaction = make_interaction(
        fields.text("prompt"),
        [
            Response(
                id=str(i),
                text=fields.text(f"response_{i}"),
                model=fields.optional_text(f"response_{i}_source"),
                metadata=fields.select(f"response_{i}_sha256"),
            )
            for i in range(2)
        ],
        metadata=fields.other_fields(_COLUMNS),
    )
    feedback: list[AnyFeedback] = [
        make_preference(interaction, HUMAN, read_choice(fields, "better_response_id"))
    ]
    if "safer_response_id" in fields.data:
        safer = read_choice(fields, "safer_response_id")
        feedback.append(make_preference(interaction, HUMAN, safer, aspect=SAFETY))
    feedback += [
        _safety_label(interaction, fields, i)
        for i in range(2)
        if f"is_response_{i}_safe" in fields.data
    ]
    return [make_case(interaction, feedback)]


def _safety_label(interaction: Interaction, fields: Fields, index: int) -> Label:
    severity = fields.data.get(f"response_{index}_severity_level")
    return make_safety_label(
        interaction,
        str(index),
        fields.boolean(f"is_response_{index}_safe"),
        read_harm_categories(fields, f"response_{index}_harm_category"),
        severity,
    )


def make_safety_label(
    interaction: Interaction, response: str, safe: bool, categories: list[str], severity: Any = None
) -> Label:
    """Build a label for the safety of a response.

    Parameters
    ----------
    interaction : Interaction
        Interaction of the response.
    response : str
        Id of the response.
    safe : bool
        True if the response is safe.
    categories : list of str
        Harm categories that apply to the response.
    severity : Any, optional
        Level of severity as the source writes it.
    """
    metadata: dict[str, Any] = {"harm_categories": categories} if categories else {}
    if severity is not None:
        metadata["severity_level"] = severity
    return make_feedback(
        Label,
        interaction,
        HUMAN,
        response=response,
        good=safe,
        aspect=SAFETY,
        metadata=metadata,
        distinct="\n".join(categories) or None,
    )


def read_harm_categories(fields: Fields, name: str) -> list[str]:
    """Return the harm categories that apply to a response.

    The field is an object from each category to true or false, or a list of those that apply.

    Raises
    ------
    RecordError
        If it is neither.
    """
    if name not in fields:
        return []
    if isinstance(fields.data[name], list):
        items = fields.array_fields(name)
        return [items.text(index) for index in items.data]
    categories = fields.object(name)
    return [category for category in categories.data if categories.boolean(category)]

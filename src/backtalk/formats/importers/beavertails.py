"""BeaverTails and PKU-SafeRLHF-QA: the safety of one response, with categories of harm."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.formats.cell_values import read_cells
from backtalk.formats.content_ids import make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.pku_saferlhf import make_safety_label, read_harm_categories

_REQUIRED = frozenset({"prompt", "response", "is_safe"})
_CATEGORY_COLUMNS = frozenset({"category", "harm_category"})
_COLUMNS = _REQUIRED | _CATEGORY_COLUMNS | {"severity_level", "response_source", "sha256"}


def _matches(row: RowData) -> bool:
    names = set(row)
    return names >= _REQUIRED and not names.isdisjoint(_CATEGORY_COLUMNS)


@import_format(
    "beavertails",
    title="BeaverTails and PKU-SafeRLHF-QA: is_safe, with categories of harm",
    source="https://huggingface.co/datasets/PKU-Alignment/BeaverTails",
    matches=_matches,
    columns=_COLUMNS,
)
def beavertails(row: RowData) -> list[Case]:
    """Parse a label for the safety of the response; the harm categories are its metadata.

    Rows with the same prompt and response are judgements of different people, who are not named.
    They count separately if their verdict or their categories differ.
    """
    fields = Fields(read_cells(row, _CATEGORY_COLUMNS))
    interaction = make_interaction(
        fields.text("prompt"),
        [
            Response(
                id="0",
                text=fields.text("response"),
                model=fields.optional_text("response_source"),
                metadata=fields.select("sha256"),
            )
        ],
        metadata=fields.other_fields(_COLUMNS),
    )
    name = "category" if "category" in fields else "harm_category"
    label = make_safety_label(
        interaction,
        "0",
        fields.boolean("is_safe"),
        read_harm_categories(fields, name),
        fields.data.get("severity_level"),
    )
    return [make_case(interaction, [label])]

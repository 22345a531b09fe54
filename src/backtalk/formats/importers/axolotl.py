"""axolotl's preference types with the columns chosen_response and rejected_response."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.formats.content_ids import make_case
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference
from backtalk.formats.importers.scored_preference import read_pair
from backtalk.formats.prompts import PROMPT_COLUMNS, read_annotator

_ANSWER_COLUMNS = ("chosen_response", "rejected_response")


@import_format(
    "axolotl-preference",
    title="axolotl's chatml.argilla and llama3.argilla: chosen_response, rejected_response",
    source="https://docs.axolotl.ai/docs/rlhf.html#dpo",
    matches=lambda row: set(_ANSWER_COLUMNS) <= set(row),
    columns=(*PROMPT_COLUMNS, *_ANSWER_COLUMNS),
    reads_person=True,
    fallback=True,
)
def axolotl_preference(row: RowData) -> list[Case]:
    """Parse a preference between two texts or lists of messages; other columns are metadata.

    axolotl's other types have the columns of TRL's layouts, which the formats ``trl-preference``,
    ``trl-unpaired`` and ``trl-stepwise`` read.
    """
    fields = Fields(row)
    interaction = read_pair(fields, [])
    preference = make_preference(interaction, read_annotator(fields), "a")
    return [make_case(interaction, [preference])]

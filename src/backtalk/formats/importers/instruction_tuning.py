"""Alpaca and Dolly: instructions with an answer to imitate."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.feedback.kinds import Demonstration
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.prompts import SYSTEM_COLUMNS, read_author, read_prompt

_ALPACA_COLUMNS = ("instruction", "input", "output", "response", *SYSTEM_COLUMNS, "history", "text")
_DOLLY_COLUMNS = ("instruction", "context", "response", "category", *SYSTEM_COLUMNS)
_OTHER_LAYOUTS = {"chosen", "rejected", "completions", "kto_tag", "label", "preference"}


def _matches_alpaca(row: RowData) -> bool:
    fields = set(row)
    answers = fields & {"output", "response"}
    return (
        "instruction" in fields
        and len(answers) == 1
        and not _matches_dolly(row)
        and fields.isdisjoint({*_OTHER_LAYOUTS, "generator"})
    )


def _matches_dolly(row: RowData) -> bool:
    return set(_DOLLY_COLUMNS[:3]) <= set(row) and _OTHER_LAYOUTS.isdisjoint(row)


@import_format(
    "alpaca",
    title="Alpaca: instruction, input, output",
    source="https://github.com/tatsu-lab/stanford_alpaca#data-release",
    matches=_matches_alpaca,
    columns=_ALPACA_COLUMNS,
    reads_person=True,
    fallback=True,
)
def alpaca(row: RowData) -> list[Case]:
    """Parse a demonstration; the input follows the instruction on a new line.

    ``system`` is the system message and ``history`` has earlier turns, as in LLaMA-Factory. The
    column ``text``, which repeats the row with a template, is left out.
    """
    fields = Fields(row)
    return [_demonstration(fields, "output" if "output" in row else "response", _ALPACA_COLUMNS)]


@import_format(
    "dolly",
    title="Dolly: instruction, context, response, category",
    source="https://huggingface.co/datasets/databricks/databricks-dolly-15k",
    matches=_matches_dolly,
    columns=_DOLLY_COLUMNS,
    reads_person=True,
    fallback=True,
)
def dolly(row: RowData) -> list[Case]:
    """Parse a demonstration; the context follows the instruction on a new line."""
    return [_demonstration(Fields(row), "response", (*_DOLLY_COLUMNS[:3], *SYSTEM_COLUMNS))]


def _demonstration(fields: Fields, answer: str, columns: tuple[str, ...]) -> Case:
    if is_empty(fields.data.get(answer)):
        raise fields.error(answer, "missing")
    interaction = make_interaction(read_prompt(fields), [], metadata=fields.other_fields(columns))
    demonstration = make_feedback(
        Demonstration, interaction, read_author(fields), text=fields.text(answer)
    )
    return make_case(interaction, [demonstration])

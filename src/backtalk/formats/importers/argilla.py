"""Argilla: records with fields, and people's answers to questions about them."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.case import Case
from backtalk.formats.content_ids import make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.annotation_answers import AnswerReader
from backtalk.formats.importers.annotation_options import ANSWER_OPTIONS, AnswerOptions
from backtalk.formats.importers.annotation_texts import read_texts
from backtalk.formats.importers.argilla_layouts import matches, parse_record
from backtalk.formats.options import parse_list


@import_format(
    "argilla",
    title="Argilla records, 1.x and 2.x, nested or flattened",
    source="https://docs.argilla.io/latest/reference/argilla/records/records/",
    matches=matches,
    options={"prompt": str, "responses": parse_list, **ANSWER_OPTIONS},
)
def argilla(
    row: RowData,
    *,
    prompt: str | None = None,
    responses: tuple[str, ...] = (),
    **options: Any,
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
    **options : Any
        Fields of :class:`~backtalk.formats.importers.annotation_options.AnswerOptions`.
    """
    record = parse_record(row)
    texts = read_texts(Fields(record.fields), prompt, responses)
    interaction = make_interaction(
        texts.prompt,
        texts.responses,
        distinct=[record.id],
        metadata=record.metadata | texts.metadata,
    )
    reader = AnswerReader(interaction, AnswerOptions(**options))
    return [
        make_case(interaction, [item for answer in record.answers for item in reader.read(answer)])
    ]

"""Label Studio: tasks with annotations of people and predictions of models."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.case import Case
from backtalk.formats.content_ids import make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.annotation_answers import AnswerReader
from backtalk.formats.importers.annotation_options import ANSWER_OPTIONS, AnswerOptions
from backtalk.formats.importers.annotation_texts import read_texts
from backtalk.formats.importers.label_studio_layouts import (
    is_json_min,
    is_task,
    parse_json_min,
    parse_task,
)
from backtalk.formats.importers.label_studio_marks import MarkReader
from backtalk.formats.importers.label_studio_results import ResultReader
from backtalk.formats.options import parse_list
from backtalk.formats.unusual import note_unusual

_LEFT_OUT = {
    "cancelled": "left out: cancelled annotation",
    "drafts": "left out: draft",
    "predictions": "left out: prediction whose results the file does not have",
    "relations": "left out: relation between regions",
    "marks_on_prompt": "left out: mark on the prompt",
    "answers_on_regions": "left out: answer about a region without labels",
    "unplaced_items": "left out: item that the annotator did not place",
}
"""Remarks for the summary of an import, by what was left out."""


def _matches(row: RowData) -> bool:
    return is_task(row) or is_json_min(row)


@import_format(
    "label-studio",
    title="Label Studio exports, JSON and JSON_MIN",
    source="https://labelstud.io/guide/export.html",
    matches=_matches,
    options={
        "prompt": str,
        "responses": parse_list,
        "questions": parse_list,
        **ANSWER_OPTIONS,
    },
)
def label_studio(
    row: RowData,
    *,
    prompt: str | None = None,
    responses: tuple[str, ...] = (),
    questions: tuple[str, ...] = (),
    **options: Any,
) -> list[Case]:
    """Parse a task with its annotations, and predictions, which are by a model.

    Results are read by the name of their control (``from_name``): pairwise selections, choices,
    ratings, numbers, rankings, texts and labelled spans. Cancelled annotations are not feedback.
    What is left out (drafts, cancelled annotations, relations, marks on the prompt, other controls)
    is counted in the metadata under ``left_out``.

    Parameters
    ----------
    row : dict
        Task as JSON, or one annotation of a task in JSON_MIN.
    prompt : str, optional
        Field of the task's data with the prompt. Default: the first field called prompt,
        instruction, question or similar.
    responses : tuple of str, default ()
        Fields of the responses, the left one of a pair first. Default: the fields called response,
        answer, completion or similar, also with a number, or the items of a list.
    questions : tuple of str, default ()
        Names of the controls in JSON_MIN, if the order of the columns does not tell.
    **options : Any
        Fields of :class:`~backtalk.formats.importers.annotation_options.AnswerOptions`.
    """
    task = parse_json_min(row, questions) if is_json_min(row) else parse_task(row)
    texts = read_texts(Fields(task.data, task.path), prompt, responses)
    meaning = AnswerOptions(**options)
    marks = MarkReader(task.data, texts, meaning.about, meaning.offsets)
    results = ResultReader(marks, pair_is_named=bool(responses))
    answers = [answer for annotation in task.annotations for answer in results.read(annotation)]
    left_out = task.left_out + results.left_out
    for kind, count in left_out.items():
        for _ in range(count):
            note_unusual(_LEFT_OUT.get(kind, f"left out: result of the control {kind}"))
    metadata = texts.metadata | ({"left_out": dict(left_out)} if left_out else {})
    interaction = make_interaction(
        texts.prompt, texts.responses, distinct=[task.id], metadata=metadata
    )
    reader = AnswerReader(interaction, meaning)
    return [make_case(interaction, [item for answer in answers for item in reader.read(answer)])]

"""Fine-grained QA feedback: error spans, missing information, a correction, preferences."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import (
    AnyFeedback,
    Critique,
    Demonstration,
    Edit,
    Preference,
    Span,
    Spans,
)
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format

_VERDICTS: dict[int, Literal["tie", "a", "b"]] = {0: "tie", 1: "a", 2: "b"}


@import_format(
    "fine-grained-qa",
    title="Fine-grained feedback on long-form question answering",
    source="https://github.com/allenai/FineGrainedRLHF/tree/main/tasks/qa_feedback",
    matches=lambda row: {"question", "passages", "prediction 1", "feedback"} <= set(row),
    columns=("question", "passages", "feedback", "preference"),
)
def fine_grained_qa(row: RowData) -> list[Case]:
    """Parse spans, critiques and an edit of the first of four responses, and their preferences.

    The prompt is the question with its passages. An error that names missing information becomes a
    critique that quotes it. An empty correction is no edit. There is a preference for each pair.
    """
    fields = Fields(row)
    ids = ["1", *(id_ for id_ in ("2", "3", "4") if f"prediction {id_}" in fields)]
    responses = [Response(id=id_, text=fields.text(f"prediction {id_}")) for id_ in ids]
    passage_fields = fields.array_fields("passages")
    passages = [
        [str(sentence) for sentence in passage_fields.array(index)] for index in passage_fields.data
    ]
    sections = [f"[{i}] " + "\n".join(passage) for i, passage in enumerate(passages, 1)]
    question = fields.text("question")
    interaction = make_interaction("\n\n".join([question, *sections]), responses)
    feedback: list[AnyFeedback] = []
    first_feedback = fields.object("feedback")
    feedback.append(
        make_feedback(Spans, interaction, HUMAN, response="1", spans=_spans(first_feedback))
    )
    feedback += [
        make_feedback(
            Critique,
            interaction,
            HUMAN,
            response="1",
            aspect=missing.text("error type"),
            text=f"Missing information: {_quote(missing, passages)}",
            metadata=missing.select("passage_id", "sentence_id"),
        )
        for missing in first_feedback.objects("missing-info")
    ]
    correction = first_feedback.optional_text("corrected-prediction")
    if correction is not None and correction != responses[0].text:
        feedback.append(make_feedback(Edit, interaction, HUMAN, response="1", text=correction))
    if gold := fields.optional_text("gold"):
        feedback.append(make_feedback(Demonstration, interaction, HUMAN, text=gold))
    return [make_case(interaction, [*feedback, *_preferences(fields, interaction, responses)])]


def _spans(annotation: Fields) -> tuple[Span, ...]:
    return tuple(
        Span(
            start=error.integer("start"),
            end=error.integer("end"),
            label=error.text("error type"),
            comment=error.optional_text("explanation"),
        )
        for error in annotation.objects("errors")
    )


def _quote(missing: Fields, passages: list[list[str]]) -> str:
    """Return the missing sentences; passages are numbered from 1, the title is sentence 0."""
    number = missing.integer("passage_id")
    if not 1 <= number <= len(passages):
        raise missing.error("passage_id", f"there is no passage {number}, only {len(passages)}")
    passage = passages[number - 1]
    sentences = missing.array("sentence_id")
    for sentence in sentences:
        if not (isinstance(sentence, int) and 0 <= sentence < len(passage)):
            raise missing.error("sentence_id", f"passage {number} has no sentence {sentence}")
    return " ".join(passage[sentence] for sentence in sentences)


def _preferences(
    fields: Fields, interaction: Interaction, responses: list[Response]
) -> list[Preference]:
    ids = [response.id for response in responses]
    pairs = list(combinations(ids, 2))
    verdicts = fields.array("preference") if "preference" in fields else []
    if verdicts and len(verdicts) != len(pairs):
        raise fields.error(
            "preference", f"expected {len(pairs)} numbers, one for each pair, got {len(verdicts)}"
        )
    preferences = []
    for (a, b), number in zip(pairs, verdicts, strict=False):
        if not isinstance(number, int) or number not in _VERDICTS:
            raise fields.error("preference", f"expected 0, 1 or 2, got {number!r}")
        preferences.append(
            make_feedback(Preference, interaction, HUMAN, a=a, b=b, verdict=_VERDICTS[number])
        )
    return preferences

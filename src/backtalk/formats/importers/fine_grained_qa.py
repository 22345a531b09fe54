"""Fine-grained QA feedback: marked errors, what is missing, a correction, preferences."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.judgements import Preference
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.parts import Span, Spans
from backtalk.feedback.views import Case
from backtalk.feedback.words import Critique, Demonstration, Edit
from backtalk.formats.content_ids import HUMAN, case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format

_VERDICTS: dict[int, Literal["tie", "a", "b"]] = {0: "tie", 1: "a", 2: "b"}


@import_format(
    "fine-grained-qa",
    title="Fine-grained feedback on long-form question answering",
    source="https://github.com/allenai/FineGrainedRLHF/tree/main/tasks/qa_feedback",
    looks_like=lambda row: {"question", "passages", "prediction 1", "feedback"} <= set(row),
)
def fine_grained_qa(row: Data) -> list[Case]:
    """Four responses; spans, critiques and an edit about the first; a preference for each pair.

    The prompt is the question with its passages. An error that names missing information is a
    critique that quotes it. A correction that is empty, as where nothing was left of a response,
    is no edit.
    """
    fields = Fields(row)
    ids = ["1", *(id_ for id_ in ("2", "3", "4") if f"prediction {id_}" in fields)]
    responses = [Response(id=id_, text=fields.text(f"prediction {id_}")) for id_ in ids]
    entries = fields.entries("passages")
    passages = [[str(part) for part in entries.items(place)] for place in entries.data]
    sections = [f"[{i}] " + "\n".join(passage) for i, passage in enumerate(passages, 1)]
    question = fields.text("question")
    interaction = make_interaction("\n\n".join([question, *sections]), responses)
    said: list[AnyFeedback] = []
    about_first = fields.part("feedback")
    said.append(feedback(Spans, interaction, HUMAN, response="1", spans=_spans(about_first)))
    said += [
        feedback(
            Critique,
            interaction,
            HUMAN,
            response="1",
            aspect=missing.text("error type"),
            text=f"Missing information: {_quoted(missing, passages)}",
            metadata=missing.some("passage_id", "sentence_id"),
        )
        for missing in about_first.parts("missing-info")
    ]
    correction = about_first.words("corrected-prediction")
    if correction is not None and correction != responses[0].text:
        said.append(feedback(Edit, interaction, HUMAN, response="1", text=correction))
    if gold := fields.words("gold"):
        said.append(feedback(Demonstration, interaction, HUMAN, text=gold))
    return [case(interaction, [*said, *_preferences(fields, interaction, responses)])]


def _spans(about: Fields) -> tuple[Span, ...]:
    return tuple(
        Span(
            start=error.integer("start"),
            end=error.integer("end"),
            label=error.text("error type"),
            comment=error.words("explanation"),
        )
        for error in about.parts("errors")
    )


def _quoted(missing: Fields, passages: list[list[str]]) -> str:
    """Return the sentences that are missing; passages count from 1, the title is sentence 0."""
    number = missing.integer("passage_id")
    if not 1 <= number <= len(passages):
        raise missing.error("passage_id", f"there is no passage {number}, only {len(passages)}")
    passage = passages[number - 1]
    sentences = missing.items("sentence_id")
    for sentence in sentences:
        if not (isinstance(sentence, int) and 0 <= sentence < len(passage)):
            raise missing.error("sentence_id", f"passage {number} has no sentence {sentence}")
    return " ".join(passage[sentence] for sentence in sentences)


def _preferences(
    fields: Fields, interaction: Interaction, responses: list[Response]
) -> list[Preference]:
    ids = [response.id for response in responses]
    pairs = list(combinations(ids, 2))
    verdicts = fields.items("preference") if "preference" in fields else []
    if verdicts and len(verdicts) != len(pairs):
        raise fields.error(
            "preference", f"expected {len(pairs)} numbers, one for each pair, got {len(verdicts)}"
        )
    results = []
    for (a, b), number in zip(pairs, verdicts, strict=False):
        if not isinstance(number, int) or number not in _VERDICTS:
            raise fields.error("preference", f"expected 0, 1 or 2, got {number!r}")
        results.append(
            feedback(Preference, interaction, HUMAN, a=a, b=b, verdict=_VERDICTS[number])
        )
    return results

"""WebGPT comparisons: two answers to a question, each with its quotes and a score."""

from __future__ import annotations

import math

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.formats.cell_values import read_cells
from backtalk.formats.content_ids import HUMAN, make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference, read_signed_preference

_REQUIRED = frozenset({"question", "answer_0", "answer_1", "score_0", "score_1"})
_COLUMNS = _REQUIRED | {"quotes_0", "quotes_1", "tokens_0", "tokens_1"}
_TOLERANCE = 1e-6


@import_format(
    "webgpt",
    title="WebGPT comparisons: answer_0, answer_1, score_0, score_1",
    source="https://huggingface.co/datasets/openai/webgpt_comparisons",
    matches=lambda row: set(row) >= _REQUIRED,
    columns=_COLUMNS,
)
def webgpt(row: RowData) -> list[Case]:
    """Parse a preference whose strength is the absolute value of the scores, from -1 to 1.

    The answer with the positive score is better; a score of 0 is a tie. The quotes are metadata of
    the answers. The tokens, which repeat question, quotes and answer, are left out.
    """
    fields = Fields(read_cells(row, ("question", "quotes_0", "quotes_1")))
    scores = [fields.number(name) for name in ("score_0", "score_1")]
    if not math.isclose(sum(scores), 0, abs_tol=_TOLERANCE):
        raise fields.error(
            "score_1", f"the scores {scores[0]:g} and {scores[1]:g} do not have the sum 0"
        )
    verdict, strength = read_signed_preference(fields, "score_1", limit=1)
    question, metadata = _question(fields)
    interaction = make_interaction(
        question,
        [
            Response(
                id=str(i),
                text=fields.text(f"answer_{i}"),
                metadata={"quotes": fields.data[name]} if (name := f"quotes_{i}") in fields else {},
            )
            for i in range(2)
        ],
        metadata=metadata | fields.other_fields(_COLUMNS),
    )
    return [
        make_case(interaction, [make_preference(interaction, HUMAN, verdict, strength=strength)])
    ]


def _question(fields: Fields) -> tuple[str, dict[str, object]]:
    """Return the question, which is a text or an object with its source, and its metadata."""
    if isinstance(fields.data.get("question"), str):
        return fields.text("question"), {}
    question = fields.object("question")
    return question.text("full_text"), {
        f"question_{name}": value for name, value in question.select("dataset", "id").items()
    }

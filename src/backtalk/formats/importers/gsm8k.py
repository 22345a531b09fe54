"""GSM8K (grade school math): model solutions, each correct or not."""

from __future__ import annotations

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import AnyFeedback, Demonstration, Outcome
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format

_ANSWER_KEY = Annotator.verifier("gsm8k-answer")


def _is_solution(value: object) -> bool:
    return isinstance(value, dict) and {"solution", "is_correct"} <= set(value)


def _matches(row: RowData) -> bool:
    return {"question", "ground_truth"} <= set(row) and any(map(_is_solution, row.values()))


@import_format(
    "gsm8k-solutions",
    title="GSM8K example model solutions",
    source="https://github.com/openai/grade-school-math",
    matches=_matches,
    columns=("question", "ground_truth"),
)
def gsm8k_solutions(row: RowData) -> list[Case]:
    """Parse a response and an outcome for each model, and the reference solution."""
    fields = Fields(row)
    solutions = {name: fields.object(name) for name, value in row.items() if _is_solution(value)}
    if not solutions:
        raise RecordError("there is no solution, a field with solution and is_correct")
    interaction = make_interaction(
        fields.text("question"),
        [
            Response(id=name, text=solution.text("solution"), model=name)
            for name, solution in solutions.items()
        ],
        metadata=fields.other_fields(("question", "ground_truth", *solutions)),
    )
    feedback: list[AnyFeedback] = [
        make_feedback(
            Outcome, interaction, _ANSWER_KEY, response=name, passed=solution.boolean("is_correct")
        )
        for name, solution in solutions.items()
    ]
    if truth := fields.optional_text("ground_truth"):
        feedback.append(make_feedback(Demonstration, interaction, HUMAN, text=truth))
    return [make_case(interaction, feedback)]

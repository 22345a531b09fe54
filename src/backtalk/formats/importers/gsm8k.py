"""Grade School Math: model solutions with whether the answer is correct."""

from __future__ import annotations

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.signals import Outcome
from backtalk.feedback.views import Case
from backtalk.feedback.words import Demonstration
from backtalk.formats.content_ids import HUMAN, case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format

_ANSWER_KEY = Annotator.verifier("gsm8k-answer")


def _is_solution(value: object) -> bool:
    return isinstance(value, dict) and {"solution", "is_correct"} <= set(value)


def _looks_like(row: Data) -> bool:
    return {"question", "ground_truth"} <= set(row) and any(map(_is_solution, row.values()))


@import_format(
    "gsm8k-solutions",
    title="GSM8K example model solutions",
    source="https://github.com/openai/grade-school-math",
    looks_like=_looks_like,
)
def gsm8k_solutions(row: Data) -> list[Case]:
    """A response for each model, an outcome for each response, and the person's solution."""
    fields = Fields(row)
    solutions = {name: fields.part(name) for name, value in row.items() if _is_solution(value)}
    if not solutions:
        raise RecordError("there is no solution: a field with solution and is_correct")
    interaction = make_interaction(
        fields.text("question"),
        [
            Response(id=name, text=solution.text("solution"), model=name)
            for name, solution in solutions.items()
        ],
        metadata=fields.rest(("question", "ground_truth", *solutions)),
    )
    said: list[AnyFeedback] = [
        feedback(
            Outcome, interaction, _ANSWER_KEY, response=name, passed=solution.flag("is_correct")
        )
        for name, solution in solutions.items()
    ]
    if truth := fields.words("ground_truth"):
        said.append(feedback(Demonstration, interaction, HUMAN, text=truth))
    return [case(interaction, said)]

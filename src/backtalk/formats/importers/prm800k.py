"""PRM800K: solutions with steps checked by people, and alternatives for each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import AnyFeedback, Demonstration, Rating, Scale, Steps, StepVerdict
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.trl import SEPARATOR, steps_with_offsets

_VERDICTS: dict[int, StepVerdict] = {1: "right", 0: "neutral", -1: "wrong"}
_VERIFIER = Annotator.model("prm800k-verifier")
_QUESTION_METADATA = ("ground_truth_answer", "pre_generated_answer")
_LABEL_METADATA = ("finish_reason", "total_time")
_ROW_METADATA = ("generation", "is_quality_control_question", "is_initial_screening_question")


@dataclass(frozen=True)
class _CandidateStep:
    text: str
    verdict: StepVerdict | None
    flagged: bool = False
    by_labeler: bool = False


@dataclass(frozen=True)
class _Solution:
    id: str
    path: tuple[_CandidateStep, ...]

    def response(self) -> Response:
        marks = {
            "flagged_steps": [i for i, step in enumerate(self.path) if step.flagged],
            "labeler_steps": [i for i, step in enumerate(self.path) if step.by_labeler],
        }
        metadata: dict[str, Any] = {name: mark for name, mark in marks.items() if mark}
        return Response(id=self.id, text=self.text, metadata=metadata)

    @property
    def text(self) -> str:
        return SEPARATOR.join(step.text for step in self.path)


@import_format(
    "prm800k",
    title="PRM800K checked steps",
    source="https://github.com/openai/prm800k",
    matches=lambda row: "question" in row and "steps" in (_as_dict(row.get("label"))),
    columns=("question", "label", "labeler", *_ROW_METADATA),
)
def prm800k(row: RowData) -> list[Case]:
    """Parse a response with checked steps for the chosen path, and one for each alternative.

    The chosen path has the id ``"chosen"`` and exists if it reaches the last step. An alternative,
    such as ``"2.1"``, is completion 1 of step 2, preceded by the chosen path up to step 2. A step
    without a rating has no verdict. A step written by a labeler counts as right; a finished
    solution with such a step is a demonstration too.
    """
    fields = Fields(row)
    question, label = fields.object("question"), fields.object("label")
    labeler = Annotator.human(fields.optional_text("labeler") or "unknown")
    solutions = _solutions(label)
    responses = [solution.response() for solution in solutions]
    generated = _add_generated(question, responses)
    interaction = make_interaction(
        question.text("problem"),
        responses,
        distinct=[labeler.id, str(row.get("timestamp", ""))],
        time=fields.timestamp("timestamp"),
        metadata={
            **question.select(*_QUESTION_METADATA),
            **label.select(*_LABEL_METADATA),
            **fields.select(*_ROW_METADATA),
        },
    )
    feedback: list[AnyFeedback] = []
    for solution in solutions:
        if solution.id != "chosen" and solution.path[-1].verdict is None:
            continue
        texts = [step.text for step in solution.path]
        if steps := steps_with_offsets(texts, [step.verdict for step in solution.path]):
            feedback.append(
                make_feedback(
                    Steps,
                    interaction,
                    labeler,
                    time=interaction.time,
                    response=solution.id,
                    steps=steps,
                )
            )
        finished = label.optional_text("finish_reason") == "solution" and solution.id == "chosen"
        if finished and any(step.by_labeler for step in solution.path):
            feedback.append(
                make_feedback(
                    Demonstration, interaction, labeler, time=interaction.time, text=solution.text
                )
            )
    score = question.optional_number("pre_generated_verifier_score")
    if generated is not None and score is not None:
        feedback.append(
            make_feedback(
                Rating, interaction, _VERIFIER, response=generated, value=score, scale=Scale.UNIT
            )
        )
    if truth := question.optional_text("ground_truth_solution"):
        feedback.append(make_feedback(Demonstration, interaction, HUMAN, text=truth))
    return [make_case(interaction, feedback)]


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _solutions(label: Fields) -> list[_Solution]:
    path: tuple[_CandidateStep, ...] = ()
    solutions = []
    for i, step in enumerate(label.objects("steps")):
        candidates = [_candidate(completion) for completion in step.objects("completions")]
        chosen = step.integer("chosen_completion") if "chosen_completion" in step else None
        if chosen is not None and not 0 <= chosen < len(candidates):
            raise step.error("chosen_completion", f"there is no completion {chosen}")
        solutions += [
            _Solution(f"{i}.{j}", (*path, candidate))
            for j, candidate in enumerate(candidates)
            if j != chosen
        ]
        if chosen is not None:
            path = (*path, candidates[chosen])
        elif "human_completion" in step:
            path = (*path, _by_labeler(step))
        else:
            return solutions
    return [*solutions, _Solution("chosen", path)] if path else solutions


def _candidate(completion: Fields) -> _CandidateStep:
    verdict = _verdict(completion, "rating")
    return _CandidateStep(
        completion.text("text"), verdict, flagged=bool(completion.data.get("flagged"))
    )


def _by_labeler(step: Fields) -> _CandidateStep:
    if isinstance(step.data["human_completion"], str):
        return _CandidateStep(step.text("human_completion"), "right", by_labeler=True)
    completion = step.object("human_completion")
    verdict = _verdict(completion, "corrected_rating") or "right"
    return _CandidateStep(completion.text("text"), verdict, by_labeler=True)


def _verdict(completion: Fields, name: str) -> StepVerdict | None:
    if name not in completion:
        return None
    rating = completion.integer(name)
    if rating not in _VERDICTS:
        raise completion.error(name, f"expected -1, 0 or 1, got {rating}")
    return _VERDICTS[rating]


def _add_generated(question: Fields, responses: list[Response]) -> str | None:
    """Add the generated solution to the responses if it is not among them, and return its id."""
    if "pre_generated_steps" not in question:
        return None
    text = SEPARATOR.join(map(str, question.array("pre_generated_steps")))
    for response in responses:
        if response.text == text:
            return response.id
    responses.append(Response(id="generated", text=text))
    return "generated"

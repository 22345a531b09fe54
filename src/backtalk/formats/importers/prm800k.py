"""PRM800K: solutions whose steps people checked, with the alternatives at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Response
from backtalk.feedback.judgements import Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.parts import Steps, StepVerdict
from backtalk.feedback.views import Case
from backtalk.feedback.words import Demonstration
from backtalk.formats.content_ids import HUMAN, case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format
from backtalk.formats.importers.trl import SEPARATOR, laid_out

_VERDICTS: dict[int, StepVerdict] = {1: "right", 0: "neutral", -1: "wrong"}
_VERIFIER = Annotator.model("prm800k-verifier")
_ABOUT_QUESTION = ("ground_truth_answer", "pre_generated_answer")
_ABOUT_LABEL = ("finish_reason", "total_time")
_ABOUT_ROW = ("generation", "is_quality_control_question", "is_initial_screening_question")


@dataclass(frozen=True)
class _Step:
    text: str
    verdict: StepVerdict | None
    flagged: bool = False
    by_labeler: bool = False


@dataclass(frozen=True)
class _Solution:
    id: str
    path: tuple[_Step, ...]

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
    looks_like=lambda row: "question" in row and "steps" in (_mapping(row.get("label"))),
)
def prm800k(row: Data) -> list[Case]:
    """A response with checked steps for the path taken, and one for each alternative.

    The path taken, ``"chosen"``, is there where it reaches the last step. An alternative, such as
    ``"2.1"``, is completion 1 of step 2, after the path taken as far as that; its steps are those
    of the path and its own. A step that was not rated has no verdict. What a labeler wrote counts
    as right; where the solution is finished with it, the whole is a demonstration too.
    """
    fields = Fields(row)
    question, label = fields.part("question"), fields.part("label")
    labeler = Annotator.human(fields.words("labeler") or "unknown")
    solutions = _solutions(label)
    responses = [solution.response() for solution in solutions]
    scored = _generated(question, responses)
    interaction = make_interaction(
        question.text("problem"),
        responses,
        distinct=[labeler.id, str(row.get("timestamp", ""))],
        time=fields.timestamp("timestamp"),
        metadata={
            **question.some(*_ABOUT_QUESTION),
            **label.some(*_ABOUT_LABEL),
            **fields.some(*_ABOUT_ROW),
        },
    )
    said: list[AnyFeedback] = []
    for solution in solutions:
        if solution.id != "chosen" and solution.path[-1].verdict is None:
            continue
        texts = [step.text for step in solution.path]
        if steps := laid_out(texts, [step.verdict for step in solution.path]):
            said.append(
                feedback(
                    Steps,
                    interaction,
                    labeler,
                    time=interaction.time,
                    response=solution.id,
                    steps=steps,
                )
            )
        finished = label.words("finish_reason") == "solution" and solution.id == "chosen"
        if finished and any(step.by_labeler for step in solution.path):
            said.append(
                feedback(
                    Demonstration, interaction, labeler, time=interaction.time, text=solution.text
                )
            )
    score = question.maybe_number("pre_generated_verifier_score")
    if scored is not None and score is not None:
        said.append(
            feedback(Rating, interaction, _VERIFIER, response=scored, value=score, scale=Scale.UNIT)
        )
    if truth := question.words("ground_truth_solution"):
        said.append(feedback(Demonstration, interaction, HUMAN, text=truth))
    return [case(interaction, said)]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _solutions(label: Fields) -> list[_Solution]:
    path: tuple[_Step, ...] = ()
    results = []
    for i, step in enumerate(label.parts("steps")):
        candidates = [_candidate(each) for each in step.parts("completions")]
        taken = step.integer("chosen_completion") if "chosen_completion" in step else None
        if taken is not None and not 0 <= taken < len(candidates):
            raise step.error("chosen_completion", f"there is no completion {taken}")
        results += [
            _Solution(f"{i}.{j}", (*path, candidate))
            for j, candidate in enumerate(candidates)
            if j != taken
        ]
        if taken is not None:
            path = (*path, candidates[taken])
        elif "human_completion" in step:
            path = (*path, _by_labeler(step))
        else:
            return results
    return [*results, _Solution("chosen", path)] if path else results


def _candidate(completion: Fields) -> _Step:
    verdict = _verdict(completion, "rating")
    return _Step(completion.text("text"), verdict, flagged=bool(completion.data.get("flagged")))


def _by_labeler(step: Fields) -> _Step:
    if isinstance(step.data["human_completion"], str):
        return _Step(step.text("human_completion"), "right", by_labeler=True)
    completion = step.part("human_completion")
    verdict = _verdict(completion, "corrected_rating") or "right"
    return _Step(completion.text("text"), verdict, by_labeler=True)


def _verdict(completion: Fields, name: str) -> StepVerdict | None:
    if name not in completion:
        return None
    rating = completion.integer(name)
    if rating not in _VERDICTS:
        raise completion.error(name, f"expected -1, 0 or 1, got {rating}")
    return _VERDICTS[rating]


def _generated(question: Fields, responses: list[Response]) -> str | None:
    """Add the solution that was to be checked, where it is not among the responses already."""
    if "pre_generated_steps" not in question:
        return None
    text = SEPARATOR.join(map(str, question.items("pre_generated_steps")))
    for response in responses:
        if response.text == text:
            return response.id
    responses.append(Response(id="generated", text=text))
    return "generated"

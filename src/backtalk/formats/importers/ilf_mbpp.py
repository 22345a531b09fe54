"""Imitation learning from language feedback (ILF) on MBPP: a critique, a repair, its tests."""

from __future__ import annotations

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Edit, Outcome
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format

_TESTS = Annotator.verifier("mbpp-tests")


@import_format(
    "ilf-mbpp",
    title="Written feedback on MBPP programs, with repairs",
    source="https://github.com/nyu-mll/ILF-for-code-generation",
    matches=lambda row: {"prompt", "Feedback", "original_model_completion"} <= set(row),
    columns=(
        "prompt",
        "Feedback",
        "completion",
        "passed",
        "original_model_completion",
        "unedited_annotator_completion",
        "worker_id",
    ),
)
def ilf_mbpp(row: RowData) -> list[Case]:
    """Parse a model's program, a critique of it, and the repair as an edit and as a response.

    Both programs are stored without the prompt. If the annotator changed lines of the prompt, such
    as an import, the repair is stored in full. ``completion``, the part of the repair that was
    run, is metadata.
    """
    fields = Fields(row)
    prompt = fields.text("prompt")
    original = fields.text("original_model_completion").removeprefix(prompt)
    repair = fields.optional_text("unedited_annotator_completion") or fields.optional_text(
        "completion"
    )
    responses = [Response(id="original", text=original)]
    if repair is not None:
        repair = _without_prompt(prompt, repair)
        responses.append(Response(id="repair", text=repair, metadata=fields.select("completion")))
    interaction = make_interaction(
        prompt,
        responses,
        distinct=[str(row.get("task_id", ""))],
        metadata=fields.select("task_id", "test", "refinement_edit_distance"),
    )
    author = Annotator.human(fields.optional_text("worker_id") or "unknown")
    feedback: list[AnyFeedback] = []
    if critique := fields.optional_text("Feedback"):
        feedback.append(
            make_feedback(Critique, interaction, author, response="original", text=critique)
        )
    if repair is not None:
        feedback.append(make_feedback(Edit, interaction, author, response="original", text=repair))
        if "passed" in fields:
            passed = fields.boolean("passed")
            text = fields.optional_text("result") or ""
            feedback.append(
                make_feedback(
                    Outcome, interaction, _TESTS, response="repair", passed=passed, text=text
                )
            )
    return [make_case(interaction, feedback)]


def _without_prompt(prompt: str, program: str) -> str:
    """Return a program without the prompt; the whole program if the prompt was changed."""
    if program.startswith(prompt):
        return program[len(prompt) :]
    *_, last = prompt.rstrip().splitlines()
    head, separator, body = program.partition(f"{last}\n")
    if separator and (head + last).split() == prompt.split():
        return body
    return program

"""Imitation learning from language feedback on programs: a critique, a repair, its tests."""

from __future__ import annotations

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.signals import Outcome
from backtalk.feedback.views import Case
from backtalk.feedback.words import Critique, Edit
from backtalk.formats.content_ids import case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format

_TESTS = Annotator.verifier("mbpp-tests")


@import_format(
    "ilf-mbpp",
    title="Written feedback on MBPP programs, with repairs",
    source="https://github.com/nyu-mll/ILF-for-code-generation",
    looks_like=lambda row: {"prompt", "Feedback", "original_model_completion"} <= set(row),
)
def ilf_mbpp(row: Data) -> list[Case]:
    """The model's program, a critique of it, the person's repair as an edit and as a response.

    Both programs are what follows the prompt. A person who changed the prompt's own lines, an
    import say, wrote a program that stands by itself; it is kept whole. ``completion``, what was
    run of the repair, is its metadata.
    """
    fields = Fields(row)
    prompt = fields.text("prompt")
    original = fields.text("original_model_completion").removeprefix(prompt)
    repair = fields.words("unedited_annotator_completion") or fields.words("completion")
    responses = [Response(id="original", text=original)]
    if repair is not None:
        repair = _after(prompt, repair)
        responses.append(Response(id="repair", text=repair, metadata=fields.some("completion")))
    interaction = make_interaction(
        prompt,
        responses,
        distinct=[str(row.get("task_id", ""))],
        metadata=fields.some("task_id", "test", "refinement_edit_distance"),
    )
    author = Annotator.human(fields.words("worker_id") or "unknown")
    said: list[AnyFeedback] = []
    if critique := fields.words("Feedback"):
        said.append(feedback(Critique, interaction, author, response="original", text=critique))
    if repair is not None:
        said.append(feedback(Edit, interaction, author, response="original", text=repair))
        if "passed" in fields:
            passed = fields.flag("passed")
            text = fields.words("result") or ""
            said.append(
                feedback(Outcome, interaction, _TESTS, response="repair", passed=passed, text=text)
            )
    return [case(interaction, said)]


def _after(prompt: str, program: str) -> str:
    """Return what follows the prompt in a program; all of it where the prompt was changed."""
    if program.startswith(prompt):
        return program[len(prompt) :]
    *_, last = prompt.rstrip().splitlines()
    head, result, body = program.partition(f"{last}\n")
    if result and (head + last).split() == prompt.split():
        return body
    return program

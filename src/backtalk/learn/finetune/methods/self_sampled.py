"""Learning from several solutions of a problem: right ones, and the right beginnings of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import LabelView, SFTExample, StepLabels
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Fraction
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import MAX_RESPONSES, drop_none
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

_VERIFIED_KINDS = ("label", "outcome", "steps")


@dataclass(frozen=True)
class Solution:
    """A right solution, or the right beginning of a solution."""

    text: str
    whole: bool


@training_method(
    "self-sampled",
    needs=[LabelView],
    alternatives=[SFTExample, StepLabels],
    requires=[
        FeedbackRequirement(
            "right answers, or answers with a right beginning (outcome, steps, label, "
            "demonstration or edit)",
            lambda feedback: bool(solutions(feedback, partial=True)),
        )
    ],
    objective="beta-mml",
)
async def self_sampled(
    context: MethodContext,
    *,
    beta: Fraction = 0.0,
    partial: bool = True,
) -> BuildTasks:
    """Imitate all right solutions, and wrong solutions up to their first wrong step.

    Outcomes, steps and labels say which of the sampled solutions are right; demonstrations and
    edits are right too. Each solution is learned once. Of a solution with a wrong step, the steps
    before it are learned, without an end-of-sequence token; Ni et al. (2023). The paper finds right
    partial solutions by execution; here step labels do.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.0
        Exponent of the marginal likelihood ``beta-mml``; 0 for the likelihood of every solution.
    partial : bool, default True
        If true, learn right beginnings of wrong solutions.
    """
    goal = get_objective("beta-mml").bind(beta=beta) if beta else get_objective("sft").bind()
    results = solutions(context.feedback, partial=partial)

    def build(encoder: Encoder) -> list[TrainingTask]:
        trees = (
            encoder.tree(
                prompt,
                [
                    ResponseText(solution.text, label=True, is_complete=solution.whole)
                    for solution in some
                ],
            )
            for prompt, group in results
            for some in _fitting_groups(encoder, prompt, group)
        )
        return [TrainingTask("solutions", goal, drop_none(trees))]

    return build


def _fitting_groups(
    encoder: Encoder, prompt: Prompt, group: Sequence[Solution]
) -> Iterator[Sequence[Solution]]:
    """Yield solutions that have tokens and are not too long, in groups of the size of a tree."""
    fit = [solution for solution in group if not encoder.leaves_out(prompt, [solution.text])]
    for start in range(0, len(fit), MAX_RESPONSES):
        yield fit[start : start + MAX_RESPONSES]


def solutions(feedback: TrainingSet, *, partial: bool) -> list[tuple[Prompt, list[Solution]]]:
    """Return the distinct right solutions and right beginnings of each prompt.

    Solutions are equal if they differ in whitespace only. A solution that an annotator found wrong
    is not right. A beginning of another solution is not returned again.
    """
    prompts: dict[str, Prompt] = {}
    whole: dict[str, dict[str, str]] = defaultdict(dict)
    wrong: dict[str, set[str]] = defaultdict(set)
    beginnings: dict[str, dict[str, str]] = defaultdict(dict)
    by_kind = feedback.by_kind(LabelView)
    for label in (view for kind in _VERIFIED_KINDS for view in by_kind.get(kind, [])):
        key = prompt_key(label.prompt)
        prompts.setdefault(key, label.prompt)
        if label.good:
            whole[key].setdefault(_normalise(label.completion), label.completion)
        else:
            wrong[key].add(_normalise(label.completion))
    for example in feedback.views(SFTExample):
        key = prompt_key(example.prompt)
        prompts.setdefault(key, example.prompt)
        whole[key].setdefault(_normalise(example.completion), example.completion)
    for checked in feedback.views(StepLabels) if partial else []:
        beginning = right_beginning(checked)
        if beginning:
            key = prompt_key(checked.prompt)
            prompts.setdefault(key, checked.prompt)
            beginnings[key].setdefault(_normalise(beginning), beginning)
    results = []
    for key, prompt in prompts.items():
        right = {
            key_text: text for key_text, text in whole[key].items() if key_text not in wrong[key]
        }
        right_solutions = [Solution(text, True) for text in right.values()]
        for key_text, text in beginnings[key].items():
            longer = [*right, *(other for other in beginnings[key] if other != key_text)]
            if not any(other.startswith(key_text) for other in longer):
                right_solutions.append(Solution(text, False))
        if right_solutions:
            results.append((prompt, right_solutions))
    return results


def right_beginning(checked: StepLabels) -> str:
    """Return the text before the first wrong step; empty if there is no wrong step or no text."""
    end = 0
    for step in checked.steps:
        if step.verdict == "wrong":
            return checked.completion[:end].rstrip()
        end = step.end
    return ""


def _normalise(text: str) -> str:
    return " ".join(text.split())

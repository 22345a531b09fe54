"""Learning from several solutions of a problem: right ones, and ones right up to some step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import LabelView, SFTExample, StepLabels
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import MOST_RESPONSES, kept
from backtalk.learn.training_set import TrainingSet

_CHECKED = ("label", "outcome", "steps")


@dataclass(frozen=True)
class Solution:
    """A right solution, or the beginning of one."""

    text: str
    whole: bool


@training_method("self-sampled", needs=[LabelView], paper=find_objective("beta-mml").paper)
async def self_sampled(
    work: MethodContext,
    *,
    beta: Annotated[float, Field(ge=0, le=1)] = 0.0,
    partial: bool = True,
) -> BuildTasks:
    """Self-sampled solutions: all right ones are imitated, and wrong ones up to where they err.

    What was checked (outcomes, steps, labels) says which of the sampled solutions are right;
    demonstrations and edits are right ones too. Each is learned once. Of a solution with a wrong
    step the steps before it are learned, without an end; Ni et al. (2023). The paper
    finds by execution which partial solutions are right; here the checked steps say so.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    beta : float, default 0.0
        0 for the likelihood of every solution; else that of the marginal likelihood ``beta-mml``.
    partial : bool, default True
        Whether beginnings of solutions are learned.
    """
    goal = find_objective("beta-mml").bind(beta=beta) if beta else find_objective("sft").bind()
    results = solutions(work.feedback, partial=partial)

    def make(encoder: Encoder) -> list[TrainingTask]:
        trees = (
            encoder.tree(prompt, [Text(one.text, 1.0, ends=one.whole) for one in some])
            for prompt, own in results
            for some in _fitting(encoder, prompt, own)
        )
        return [TrainingTask("solutions", goal, kept(trees))]

    return make


def _fitting(
    encoder: Encoder, prompt: Chat, own: Sequence[Solution]
) -> Iterator[Sequence[Solution]]:
    """Yield solutions that are not too long, a tree's worth at a time."""
    fit = [one for one in own if encoder.tree(prompt, [Text(one.text)]) is not None]
    for start in range(0, len(fit), MOST_RESPONSES):
        yield fit[start : start + MOST_RESPONSES]


def solutions(feedback: TrainingSet, *, partial: bool) -> list[tuple[Chat, list[Solution]]]:
    """Return the distinct solutions of each prompt that are right as far as they go.

    Solutions are the same if they differ in white space only. What somebody found wrong is not
    right, whoever else found so, and a beginning of another solution is not learned twice.
    """
    prompts: dict[str, Chat] = {}
    whole: dict[str, dict[str, str]] = defaultdict(dict)
    wrong: dict[str, set[str]] = defaultdict(set)
    begun: dict[str, dict[str, str]] = defaultdict(dict)
    by_kind = feedback.by_kind(LabelView)
    for label in (one for kind in _CHECKED for one in by_kind.get(kind, [])):
        key = prompt_key(label.prompt)
        prompts.setdefault(key, label.prompt)
        if label.good:
            whole[key].setdefault(_plain(label.completion), label.completion)
        else:
            wrong[key].add(_plain(label.completion))
    for example in feedback.views(SFTExample):
        key = prompt_key(example.prompt)
        prompts.setdefault(key, example.prompt)
        whole[key].setdefault(_plain(example.completion), example.completion)
    for checked in feedback.views(StepLabels) if partial else []:
        beginning = right_beginning(checked)
        if beginning:
            key = prompt_key(checked.prompt)
            prompts.setdefault(key, checked.prompt)
            begun[key].setdefault(_plain(beginning), beginning)
    results = []
    for key, prompt in prompts.items():
        right = {plain: text for plain, text in whole[key].items() if plain not in wrong[key]}
        own = [Solution(text, True) for text in right.values()]
        for plain, text in begun[key].items():
            longer = [*right, *(other for other in begun[key] if other != plain)]
            if not any(other.startswith(plain) for other in longer):
                own.append(Solution(text, False))
        if own:
            results.append((prompt, own))
    return results


def right_beginning(checked: StepLabels) -> str:
    """Return the text up to the first step that is wrong; empty where there is none, or no text."""
    before = 0
    for step in checked.steps:
        if step.verdict == "wrong":
            return checked.completion[:before].rstrip()
        before = step.end
    return ""


def _plain(text: str) -> str:
    return " ".join(text.split())

"""Methods that learn from responses worth imitating."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, get_type_hints

from pydantic import Field

from backtalk.feedback.views import SFTExample
from backtalk.learn.context import Count
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import (
    MethodContext,
    register_objective_method,
    training_method,
)
from backtalk.learn.finetune.tree_builders import example_trees, kept
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import Paper
from backtalk.models import Sampling

Factor = Annotated[float, Field(ge=0)]

THOUGHTS = Paper(
    "Thought cloning: learning to think while acting by imitating human thinking",
    "Hu and Clune",
    2023,
    "https://arxiv.org/abs/2306.00323",
)

register_objective_method("sft", SFTExample, example_trees)


def _discriminative(name: str) -> None:
    """Register the method that trains by one of the objectives of discriminative fine-tuning."""
    goal = find_objective(name)

    async def plan(work: MethodContext, *, samples: int, **options: Any) -> BuildTasks:
        bound = goal.bind(**options)
        by_kind = work.feedback.by_kind(SFTExample)
        # The proposal of the objective is the policy itself, at temperature 1 and whole.
        default = work.policy.decoder.sampling
        sampling = Sampling(max_tokens=default.max_tokens, stop=default.stop)
        drawn = {
            kind: await work.sample([one.prompt for one in own], samples, sampling=sampling)
            for kind, own in by_kind.items()
        }

        def make(encoder: Encoder) -> list[TrainingTask]:
            return [
                TrainingTask(kind, bound, contrasted(encoder, own, drawn[kind]))
                for kind, own in by_kind.items()
            ]

        return make

    training_method(
        name,
        needs=[SFTExample],
        paper=goal.paper,
        options={"samples": 2, **goal.options},
        types={"samples": Count, **get_type_hints(goal.function, include_extras=True)},
        summary=goal.summary,
    )(plan)


def contrasted(
    encoder: Encoder, examples: Sequence[SFTExample], samples: Sequence[Sequence[str]]
) -> list[PromptTree]:
    """Return trees of an example, of value 1, and samples for the same prompt, of value 0.

    A sample that is the example itself is no rival of it; an example without any other is left out
    and counted.
    """
    results: list[PromptTree | None] = []
    for one, own in zip(examples, samples, strict=True):
        others = [text for text in own if text.strip() not in {"", one.completion.strip()}]
        if not others:
            encoder.left_out["examples without a sample that differs"] += 1
            continue
        texts = [Text(one.completion, 1.0), *(Text(text, 0.0) for text in others)]
        results.append(encoder.tree(one.prompt, texts, weight=one.weight))
    return kept(results)


for _name in ("dft", "dft2"):
    _discriminative(_name)


@training_method("thought-cloning", needs=[SFTExample], paper=THOUGHTS)
async def thought_cloning(
    work: MethodContext, *, alpha: Factor = 1.0, opens: str = "<think>", closes: str = "</think>"
) -> BuildTasks:
    """Thought Cloning: the thoughts in demonstrations are imitated, and what was done after them.

    ``alpha L_thought + L_action``, a mean over tokens; Hu and Clune (2023), equation 1. Examples in
    which nobody thinks aloud are left out.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    alpha : Factor, default 1.0
        How much a token of a thought counts against one of an action.
    opens, closes
        What stands before and behind a thought.
    """
    goal = find_objective("sft").bind()
    by_kind = work.feedback.by_kind(SFTExample)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(kind, goal, thought_trees(encoder, own, alpha, opens, closes))
            for kind, own in by_kind.items()
        ]

    return make


def thought_trees(
    encoder: Encoder, examples: Sequence[SFTExample], alpha: float, opens: str, closes: str
) -> list[PromptTree]:
    """Return trees of the examples with thoughts, whose tokens have the weight alpha."""
    thought = re.compile(re.escape(opens) + ".*?" + re.escape(closes), re.DOTALL)
    results: list[PromptTree | None] = []
    for one in examples:
        stretches = tuple(
            (match.start(), match.end(), alpha) for match in thought.finditer(one.completion)
        )
        if not stretches:
            encoder.left_out[f"examples without a thought between {opens} and {closes}"] += 1
            continue
        text = Text(one.completion, 1.0, weights=stretches)
        results.append(encoder.tree(one.prompt, [text], weight=one.weight))
    return kept(results)

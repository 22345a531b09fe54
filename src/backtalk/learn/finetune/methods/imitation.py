"""Methods that learn from demonstrations and other examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, NonNegative
from backtalk.learn.finetune.registration import register_objective_method, training_method
from backtalk.learn.finetune.tree_builders import drop_none, example_trees
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import Paper
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.models import Sampling

THOUGHTS = Paper(
    "Thought cloning: learning to think while acting by imitating human thinking",
    "Hu and Clune",
    2023,
    "https://arxiv.org/abs/2306.00323",
)

register_objective_method("sft", SFTExample, example_trees)


def _register_discriminative(name: str) -> None:
    """Register the method that trains by an objective of discriminative fine-tuning."""
    goal = get_objective(name)

    async def plan(context: MethodContext, *, samples: Count = 2, **options: Any) -> BuildTasks:
        bound = goal.bind(**options)
        by_kind = context.feedback.by_kind(SFTExample)
        # The proposal of the objective is the policy itself, at temperature 1 and whole.
        decoder_sampling = context.policy.decoder.base_sampling
        sampling = Sampling(
            temperature=1.0,
            top_p=1.0,
            max_tokens=decoder_sampling.max_tokens,
            stop=decoder_sampling.stop,
        )
        samples_by_kind = {
            kind: await context.sample(
                [item.prompt for item in examples], samples, sampling=sampling
            )
            for kind, examples in by_kind.items()
        }

        def build(encoder: Encoder) -> list[TrainingTask]:
            return [
                TrainingTask(kind, bound, contrast_trees(encoder, examples, samples_by_kind[kind]))
                for kind, examples in by_kind.items()
            ]

        return build

    training_method(
        name,
        needs=[SFTExample],
        objective=name,
        meanings={"samples": "Number of samples for each prompt."},
    )(plan)


def answer_trees(encoder: Encoder, answers: Iterable[tuple[Prompt, str]]) -> list[PromptTree]:
    """Return a tree of each prompt with a response to imitate."""
    return drop_none(
        encoder.tree(prompt, [ResponseText(text, label=True)]) for prompt, text in answers
    )


def contrast_trees(
    encoder: Encoder, examples: Sequence[SFTExample], samples: Sequence[Sequence[str]]
) -> list[PromptTree]:
    """Return trees of an example and samples for the same prompt.

    Samples that equal the example are dropped. Examples without any other sample are left out and
    counted.

    Parameters
    ----------
    encoder : Encoder
        Encoder of the policy.
    examples : sequence of SFTExample
        N examples.
    samples : sequence of sequence of str
        Samples for the prompt of each example.
    """
    results: list[PromptTree | None] = []
    for example, drawn in zip(examples, samples, strict=True):
        others = [text for text in drawn if text.strip() not in {"", example.completion.strip()}]
        if not others:
            encoder.left_out["examples without a sample that differs"] += 1
            continue
        texts = [
            ResponseText(example.completion, is_demonstration=True),
            *(ResponseText(text, is_demonstration=False) for text in others),
        ]
        results.append(encoder.tree(example.prompt, texts, weight=example.weight))
    return drop_none(results)


for _name in ("dft", "dft2"):
    _register_discriminative(_name)


OPENS, CLOSES = "<think>", "</think>"
"""Default delimiters of a thought."""


def has_thoughts(feedback: TrainingSet) -> bool:
    """Return whether an example has a thought between the default delimiters."""
    thought = thought_pattern(OPENS, CLOSES)
    return any(thought.search(example.completion) for example in feedback.views(SFTExample))


@training_method(
    "thought-cloning",
    needs=[SFTExample],
    requires=[
        FeedbackRequirement(
            f"examples with thoughts between {OPENS} and {CLOSES}, or -o opens and -o closes",
            has_thoughts,
            definite=False,
        )
    ],
    objective="sft",
    paper=THOUGHTS,
)
async def thought_cloning(
    context: MethodContext,
    *,
    alpha: NonNegative = 1.0,
    opens: str = OPENS,
    closes: str = CLOSES,
) -> BuildTasks:
    """Imitate the thoughts in demonstrations together with the actions that follow them.

    Thought Cloning, Hu and Clune (2023), equation 1: ``alpha L_thought + L_action``, a mean over
    tokens. Examples without thoughts are left out.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    alpha : float, default 1.0
        Weight of a thought token relative to an action token.
    opens : str, default "<think>"
        Delimiter before a thought.
    closes : str, default "</think>"
        Delimiter after a thought.
    """
    goal = get_objective("sft").bind()
    by_kind = context.feedback.by_kind(SFTExample)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(kind, goal, thought_trees(encoder, examples, alpha, opens, closes))
            for kind, examples in by_kind.items()
        ]

    return build


def thought_pattern(opens: str, closes: str) -> re.Pattern[str]:
    """Return the pattern of a thought between two delimiters."""
    return re.compile(re.escape(opens) + ".*?" + re.escape(closes), re.DOTALL)


def thought_trees(
    encoder: Encoder, examples: Sequence[SFTExample], alpha: float, opens: str, closes: str
) -> list[PromptTree]:
    """Return trees of the examples with thoughts, whose tokens have the weight alpha.

    Parameters
    ----------
    encoder : Encoder
        Encoder of the policy.
    examples : sequence of SFTExample
        Examples; those without thoughts are left out and counted.
    alpha : float
        Weight of a thought token.
    opens : str
        Delimiter before a thought.
    closes : str
        Delimiter after a thought.
    """
    thought = thought_pattern(opens, closes)
    results: list[PromptTree | None] = []
    for example in examples:
        spans = tuple(
            (match.start(), match.end(), alpha) for match in thought.finditer(example.completion)
        )
        if not spans:
            encoder.left_out[f"examples without a thought between {opens} and {closes}"] += 1
            continue
        text = ResponseText(example.completion, label=True, weights=spans)
        results.append(encoder.tree(example.prompt, [text], weight=example.weight))
    return drop_none(results)

"""I-ORPO: a response under its own instruction against the response under a corrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.views import SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, NonNegative
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.segments import segments
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens
from backtalk.learn.lazy_modules import np
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

if TYPE_CHECKING:
    from numpy.random import Generator as Rng


def has_corruptible_prompt(feedback: TrainingSet) -> bool:
    """Return whether the prompt of an example has a part that a part of another can replace."""
    prompts = [example.prompt for example in feedback.views(SFTExample)]
    parts = instruction_parts(prompts)
    rng = np.random.default_rng(0)
    return any(corrupt_prompt(prompt, parts, rng) is not None for prompt in prompts)


@training_method(
    "i-orpo",
    needs=[SFTExample],
    requires=[
        FeedbackRequirement(
            "an example whose prompt has several lines or sentences, and another such prompt",
            has_corruptible_prompt,
        )
    ],
    objective="i-orpo",
)
async def i_orpo(
    context: MethodContext, *, ratio: NonNegative = 0.4, corrupted: Count = 1
) -> BuildTasks:
    """Train on a response under its instruction against the same response under a corrupted one.

    I-ORPO, from Suri, Pham et al. (2024). An instruction is corrupted by a rule: in the last user
    message, a line (or a sentence of a single line) other than the first is replaced by the line at
    the same position of another prompt, or else by any other. In the paper a language model
    rewrites the constraints.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    ratio : float, default 0.4
        Weight of the comparison relative to imitation.
    corrupted : int, default 1
        Number of corrupted instructions for each response.
    """
    examples = context.feedback.by_kind(SFTExample)
    prompts = [example.prompt for views in examples.values() for example in views]
    bound = get_objective("i-orpo").bind(ratio=ratio)

    def build(encoder: Encoder) -> list[TrainingTask]:
        rng = np.random.default_rng([context.run.seed, 12])
        parts = instruction_parts(prompts)
        return [
            TrainingTask(
                kind,
                bound,
                [
                    tree
                    for example in views
                    for _ in range(corrupted)
                    if (tree := _instruction_tree(encoder, example, parts, rng)) is not None
                ],
            )
            for kind, views in examples.items()
        ]

    return build


def instruction_parts(prompts: Sequence[Prompt]) -> list[list[str]]:
    """Return the distinct parts of prompts by position, without the first, the task."""
    results: list[dict[str, None]] = []
    for prompt in prompts:
        for index, part in enumerate(segments(prompt[_last_user_message(prompt)].text)[1:]):
            results += [{}] * (index >= len(results))
            results[index][part.strip()] = None
    return [[*texts] for texts in results]


def corrupt_prompt(prompt: Prompt, parts: Sequence[Sequence[str]], rng: Rng) -> Prompt | None:
    """Return a prompt with one part of another prompt; ``None`` if it has no part to replace.

    Parameters
    ----------
    prompt : Prompt
        Prompt to corrupt.
    parts : sequence of sequence of str
        Parts of all prompts by position; see :func:`instruction_parts`.
    rng : numpy.random.Generator
        Random number generator.
    """
    index = _last_user_message(prompt)
    texts = segments(prompt[index].text)
    if len(texts) < 2:
        return None
    present = {part.strip() for part in texts}
    position = 1 + int(rng.integers(len(texts) - 1))
    others = [part for part in parts[position - 1] if part not in present] or [
        part for group in parts for part in group if part not in present
    ]
    if not others:
        return None
    replacement = others[int(rng.integers(len(others)))]
    text = "".join(
        [
            *texts[:position],
            texts[position].replace(texts[position].strip(), replacement),
            *texts[position + 1 :],
        ]
    )
    return (*prompt[:index], Message.user(text), *prompt[index + 1 :])


def _last_user_message(prompt: Prompt) -> int:
    """Return the index of the last user message, or of the last message if there is none."""
    places = [index for index, message in enumerate(prompt) if message.role == "user"]
    return places[-1] if places else len(prompt) - 1


def _instruction_tree(
    encoder: Encoder, example: SFTExample, parts: Sequence[Sequence[str]], rng: Rng
) -> PromptTree | None:
    corrupted = corrupt_prompt(example.prompt, parts, rng)
    if corrupted is None:
        encoder.left_out["prompts without a part to corrupt"] += 1
        return None
    right = encoder.tree(example.prompt, [ResponseText(example.completion)])
    wrong = encoder.tree(corrupted, [ResponseText(example.completion)])
    if right is None or wrong is None:
        return None
    return two_prompt_tree(right, wrong, weight=example.weight)


def two_prompt_tree(right: PromptTree, wrong: PromptTree, *, weight: float = 1.0) -> PromptTree:
    """Return a tree of one response under two prompts, the first of which is the right one.

    The prompt of the tree is the common prefix of both prompts. The rest of each prompt precedes
    the response with weight 0.

    Parameters
    ----------
    right : PromptTree
        Response under the right prompt.
    wrong : PromptTree
        The same response under the wrong prompt.
    weight : float, default 1.0
        Weight of the tree.
    """
    pairs = zip(right.prompt, wrong.prompt, strict=False)
    prefix_length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def branch(tree: PromptTree) -> ResponseTokens:
        rest, response = tree.prompt[prefix_length:], tree.responses[0].tokens
        return ResponseTokens(
            (*rest, *response), weights=(*(0.0,) * len(rest), *(1.0,) * len(response))
        )

    return PromptTree(
        right.prompt[:prefix_length],
        (branch(right), branch(wrong)),
        weight,
        pairs=(PairLabel(0, 1),),
    )

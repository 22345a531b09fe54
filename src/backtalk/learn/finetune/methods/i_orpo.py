"""I-ORPO: a response under its own instruction, against the same under one with a wrong part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated

import numpy as np
from pydantic import Field

from backtalk.feedback.interaction import Message
from backtalk.feedback.views import SFTExample
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.segments import segments
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens

Rng = np.random.Generator
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]


@training_method("i-orpo", needs=[SFTExample], paper=find_objective("i-orpo").paper)
async def i_orpo(work: MethodContext, *, ratio: Weight = 0.4, corrupted: Count = 1) -> BuildTasks:
    """Learn that a response belongs to its instruction, and not to one that asks for other things.

    Suri's view. An instruction is corrupted by a rule: of the last thing that the user said, one
    line (or sentence, where there is one line only) that is not the first gives way to one that
    stands in the same place of another prompt, or else to any other. The paper has a language
    model rewrite the constraints.

    Parameters
    ----------
    work : MethodContext
        Whose examples are learned from.
    ratio : Weight, default 0.4
        How much the comparison counts against imitation.
    corrupted : Count, default 1
        How many corrupted instructions each response is compared under.
    """
    examples = work.feedback.by_kind(SFTExample)
    prompts = [one.prompt for own in examples.values() for one in own]
    bound = find_objective("i-orpo").bind(ratio=ratio)

    def make(encoder: Encoder) -> list[TrainingTask]:
        rng = np.random.default_rng([work.run.seed, 12])
        parts = instruction_parts(prompts)
        return [
            TrainingTask(
                kind,
                bound,
                [
                    tree
                    for one in own
                    for _ in range(corrupted)
                    if (tree := _tree(encoder, one, parts, rng)) is not None
                ],
            )
            for kind, own in examples.items()
        ]

    return make


def instruction_parts(prompts: Sequence[Chat]) -> list[list[str]]:
    """Return the different parts of prompts by their place; the first, the task, is left out."""
    results: list[dict[str, None]] = []
    for prompt in prompts:
        for index, part in enumerate(segments(prompt[_asked(prompt)].text)[1:]):
            results += [{}] * (index >= len(results))
            results[index][part.strip()] = None
    return [[*own] for own in results]


def corrupt(prompt: Chat, parts: Sequence[Sequence[str]], rng: Rng) -> Chat | None:
    """Return a prompt with one part of another; ``None`` where it has no part to replace.

    Parameters
    ----------
    prompt : Chat
        What was asked.
    parts : Sequence[Sequence[str]]
        What other prompts ask for; see :func:`instruction_parts`.
    chance
        Decides which part gives way to which.
    """
    at = _asked(prompt)
    own = segments(prompt[at].text)
    if len(own) < 2:
        return None
    there = {part.strip() for part in own}
    place = 1 + int(rng.integers(len(own) - 1))
    others = [part for part in parts[place - 1] if part not in there] or [
        part for same in parts for part in same if part not in there
    ]
    if not others:
        return None
    other = others[int(rng.integers(len(others)))]
    text = "".join([*own[:place], own[place].replace(own[place].strip(), other), *own[place + 1 :]])
    return (*prompt[:at], Message.user(text), *prompt[at + 1 :])


def _asked(prompt: Chat) -> int:
    """Return the place of the last message of the user, or of the last one where there is none."""
    places = [index for index, message in enumerate(prompt) if message.role == "user"]
    return places[-1] if places else len(prompt) - 1


def _tree(
    encoder: Encoder, example: SFTExample, parts: Sequence[Sequence[str]], rng: Rng
) -> PromptTree | None:
    other = corrupt(example.prompt, parts, rng)
    if other is None:
        encoder.left_out["prompts without a part to corrupt"] += 1
        return None
    right = encoder.tree(example.prompt, [Text(example.completion)])
    wrong = encoder.tree(other, [Text(example.completion)])
    if right is None or wrong is None:
        return None
    return two_prompts(right, wrong, weight=example.weight)


def two_prompts(right: PromptTree, wrong: PromptTree, *, weight: float = 1.0) -> PromptTree:
    """Return a tree of one response under two prompts, of which the first is the better.

    Its prompt is what the two share at the beginning; the rest of each stands before the response
    and has weight 0.
    """
    both = zip(right.prompt, wrong.prompt, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))

    def branch(tree: PromptTree) -> ResponseTokens:
        rest, said = tree.prompt[same:], tree.branches[0].tokens
        return ResponseTokens((*rest, *said), weights=(*(0.0,) * len(rest), *(1.0,) * len(said)))

    return PromptTree(
        right.prompt[:same],
        (branch(right), branch(wrong)),
        weight,
        pairs=(PairLabel(0, 1),),
    )

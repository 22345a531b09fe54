"""C3PO: a standing instruction learned where it holds, and nothing changed where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from backtalk.feedback import Instruction, as_prompt
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder
from backtalk.learn.finetune.methods.counterfactual import contrasted
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import example_trees, pair_trees
from backtalk.learn.method import Paper
from backtalk.learn.training_set import TrainingSet, in_split

Beta = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]

PAPER = Paper(
    "RLVF: learning from verbal feedback without overgeneralization",
    "Stephan et al.",
    2024,
    "https://arxiv.org/abs/2402.10893",
)


@training_method("c3po", needs=[], paper=PAPER, epochs=10.0)
async def c3po(
    work: MethodContext,
    *,
    beta: Beta = 0.1,
    lambda_out: Weight = 4.0,
    lambda_near: Weight = 4.0,
    samples: Count = 1,
) -> BuildTasks:
    """Learn standing instructions where they hold, and keep all other answers as they are.

    Where an instruction holds, the policy's answer under it is preferred to its answer without
    it, by DPO on the prompt alone; elsewhere its own plain answers are imitated, so that it does
    not change there. Also called RLVF, learning from verbal feedback.

    An instruction holds for the prompts of the interactions it was given on and those that its
    scope names as inside. Prompts that a scope names as outside are near it. All other prompts of
    the store are out of scope; with an instruction for every prompt there are none. Instructions
    for certain users only are left out, as weights answer everybody.

    Parameters
    ----------
    work : MethodContext
        Whose instructions are learned.
    beta : Beta, default 0.1
        How strongly the policy is held near the reference where an instruction holds.
    lambda_out : Weight, default 4.0
        How much the prompts out of scope count together, against those in scope together.
    lambda_near : Weight, default 4.0
        How much the prompts near the scope count. Both have to be well above 1: imitating its own
        answers does nothing to a policy before it has changed.
    samples : Count, default 1
        How many answers are drawn for each prompt.
    """
    rules, personal = standing_rules(work.feedback)
    prompts = scoped(rules, work.feedback.prompts())
    pairs: list[Pair] = []
    for number, rule in enumerate(rules):
        inside = [*rule.inside.values()]
        plain = await work.sample(inside, samples, seed=number)
        ruled = await work.sample(
            inside, samples, policy=append_system(work.policy, rule.text), seed=number
        )
        pairs += contrasted(inside, ruled, plain)
    kept = {
        name: [
            SFTExample(prompt=prompt, completion=text)
            for prompt, texts in zip(own, await work.sample(own, samples), strict=True)
            for text in texts
        ]
        for name, own in (("out of scope", prompts.outside), ("near scope", prompts.near))
    }

    def make(encoder: Encoder) -> list[TrainingTask]:
        if personal:
            encoder.left_out["instructions for certain users"] += personal
        imitate = find_objective("sft").bind()
        inside = pair_trees(encoder, pairs)
        parts = [TrainingTask("in scope", find_objective("dpo").bind(beta=beta), inside)]
        for name, weight in (("out of scope", lambda_out), ("near scope", lambda_near)):
            own = example_trees(encoder, kept[name])
            # Without anything to learn, what is to stay as it is needs no training.
            if own and inside and weight:
                parts.append(TrainingTask(name, imitate, own, weight * len(inside) / len(own)))
        return parts

    return make


@dataclass
class Standing:
    """A standing instruction, with the prompts that are known to be in its scope or near it."""

    text: str
    inside: dict[str, Chat] = field(default_factory=dict)
    outside: dict[str, Chat] = field(default_factory=dict)
    everywhere: bool = False
    """Whether it holds for every prompt."""


@dataclass(frozen=True)
class Scoped:
    """Prompts for which no instruction holds."""

    outside: Sequence[Chat]
    near: Sequence[Chat]


def standing_rules(feedback: TrainingSet) -> tuple[list[Standing], int]:
    """Return the instructions of a training set, and how many are for certain users only.

    An instruction that was given without a scope, on no interaction, holds for every prompt.
    """
    results: dict[str, Standing] = {}
    personal = 0
    for prompt, said in _instructions(feedback):
        scope = said.scope
        if scope.users:
            personal += 1
            continue
        rule = results.setdefault(said.text, Standing(said.text))
        inside = [as_prompt(text) for text in scope.inside]
        if prompt is not None:
            inside.append(prompt)
        for own, texts in ((rule.inside, inside), (rule.outside, map(as_prompt, scope.outside))):
            own.update({prompt_key(one): one for one in texts if in_split(one, feedback.split)})
        rule.everywhere |= not (scope.where or scope.inside or scope.outside)
    everything = {prompt_key(one): one for one in feedback.prompts()}
    for rule in results.values():
        if rule.everywhere:
            rule.inside = {**everything, **rule.inside}
    return [*results.values()], personal


def _instructions(feedback: TrainingSet) -> Iterator[tuple[Chat | None, Instruction]]:
    if feedback.kinds is not None and "instruction" not in feedback.kinds:
        return
    for case in feedback.cases():
        for said in case.of(Instruction):
            yield case.interaction.prompt, said
    for item in feedback.store.feedback(kinds=["instruction"], system_wide=True):
        if isinstance(item, Instruction):
            yield None, item


def scoped(rules: Sequence[Standing], prompts: Sequence[Chat]) -> Scoped:
    """Return which of some prompts are in no scope, and which are near one."""
    inside = {key for rule in rules for key in rule.inside}
    near: dict[str, Chat] = {}
    for rule in rules:
        near.update({key: prompt for key, prompt in rule.outside.items() if key not in inside})
    return Scoped(
        outside=[
            prompt
            for prompt in prompts
            if (key := prompt_key(prompt)) not in inside and key not in near
        ],
        near=[*near.values()],
    )

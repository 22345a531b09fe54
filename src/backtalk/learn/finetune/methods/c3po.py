"""C3PO: a standing instruction is learned in its scope, and responses elsewhere stay the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backtalk.feedback import Instruction, as_prompt
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.methods.counterfactual import contrast_pairs
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, NonNegative, Positive
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import example_trees, pair_trees
from backtalk.learn.method import Paper
from backtalk.learn.requirements import PROMPTS, STANDING_RULES, FeedbackRequirement
from backtalk.learn.training_set import TrainingSet, in_split

PAPER = Paper(
    "RLVF: learning from verbal feedback without overgeneralization",
    "Stephan et al.",
    2024,
    "https://arxiv.org/abs/2402.10893",
)


@training_method(
    "c3po",
    needs=[],
    objective="dpo",
    paper=PAPER,
    requires=[
        STANDING_RULES,
        PROMPTS,
        FeedbackRequirement(
            "training prompts in the scope of a standing rule",
            lambda feedback: has_prompt_in_scope(feedback),  # noqa: PLW0108 - defined below
        ),
    ],
    epochs=10.0,
)
async def c3po(
    context: MethodContext,
    *,
    beta: Positive = 0.1,
    lambda_out: NonNegative = 4.0,
    lambda_near: NonNegative = 4.0,
    samples: Count = 1,
) -> BuildTasks:
    """Learn standing instructions in their scope, and keep all other responses as they are.

    C3PO, from RLVF, Stephan et al. (2024). In the scope of an instruction, the policy's response
    under the instruction is preferred to its response without it, by DPO on the prompt alone.
    Elsewhere the policy's own responses are imitated, so that it does not change there.

    The scope of an instruction holds the prompts of the interactions on which it was given and
    those that its scope names as inside. Prompts that a scope names as outside are near the scope.
    All other prompts of the store are out of scope; there are none if an instruction holds for
    every prompt. Instructions for certain users are left out, as weights are shared by all users.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the implicit KL penalty towards the reference.
    lambda_out : float, default 4.0
        Total weight of the prompts out of scope, relative to those in scope.
    lambda_near : float, default 4.0
        Total weight of the prompts near the scope. Both weights must be well above 1: imitating its
        own responses has no effect on a policy before it has changed.
    samples : int, default 1
        Number of responses to each prompt.
    """
    rules, personal = standing_rules(context.feedback)
    prompts = prompt_scopes(rules, context.feedback.prompts())
    pairs: list[Pair] = []
    for number, rule in enumerate(rules):
        inside = [*rule.inside.values()]
        plain = await context.sample(inside, samples, seed=number)
        ruled = await context.sample(
            inside, samples, policy=append_system(context.policy, rule.text), seed=number
        )
        pairs += contrast_pairs(inside, ruled, plain)
    preserved = {
        name: [
            SFTExample(prompt=prompt, completion=text)
            for prompt, texts in zip(examples, await context.sample(examples, samples), strict=True)
            for text in texts
        ]
        for name, examples in (("out of scope", prompts.outside), ("near scope", prompts.near))
    }

    def build(encoder: Encoder) -> list[TrainingTask]:
        if personal:
            encoder.left_out["instructions for certain users"] += personal
        imitate = get_objective("sft").bind()
        inside = pair_trees(encoder, pairs)
        parts = [TrainingTask("in scope", get_objective("dpo").bind(beta=beta), inside)]
        for name, weight in (("out of scope", lambda_out), ("near scope", lambda_near)):
            examples = example_trees(encoder, preserved[name])
            # Without anything to learn, what is to stay as it is needs no training.
            if examples and inside and weight:
                parts.append(
                    TrainingTask(name, imitate, examples, weight * len(inside) / len(examples))
                )
        return parts

    return build


@dataclass
class StandingRule:
    """A standing instruction with the known prompts in its scope and near it."""

    text: str
    inside: dict[str, Prompt] = field(default_factory=dict)
    outside: dict[str, Prompt] = field(default_factory=dict)
    everywhere: bool = False
    """True if the instruction holds for every prompt."""


@dataclass(frozen=True)
class PromptScopes:
    """Prompts for which no instruction holds: far outside and near a scope."""

    outside: Sequence[Prompt]
    near: Sequence[Prompt]


def standing_rules(feedback: TrainingSet) -> tuple[list[StandingRule], int]:
    """Return the standing instructions of a training set, and the number of personal ones.

    An instruction without a scope that was given on no interaction holds for every prompt.
    """
    results: dict[str, StandingRule] = {}
    personal = 0
    for prompt, instruction in _instructions(feedback):
        scope = instruction.scope
        if scope.users:
            personal += 1
            continue
        rule = results.setdefault(instruction.text, StandingRule(instruction.text))
        inside = [as_prompt(text) for text in scope.inside]
        if prompt is not None:
            inside.append(prompt)
        for target, texts in ((rule.inside, inside), (rule.outside, map(as_prompt, scope.outside))):
            target.update({prompt_key(p): p for p in texts if in_split(p, feedback.split)})
        rule.everywhere |= not (scope.where or scope.inside or scope.outside)
    all_prompts = {prompt_key(p): p for p in feedback.prompts()}
    for rule in results.values():
        if rule.everywhere:
            rule.inside = {**all_prompts, **rule.inside}
    return [*results.values()], personal


def has_prompt_in_scope(feedback: TrainingSet) -> bool:
    """Return whether a standing rule has a prompt in its scope; true if there is no rule at all."""
    rules, personal = standing_rules(feedback)
    return any(rule.inside for rule in rules) or not (rules or personal)


def _instructions(feedback: TrainingSet) -> Iterator[tuple[Prompt | None, Instruction]]:
    if feedback.kinds is not None and "instruction" not in feedback.kinds:
        return
    for case in feedback.cases():
        for instruction in case.of(Instruction):
            yield case.interaction.prompt, instruction
    for item in feedback.store.feedback(kinds=["instruction"], system_wide=True):
        if isinstance(item, Instruction):
            yield None, item


def prompt_scopes(rules: Sequence[StandingRule], prompts: Sequence[Prompt]) -> PromptScopes:
    """Return the prompts outside all scopes, and those near one."""
    inside = {key for rule in rules for key in rule.inside}
    near: dict[str, Prompt] = {}
    for rule in rules:
        near.update({key: prompt for key, prompt in rule.outside.items() if key not in inside})
    return PromptScopes(
        outside=[
            prompt
            for prompt in prompts
            if (key := prompt_key(prompt)) not in inside and key not in near
        ],
        near=[*near.values()],
    )

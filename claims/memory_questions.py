"""Claim about elicitation: questions about edge cases, against as many labelled examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.feedback import Interaction, Preference
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair
from backtalk.learn.memory.traits import TRAITS
from backtalk.learn.memory.votes import Principle, reconstruct, trait_principles, trait_votes
from backtalk.memory import Memory
from backtalk.policy import Policy
from backtalk.policy.prompt_template import Example, PromptTemplate
from backtalk.worlds.annotators import Person, give_feedback
from backtalk.worlds.world import Rule
from claims.claim import above, claim
from claims.memory_world import MemoryWorld, open_memory_world

WISHES = ("emoji", "thanks", "sorry")
"""Actions of the wishes, of which a user has two, about all mails."""
ROUNDS = 3
"""Number of times that a user answers the questions so far."""


@claim(
    system="GATE",
    paper="Li et al. (2023), eliciting human preferences with language models, figure 3",
    method="gate",
    world="mail",
    says="Answers to a few questions about edge cases tell more of what a user wishes than as many "
    "labelled examples.",
    expected=[
        above(
            "predictions",
            "share of held-out choices between two answers that are predicted: by the answers to "
            "questions less by as many labelled pairs",
            paper="higher than supervised learning and pool-based active learning in all domains",
        ),
        above(
            "more",
            "share of wishes that held-out answers meet: with the elicited wishes less with as "
            "many preferred answers as examples in the prompt",
            paper="no such figure",
        ),
    ],
)
def gate(seed: int) -> dict[str, float]:
    """Ask a user with two of three wishes; compare with labelled pairs of ordinary answers."""
    with open_memory_world("mail", seed) as world:
        rules = _wishes(world, seed)
        person = world.person(rules)
        requests = world.prompts(40)
        world.store.add(*world.interactions(requests, world.answer(world.policy, requests)))
        policy = world.policy
        answered: set[str] = set()
        for _ in range(ROUNDS):
            policy = world.learn("gate", policy)
            _answer_questions(world, person, answered)
        policy = world.learn("gate", policy, questions=1)
        labelled = _labelled_pairs(world, person, len(answered))
        tested = _held_out_pairs(world, person)
        elicited = {entry.text for entry in Memory(world.store).entries(_revision(policy))}
        principles = [one for one in trait_principles() if one.text in elicited]
        prompts = world.prompts(60, split="held-out")
        return {
            "predictions": _predicted(principles, tested)
            - _predicted(_from_labels(labelled), tested),
            "more": _met(world, policy, rules, prompts)
            - _met(world, _with_examples(world, labelled), rules, prompts),
        }


def _wishes(world: MemoryWorld, seed: int) -> list[Rule]:
    rng = np.random.default_rng([seed, 111])
    chosen = {WISHES[index] for index in rng.permutation(len(WISHES))[:2].tolist()}
    return [rule for rule in world.world.rules if rule.scope == "all" and rule.action in chosen]


def _revision(policy: Policy) -> int:
    assert policy.memory is not None
    return policy.memory.revision


def _answer_questions(world: MemoryWorld, person: Person, answered: set[str]) -> None:
    """Compare the answers of each question that is open."""
    for case in list(world.store.cases()):
        if len(case.interaction.responses) == 2 and case.interaction.id not in answered:
            answered.add(case.interaction.id)
            world.store.add(*give_feedback(person, "preference", case.interaction))


def _judge(person: Person, prompts: Sequence[Prompt], *answers: Sequence[str]) -> list[Pair]:
    """Return the pairs of answers of which the user prefers one."""
    pairs = []
    for prompt, first, second in zip(prompts, *answers, strict=True):
        interaction = Interaction.of(prompt, first, second)
        for item in give_feedback(person, "preference", interaction):
            if isinstance(item, Preference) and item.chosen and item.rejected:
                case = Case(interaction, (item,))
                chosen, rejected = case.text(item.chosen), case.text(item.rejected)
                pairs.append(Pair(prompt=prompt, chosen=chosen, rejected=rejected))
    return pairs


def _labelled_pairs(world: MemoryWorld, person: Person, count: int) -> list[Pair]:
    """Return as many judged pairs of ordinary answers as there were questions."""
    prompts = world.prompts(20 * count, start=100)
    answers = [world.answer(world.policy, prompts, seed=seed) for seed in (11, 12)]
    return _judge(person, prompts, *answers)[:count]


def _held_out_pairs(world: MemoryWorld, person: Person) -> list[Pair]:
    """Return judged pairs of answers that were written under different wishes."""
    rng = np.random.default_rng([world.seed, 112])
    prompts = world.prompts(60, split="held-out")
    texts = [
        rule.text for rule in world.world.rules if rule.scope == "all" and rule.action in WISHES
    ]
    answers = []
    for seed in (21, 22):
        drawn = rng.random((len(prompts), len(texts))) < 0.5
        replies = [""] * len(prompts)
        for row in np.unique(drawn, axis=0):
            remembered = [text for text, shown in zip(texts, row, strict=True) if shown]
            members = np.flatnonzero((drawn == row).all(axis=1)).tolist()
            written = world.answer(
                world.policy, [prompts[n] for n in members], seed=seed, remembered=remembered
            )
            for number, text in zip(members, written, strict=True):
                replies[number] = text
        answers.append(replies)
    return _judge(person, prompts, *answers)


def _from_labels(pairs: Sequence[Pair]) -> list[Principle]:
    """Return the principle of each trait that the labelled pairs show more often than not."""
    results = []
    for trait in TRAITS:
        total = sum(trait.direction(pair.rejected, pair.chosen) for pair in pairs)
        if total:
            text = trait.more if total > 0 else trait.less
            results.append(Principle(text, trait, 1 if total > 0 else -1))
    return results


def _predicted(principles: Sequence[Principle], pairs: Sequence[Pair]) -> float:
    """Return the share of pairs that principles of equal weight predict, ties counting half."""
    votes = trait_votes(principles, pairs)
    return float(reconstruct(votes, [1.0] * len(principles)).mean())


def _with_examples(world: MemoryWorld, pairs: Sequence[Pair]) -> Policy:
    examples = tuple(Example(prompt=pair.prompt, answer=pair.chosen) for pair in pairs[:3])
    return world.policy.model_copy(update={"prompt": PromptTemplate(demonstrations=examples)})


def _met(
    world: MemoryWorld, policy: Policy, rules: Sequence[Rule], prompts: Sequence[Prompt]
) -> float:
    return world.compliance(rules, prompts, world.answer(policy, prompts))

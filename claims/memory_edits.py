"""Claims about memories that are learned from edits and right answers: CIPHER, DROC, LEAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backtalk.feedback import Demonstration, Edit
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.learn.memory.edit_words import edit_similarity
from backtalk.memory import Memory
from backtalk.policy import Policy
from backtalk.policy.prompt_template import Example, PromptTemplate
from backtalk.worlds.world import Rule
from claims.claim import Expected, above, below, claim
from claims.memory_world import MemoryWorld, distinct_rules, open_memory_world

ROUND = 25
"""Number of requests between two updates of a memory."""


def edit_distance(cases: Sequence[Case]) -> float:
    """Return the total share of words that edits changed; 0 for an answer left as it is."""
    return float(
        sum(
            1 - edit_similarity(case.text("0"), item.text)
            for case in cases
            for item in case.of(Edit)
        )
    )


@claim(
    system="PRELUDE / CIPHER",
    paper="Gao et al. (2024), aligning LLM agents by learning latent preference from user edits, "
    "table 2",
    method="cipher",
    world="mail",
    says="Preferences that are inferred from edits and recalled by context cost less editing over "
    "200 interactions than no learning, and than all of the history at once.",
    expected=[
        below(
            "less",
            "edit distance over 200 interactions, share of no learning's: CIPHER less no learning",
            paper="lowest cost of all on both tasks",
        ),
        below(
            "history",
            "edit distance over 200 interactions, share of no learning's: CIPHER less all "
            "preferences of the history in every prompt",
            paper="lowest cost of all on both tasks",
        ),
    ],
)
def cipher(seed: int) -> Mapping[str, float]:
    """Edit 200 answers as a user with three hidden wishes; learn after every 25."""
    costs = {name: _edited(seed, name) for name in ("none", "cipher", "history")}
    return {
        "less": (costs["cipher"] - costs["none"]) / costs["none"],
        "history": (costs["cipher"] - costs["history"]) / costs["none"],
    }


def _edited(seed: int, arm: str) -> float:
    with open_memory_world("mail", seed) as world:
        rules = distinct_rules(world, 3, seed=seed)
        person = world.person(rules)
        prompts = world.prompts(200)
        policy, total = world.policy, 0.0
        for start in range(0, len(prompts), ROUND):
            batch = prompts[start : start + ROUND]
            history = (
                [entry.text for entry in Memory(world.store).entries()] if arm == "history" else []
            )
            answering = policy if arm == "cipher" else world.policy
            texts = world.answer(answering, batch, seed=start, remembered=sorted({*history}))
            total += edit_distance(world.teach(person, world.interactions(batch, texts), "edit"))
            if arm != "none":
                policy = world.learn("cipher", policy)
        return total


@claim(
    system="DROC",
    paper="Zha et al. (2023), distilling and retrieving generalizable knowledge for robot "
    "manipulation via language corrections, section 5",
    method="droc",
    world="mail",
    says="With rules distilled from the corrections of a first round, later rounds need half of "
    "the corrections or fewer.",
    expected=[
        Expected(
            "ratio",
            "corrections of broken wishes in the second round, share of the first round's",
            below=0.5,
            paper="half of the corrections in the first round, little to none after two",
        ),
        Expected(
            "third",
            "corrections in the third round, share of the first round's",
            below=0.5,
            paper="little to none",
        ),
    ],
)
def droc(seed: int) -> Mapping[str, float]:
    """Edit 50 answers in a round under three hidden wishes; learn after each round."""
    with open_memory_world("mail", seed) as world:
        rules = distinct_rules(world, 3, seed=seed)
        person = world.person(rules)
        policy, counts = world.policy, []
        for number in range(3):
            prompts = world.needing(rules, 50, start=50 * number)
            texts = world.answer(policy, prompts, seed=number)
            counts.append(1 - world.compliance(rules, prompts, texts))
            world.teach(person, world.interactions(prompts, texts), "edit")
            # The small model reads rules, and not corrections of single answers.
            policy = world.learn("droc", policy, single=False)
        return {"ratio": counts[1] / counts[0], "third": counts[2] / counts[0]}


@claim(
    system="LEAP",
    paper="Zhang et al. (2024), in-context principle learning from mistakes, table 1",
    method="leap",
    world="mail",
    says="Principles learned from induced mistakes on right answers help more than these answers "
    "as examples in the prompt.",
    expected=[
        above(
            "more",
            "share of wishes that held-out answers meet: LEAP less few-shot prompting",
            paper="+7.5 % in DROP, +3.3 % in HotpotQA",
        )
    ],
)
def leap(seed: int) -> Mapping[str, float]:
    """Learn from the right answers to 60 requests under three hidden wishes."""
    with open_memory_world("mail", seed) as world:
        rules = distinct_rules(world, 3, seed=seed)
        prompts = world.needing(rules, 60)
        texts = world.answer(world.policy, prompts)
        cases = world.teach(
            world.person(rules), world.interactions(prompts, texts), "demonstration"
        )
        learned = world.learn("leap")
        held_out = world.needing(rules, 60, split="held-out")
        shots = _few_shot(world, cases, seed)
        return {"more": _met(world, learned, rules, held_out) - _met(world, shots, rules, held_out)}


def _few_shot(world: MemoryWorld, cases: Sequence[Case], seed: int) -> Policy:
    """Return a policy with as many of the right answers as its context holds, three."""
    rng = np.random.default_rng([seed, 71])
    shots = [cases[index] for index in rng.permutation(len(cases))[:3]]
    examples = tuple(
        Example(prompt=case.interaction.prompt, answer=case.of(Demonstration)[0].text)
        for case in shots
    )
    template = PromptTemplate(demonstrations=examples)
    return world.policy.model_copy(update={"prompt": template})


def _met(
    world: MemoryWorld, policy: Policy, rules: Sequence[Rule], prompts: Sequence[Prompt]
) -> float:
    return world.compliance(rules, prompts, world.answer(policy, prompts))

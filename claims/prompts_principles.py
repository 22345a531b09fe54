"""Claims about principles in a prompt that a model learns from its own mistakes."""

from __future__ import annotations

from collections.abc import Mapping

from backtalk.learn.no_improvement import NoImprovement
from backtalk.policy import Lineage, PromptTemplate
from backtalk.policy.prompt_template import Example
from claims.claim import above, claim
from claims.learning import open_trial

PROMPTS = 60
"""Number of requests with a corrected answer."""
SHOWN = 12
"""Number of these on which mistakes are made."""


@claim(
    system="LEAP",
    paper="Zhang et al. (2024), In-context principle learning from mistakes, table 1",
    method="leap-prompt",
    world="lists",
    says="Principles from mistakes on a few examples raise the utility of answers more than the "
    "same examples as demonstrations.",
    expected=[
        above(
            "gain",
            "utility: principles less none",
            paper="DROP +7.5 points, HotpotQA +3.3, by GPT-4 over few-shot prompting",
        ),
        above(
            "beyond_examples",
            "utility: principles less three of the examples as demonstrations",
            paper="the same figures",
        ),
    ],
)
def leap_prompt(seed: int) -> Mapping[str, float]:
    """Learn from edits of people who have one rule for all requests."""
    with open_trial("lists", seed) as trial:
        rules = [rule for rule in trial.world.rules if rule.scope == "all"]
        rules = [rules[seed % len(rules)]]
        interactions = trial.sample_interactions(PROMPTS, 1)
        feedback = trial.feedback(interactions, "edit", rules=tuple(rules))
        try:
            learned = trial.learn(
                "leap-prompt",
                feedback,
                shown=SHOWN,
                candidates=6,
                examples=24,
                confirmation=30,
            )
        except NoImprovement:
            learned = trial.policy
        shown = tuple(
            Example(
                prompt=one.prompt,
                answer=trial.world.ideal(trial.world.parse_prompt(one.prompt), rules),
            )
            for one in interactions[:3]
        )
        examples = trial.policy.derive(
            prompt=PromptTemplate(demonstrations=shown), lineage=Lineage(method="written")
        )
        after, before, few_shot = (
            trial.utility(policy, prompts=60, samples=1, rules=rules)
            for policy in (learned, trial.policy, examples)
        )
        return {"gain": after - before, "beyond_examples": after - few_shot}

"""Claims about prompts from criteria of critiques, and from modules that a model makes itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backtalk.feedback import Critique, Interaction
from backtalk.feedback.interaction import Prompt
from backtalk.learn.no_improvement import NoImprovement
from backtalk.policy import Lineage, Policy, PromptTemplate
from backtalk.prompts import refinement_prompt
from backtalk.worlds.annotators import make_crowd
from backtalk.worlds.train.curriculum import GUIDANCE
from backtalk.worlds.world import Rule
from claims.claim import above, claim
from claims.learning import Trial, open_trial

FIRST_SEED = 420
"""First seed of the world; those below were used to develop the methods."""
ASSESSED = 100
"""Number of held-out requests whose answers are assessed."""


@claim(
    system="System-level NL feedback",
    paper="Yuan et al. (2024), System-level natural language feedback, tables 3 and 5",
    method="system-feedback",
    world="lists",
    says="A prompt that states criteria derived from critiques of single answers improves the "
    "answers to other requests, and critiques of these answers improve them further.",
    expected=[
        above("system", "utility: criteria in the prompt less none", "better queries and replies"),
        above(
            "instance",
            "utility: criteria and the critique of each answer less criteria alone",
            "further gains",
        ),
        above("both", "utility: criteria and the critique less the critique alone"),
    ],
)
def system_feedback(seed: int) -> Mapping[str, float]:
    """Learn criteria from critiques by people with two rules; then criticise held-out answers."""
    with open_trial("lists", FIRST_SEED + seed) as trial:
        rules = two_rules(trial)
        interactions = trial.sample_interactions(120, 1)
        feedback = trial.feedback(interactions, "critique", rules=tuple(rules))
        try:
            learned = trial.learn(
                "system-feedback", feedback, candidates=8, examples=32, confirmation=60
            )
        except NoImprovement:
            learned = trial.policy
        before, with_critique = answer_and_refine(trial, trial.policy, rules)
        criteria, with_both = answer_and_refine(trial, learned, rules)
    return {
        "system": criteria - before,
        "instance": with_both - criteria,
        "both": with_both - with_critique,
    }


@claim(
    system="Auto-Evolve",
    paper="Aswani et al. (2024), Auto-Evolve, tables 1 and 3",
    method="auto-evolve",
    world="lists",
    says="Reasoning modules that a model makes for the task improve its answers more than a fixed "
    "module, and refinement in steps adds to a plan made at once. The small model writes no prose: "
    "its modules are the rules that it finds in good answers, and lines of advice that it was "
    "trained to follow; the fixed module is one of these lines.",
    expected=[
        above("over_fixed", "utility: own modules less one fixed module", "+7 % on average"),
        above("over_none", "utility: own modules less none"),
        above("refinement", "utility: with refinement less without", "+2.8 % on average"),
    ],
)
def auto_evolve(seed: int) -> Mapping[str, float]:
    """Make modules from edits of people with two rules, with and without refinement."""
    stock = tuple(GUIDANCE.values())
    with open_trial("lists", FIRST_SEED + seed) as trial:
        rules = two_rules(trial)
        feedback = trial.feedback(trial.sample_interactions(100, 1), "edit", rules=tuple(rules))
        learned: list[Policy] = []
        for refine in (True, False):
            try:
                policy = trial.learn(
                    "auto-evolve",
                    feedback,
                    refine=refine,
                    candidates=12,
                    examples=32,
                    confirmation=50,
                )
            except NoImprovement:
                policy = trial.policy
            learned.append(policy)
        fixed = trial.policy.derive(
            prompt=PromptTemplate(rules=(stock[seed % len(stock)],)),
            lineage=Lineage(method="written"),
        )
        refined, single, module, none = (
            trial.utility(policy, prompts=ASSESSED, samples=2, rules=rules)
            for policy in (*learned, fixed, trial.policy)
        )
    return {
        "over_fixed": refined - module,
        "over_none": refined - none,
        "refinement": refined - single,
    }


def two_rules(trial: Trial) -> Sequence[Rule]:
    """Return two rules of the people, for all requests, which no prompt states."""
    rules = {(rule.action, rule.scope): rule for rule in trial.world.rules}
    first = ("semicolons", "ands", "dashes")[trial.seed % 3]
    return rules[first, "all"], rules[("done", "here")[trial.seed % 2], "all"]


def answer_and_refine(trial: Trial, policy: Policy, rules: Sequence[Rule]) -> tuple[float, float]:
    """Return the utility of a policy's answers, and of those refined by people's critiques.

    Parameters
    ----------
    trial : Trial
        World and people.
    policy : Policy
        Policy that answers and refines.
    rules : sequence of Rule
        Rules of the people.
    """
    prompts = trial.world.prompts("held-out", ASSESSED, seed=trial.seed)
    drafts = [row[0] for row in trial.sample(policy, prompts, 1, seed=trial.seed + 3_000)]
    people = make_crowd("lists", 8, seed=trial.seed, rules=tuple(rules))
    interactions = [Interaction.of(p, text) for p, text in zip(prompts, drafts, strict=True)]
    texts = list(drafts)
    critiques: dict[int, Prompt] = {}
    for index, case in enumerate(people.annotate(interactions, ["critique"])):
        for item in case.feedback:
            if isinstance(item, Critique):
                critiques[index] = refinement_prompt(prompts[index], drafts[index], item.text)
    refined = trial.sample(policy, list(critiques.values()), 1, seed=trial.seed + 4_000)
    for index, row in zip(critiques, refined, strict=True):
        texts[index] = row[0]

    def mean(answers: Sequence[str]) -> float:
        scores = [
            trial.world.score(prompt, text, rules).utility
            for prompt, text in zip(prompts, answers, strict=True)
        ]
        return sum(scores) / len(scores)

    return mean(drafts), mean(texts)

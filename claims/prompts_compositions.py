"""Claims about several prompts: those of tasks, and compositions selected by the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from backtalk.feedback import Interaction, Preference
from backtalk.learn.no_improvement import NoImprovement
from backtalk.policy import Lineage, Policy, PromptTemplate
from backtalk.worlds.annotators import make_crowd
from backtalk.worlds.train.curriculum import GUIDANCE
from backtalk.worlds.world import Rule
from claims.claim import Expected, above, claim
from claims.learning import Trial, open_trial

FIRST_SEED = 400
"""First seed of the world; those below were used to develop the methods."""
PROMPTS = 120
"""Number of requests with feedback."""
JUDGED = 160
"""Number of held-out requests whose answers people compare."""
NOISE = 0.1
"""Share of comparisons in which people err."""
ASSESSED = 80
"""Number of held-out requests on which each composition is assessed."""


@claim(
    system="Meta-prompting (category theory)",
    paper="de Wynter et al. (2023), On meta-prompting, section 5",
    method="meta-prompt",
    world="lists",
    says="People prefer answers to prompts that a model writes from the context of each task over "
    "answers to hardcoded prompts, the original one included. The model writes the rules that it "
    "finds in good answers to requests of a task, beside some of its stock of general advice. The "
    "hardcoded prompts are one line of that advice, and all of it, which no user would know.",
    expected=[
        above(
            "over_original",
            "share of comparisons won against the original prompt, less one half",
            paper="preferred, p < 0.01",
        ),
        Expected("p_original", "p of the sign test against the original prompt", below=0.01),
        above(
            "over_hardcoded",
            "share of comparisons won against one hardcoded line of advice, less one half",
            paper="preferred, p < 0.01",
        ),
        above(
            "over_all_advice",
            "share of comparisons won against all lines of advice, less one half",
        ),
    ],
)
def meta_prompting(seed: int) -> Mapping[str, float]:
    """Let people with a rule for each task compare answers without knowing whose they are."""
    stock = tuple(GUIDANCE.values())
    with open_trial("lists", FIRST_SEED + seed) as trial:
        rules = rules_of_tasks(trial)
        learned = learn(trial, "meta-prompt", rules)
        others = [trial.policy] + [
            trial.policy.derive(
                prompt=PromptTemplate(rules=lines), lineage=Lineage(method="written")
            )
            for lines in (stock[seed % len(stock) :][:1], stock)
        ]
        original, one_line, all_lines = (compare(trial, learned, other, rules) for other in others)
    return {
        "over_original": original[0] - 0.5,
        "p_original": original[1],
        "over_hardcoded": one_line[0] - 0.5,
        "over_all_advice": all_lines[0] - 0.5,
    }


@claim(
    system="Adaptive Prompting",
    paper="Spliethöver et al. (2025), Adaptive prompting: Ad-hoc prompt composition for social "
    "bias detection, table 2",
    method="adaptive-prompt",
    world="lists",
    says="A prompt composition that is predicted for each request is about as good as the best "
    "composition in hindsight, which nobody knows beforehand, and better than others.",
    expected=[
        above(
            "over_mean",
            "utility: adaptive less the mean of its compositions, each for all requests",
            paper="robustly high macro F1 over models and data sets",
        ),
        Expected(
            "over_best",
            "utility: adaptive less its best composition in hindsight",
            above=-0.03,
            paper="best in several settings",
        ),
        above("over_none", "utility: adaptive less no composition"),
    ],
)
def adaptive_prompting(seed: int) -> Mapping[str, float]:
    """Compare the selection with each of its compositions, of people with a rule for each task."""
    with open_trial("lists", FIRST_SEED + seed) as trial:
        rules = rules_of_tasks(trial)
        learned = learn(trial, "adaptive-prompt", rules, answers=300)
        prompts = trial.world.prompts("held-out", ASSESSED, seed=trial.seed)

        def utility(policy: Policy) -> float:
            return trial.utility(policy, prompts=prompts, samples=1, rules=rules)

        adaptive = utility(learned)
        fixed = [utility(policy) for policy in learned.composed]
        return {
            "over_mean": adaptive - float(np.mean(fixed)),
            "over_best": adaptive - max(fixed),
            "over_none": adaptive - utility(trial.policy),
        }


def rules_of_tasks(trial: Trial) -> list[Rule]:
    """Return a rule of the people for each kind of list, which no prompt states."""
    rules = {(rule.action, rule.scope): rule for rule in trial.world.rules}
    actions = ("semicolons", "dashes", "done", "ands")
    scopes = ("sorting", "planning", "removing")
    first = trial.seed % len(actions)
    return [
        rules[actions[(first + index) % len(actions)], scope] for index, scope in enumerate(scopes)
    ]


def learn(trial: Trial, method: str, rules: Sequence[Rule], **options: Any) -> Policy:
    """Return what a method learns from edits and preferences; the old policy if it is nothing.

    Parameters
    ----------
    trial : Trial
        World, policy and store.
    method : str
        Name of the method.
    rules : sequence of Rule
        Rules of the people.
    **options : Any
        Options of the method.
    """
    interactions = trial.sample_interactions(PROMPTS, 2)
    feedback = trial.feedback(interactions, "edit", "preference", rules=tuple(rules))
    try:
        return trial.learn(method, feedback, examples=48, confirmation=60, **options)
    except NoImprovement:
        return trial.policy


def compare(
    trial: Trial, policy: Policy, other: Policy, rules: Sequence[Rule]
) -> tuple[float, float]:
    """Return the share of comparisons that a policy wins, and p of the sign test.

    Ties count half in the share, and are left out of the test. The order of both answers is random.

    Parameters
    ----------
    trial : Trial
        World and people.
    policy, other : Policy
        Policies that answer.
    rules : sequence of Rule
        Rules of the people.
    """
    prompts = trial.world.prompts("held-out", JUDGED, seed=trial.seed)
    answers = [
        [row[0] for row in trial.sample(one, prompts, 1, seed=trial.seed + 3_000)]
        for one in (policy, other)
    ]
    swapped = np.random.default_rng([trial.seed, 71]).random(len(prompts)) < 0.5
    interactions = [
        Interaction.of(prompt, *((b, a) if swap else (a, b)))
        for prompt, a, b, swap in zip(prompts, *answers, swapped, strict=True)
    ]
    people = make_crowd("lists", 8, seed=trial.seed, rules=tuple(rules), noise=NOISE)
    wins = losses = 0
    for case, swap in zip(people.annotate(interactions, ["preference"]), swapped, strict=True):
        for item in case.feedback:
            if isinstance(item, Preference) and item.verdict in {"a", "b"}:
                won = (item.verdict == "b") == bool(swap)
                wins, losses = wins + won, losses + (not won)
    decided = wins + losses
    share = (wins + 0.5 * (len(prompts) - decided)) / len(prompts)
    return share, float(binomtest(wins, decided).pvalue) if decided else 1.0

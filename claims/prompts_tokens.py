"""Claims about prompts that a small model optimises itself, by gradients and by words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.learn.no_improvement import NoImprovement
from backtalk.policy import Policy
from backtalk.worlds.world import Rule
from claims.claim import above, claim
from claims.learning import Trial, open_trial

PROMPTS = 80
"""Number of prompts with an edit each."""
SEARCH: Mapping[str, Any] = {"candidates": 8, "examples": 16, "confirmation": 40}
"""Budget of each search."""
TOKENS: Mapping[str, Any] = {"steps": 8, "batch_size": 6}
"""Budget of each round of a token search."""


@claim(
    system="GReaTer",
    paper="Das et al. (2025), GReaTer: gradients over reasoning makes smaller language models "
    "strong prompt optimizers, section 5.2",
    method="greater",
    world="lists",
    says="A small model optimises its own prompt by gradients, and gains more than by textual "
    "feedback of its own.",
    expected=[
        above("gain", "utility: GReaTer less no instruction"),
        above("over_text", "utility: GReaTer less TextGrad, same model", "consistently above"),
    ],
)
def greater(seed: int) -> Mapping[str, float]:
    """Search for lines by gradients, and by textual gradients, from edits of people."""
    with open_trial("lists", seed) as trial:
        learned = {
            "greater": learn(trial, "greater", contexts=3, evaluated=2, **TOKENS),
            "textgrad": learn(trial, "textgrad"),
        }
        utilities = {name: utility(trial, policy) for name, policy in learned.items()}
        return {
            "gain": utilities["greater"] - utility(trial, trial.policy),
            "over_text": utilities["greater"] - utilities["textgrad"],
        }


@claim(
    system="GreaterPrompt",
    paper="Zheng et al. (2025), GreaterPrompt: a unified, customizable, and high-performing "
    "open-source toolkit for prompt optimization",
    method="greaterprompt",
    world="lists",
    says="One call runs optimisers that read gradients and optimisers that read words, on the same "
    "task; each improves the prompt.",
    expected=[
        above("gradient", "utility: gradient family less no instruction"),
        above("text", "utility: text family less no instruction"),
    ],
)
def greaterprompt(seed: int) -> Mapping[str, float]:
    """Learn from the same edits by both families, the first of which the toolkit picks itself."""
    with open_trial("lists", seed) as trial:
        learned = {
            "gradient": learn(trial, "greaterprompt", **TOKENS),
            "text": learn(trial, "greaterprompt", family="text", text="apo"),
        }
        before = utility(trial, trial.policy)
        return {name: utility(trial, policy) - before for name, policy in learned.items()}


def hidden_rules(trial: Trial) -> Sequence[Rule]:
    """Return two rules of the people, for all requests, which no prompt states."""
    rules = {(rule.action, rule.scope): rule for rule in trial.world.rules}
    first = ("semicolons", "ands", "dashes")[trial.seed % 3]
    second = ("done", "here")[trial.seed % 2]
    return rules[first, "all"], rules[second, "all"]


def learn(trial: Trial, method: str, **options: Any) -> Policy:
    """Return the learned policy; the initial one if the search finds nothing.

    Parameters
    ----------
    trial : Trial
        World, policy and store.
    method : str
        Name of the method.
    **options : Any
        Options of the method.
    """
    interactions = trial.sample_interactions(PROMPTS, 1)
    feedback = trial.feedback(interactions, "edit", rules=tuple(hidden_rules(trial)))
    try:
        return trial.learn(method, feedback, **SEARCH, **options)
    except NoImprovement:
        return trial.policy


def utility(trial: Trial, policy: Policy) -> float:
    """Return the true utility on held-out prompts, under the rules of the people."""
    return trial.utility(policy, prompts=100, rules=hidden_rules(trial))

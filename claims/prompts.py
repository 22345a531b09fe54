"""Claims about prompts that a model writes: a hidden rule of people is recovered from feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.learn.no_improvement import NoImprovement
from backtalk.policy import Policy
from backtalk.worlds.world import Rule
from claims.claim import Control, above, claim
from claims.learning import Trial, open_trial

PROMPTS = 80
"""Number of prompts with feedback."""
SEARCH: Mapping[str, Any] = {"candidates": 12, "examples": 24, "confirmation": 40}
"""Budget of each search."""
UNINFORMED = Control(
    "uninformed_gain",
    "feedback of people without the two rules, so that general advice alone can help",
    "gain",
)
"""Control of searches: a rule for all requests would survive a shuffle between prompts."""


@claim(
    system="APE",
    paper="Zhou et al. (2023), Large language models are human-level prompt engineers, section 4.1",
    method="ape",
    world="lists",
    says="Instructions that a model infers from demonstrations, selected by score, raise the "
    "utility of answers to new requests.",
    expected=[above("gain", "utility: APE less no instruction", "interquartile mean 0.39 to 0.81")],
    controls=[UNINFORMED],
)
def ape(seed: int) -> Mapping[str, float]:
    """Infer instructions from edits of people who have two rules."""
    with open_trial("lists", seed) as trial:
        return gains(trial, "ape", "edit")


@claim(
    system="PROMST",
    paper="Chen et al. (2024), PRompt Optimization in Multi-Step Tasks, table 1",
    method="promst",
    world="lists",
    says="People's rules and critiques, with a learned filter of prompts, improve a prompt.",
    expected=[above("gain", "utility: PROMST less no instruction", "+10.6 to +29.3 %")],
    controls=[UNINFORMED],
)
def promst(seed: int) -> Mapping[str, float]:
    """Learn from critiques and edits of people, with the score model as a filter."""
    with open_trial("lists", seed) as trial:
        return gains(trial, "promst", "critique", "edit")


@claim(
    system="Control-theoretic prompt loop",
    paper="Karn (2025), Linear feedback control systems for iterative prompt optimization in "
    "large language models, section IV",
    method="control",
    world="lists",
    says="A loop that turns the errors of answers into changes of the prompt lowers the errors.",
    expected=[above("gain", "utility: PI controller less no instruction", "met after iterations")],
    controls=[UNINFORMED],
)
def control_loop(seed: int) -> Mapping[str, float]:
    """Let a PI controller pick the criticisms by which the prompt changes."""
    with open_trial("lists", seed) as trial:
        return gains(trial, "control", "critique", "edit", controller="pi")


@claim(
    system="Directional-feedback LLM optimizer",
    paper="Nie et al. (2024), The importance of directional feedback for LLM-based optimizers, "
    "section 5",
    method="opro",
    world="lists",
    says="An optimiser that states the direction in which scores rise finds better prompts than "
    "no optimiser.",
    expected=[
        above("gain", "utility: directional less no instruction"),
    ],
    controls=[UNINFORMED],
)
def directional_feedback(seed: int) -> Mapping[str, float]:
    """Continue the history of prompts in the direction that their scores show."""
    with open_trial("lists", seed) as trial:
        return gains(trial, "opro", "edit")


def hidden_rules(trial: Trial) -> Sequence[Rule]:
    """Return two rules of the people, for all requests, which no prompt states."""
    rules = {(rule.action, rule.scope): rule for rule in trial.world.rules}
    first = ("semicolons", "ands", "dashes")[trial.seed % 3]
    second = ("done", "here")[trial.seed % 2]
    return rules[first, "all"], rules[second, "all"]


def gains(trial: Trial, method: str, *kinds: str, **options: Any) -> dict[str, float]:
    """Return the gain by feedback of people with the rules, and that of the control.

    Parameters
    ----------
    trial : Trial
        World, policy and store.
    method : str
        Name of the method.
    *kinds : str
        Kinds of feedback.
    **options : Any
        Options of the method.
    """
    before = utility(trial, trial.policy)
    return {
        name: utility(trial, policy) - before if policy else 0.0
        for name, policy in (
            ("gain", search(trial, method, *kinds, rules=hidden_rules(trial), **options)),
            (UNINFORMED.name, search(trial, method, *kinds, **options)),
        )
    }


def gain(trial: Trial, method: str, *kinds: str, **options: Any) -> float:
    """Return the gain in true utility on held-out prompts; 0 if the search finds nothing.

    Parameters
    ----------
    trial : Trial
        World, policy and store.
    method : str
        Name of the method.
    *kinds : str
        Kinds of feedback.
    **options : Any
        Options of the method.
    """
    policy = search(trial, method, *kinds, rules=hidden_rules(trial), **options)
    return utility(trial, policy) - utility(trial, trial.policy) if policy else 0.0


def search(
    trial: Trial, method: str, *kinds: str, rules: Sequence[Rule] = (), **options: Any
) -> Policy | None:
    """Return the policy with the prompt that a method learns, ``None`` if it finds no better one.

    Parameters
    ----------
    trial : Trial
        World, policy and store.
    method : str
        Name of the method.
    *kinds : str
        Kinds of feedback.
    rules : sequence of Rule, default ()
        Rules of the people who give the feedback.
    **options : Any
        Options of the method.
    """
    interactions = trial.sample_interactions(PROMPTS, 1)
    feedback = trial.feedback(interactions, *kinds, rules=tuple(rules))
    try:
        return trial.learn(method, feedback, **SEARCH, **options)
    except NoImprovement:
        return None


def utility(trial: Trial, policy: Policy) -> float:
    """Return the true utility on held-out prompts, under the rules of the people."""
    return trial.utility(policy, prompts=100, rules=hidden_rules(trial))

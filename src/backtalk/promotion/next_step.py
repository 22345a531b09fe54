"""Next step after an evaluation: the promotion, or what is missing for it."""

from __future__ import annotations

from backtalk.errors import NotFound
from backtalk.evaluate.result import Evaluation
from backtalk.policy.origin import policy_origin
from backtalk.policy.policy import Policy
from backtalk.policy.storage import read_policy
from backtalk.promotion.alternatives import command_name, other_evidence
from backtalk.promotion.gate import Gate, circular_reasons
from backtalk.promotion.history import active_policy
from backtalk.stats.sample_size import required_sample_size
from backtalk.store import Store

MANY = 100_000
"""Number of prompts beyond which a difference is too small to look for."""


def after_evaluation(
    evaluation: Evaluation, candidate: Policy, store: Store, *, judge: str | None = None
) -> list[str]:
    """Return what to do after an evaluation, one sentence each, with commands in backticks.

    It is the promotion only if the gate accepts the evaluation.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluation of the candidate.
    candidate : Policy
        Candidate.
    store : Store
        Store of the project.
    judge : str, optional
        Name of the judge, as :func:`~backtalk.evaluate.judges.get_judge` takes it, for commands
        that evaluate again.
    """
    name = command_name(candidate, store)
    served = active_policy(store)
    served_id = None if served is None else served.id
    origin = policy_origin(candidate, store, judge=evaluation.judge_info)
    against = f" --against {_baseline_name(evaluation, store)}" if served is None else ""
    again = f"`backtalk evaluate {name}{against}" + (f" --judge {judge}`" if judge else "`")
    if served_id == candidate.id:
        sentence = f"{candidate.label} is the active policy already"
    elif not evaluation.complete:
        sentence = (
            "The budget ended before all prompts were answered and judged. Next: the same command "
            "with a larger budget; it pays for no answer twice"
        )
    elif circular := circular_reasons(evaluation, origin):
        other = other_evidence(candidate, origin, store, against=against)
        sentence = f"The gate refuses this evidence. {circular[0]}. {other}"
    elif evaluation.split not in {"held-out", "live"}:
        sentence = f"It may have learned from {evaluation.split} prompts. Next: {again}"
    elif served is not None and evaluation.baseline != served_id:
        sentence = f"It was not compared with the active policy, {served.label}. Next: {again}"
    elif reasons := Gate().reasons(evaluation, served=served_id, origin=origin):
        return _refusal(evaluation, reasons)
    else:
        sentence = f"Next: `backtalk promote {name}`"
    return [sentence]


def _baseline_name(evaluation: Evaluation, store: Store) -> str:
    try:
        return command_name(read_policy(store, evaluation.baseline), store)
    except NotFound:
        return evaluation.baseline[:8]


def _refusal(evaluation: Evaluation, reasons: list[str]) -> list[str]:
    """Return what is missing if the result itself is not good enough."""
    report = f"`backtalk evaluation report {evaluation.id[:8]}` writes a page with example answers"
    rate = evaluation.win_rate
    if rate.high < 0.5:
        return ["Keep the active policy", report]
    if rate.low > 0.5:
        return [*reasons, report]
    needed = required_sample_size(rate, null=0.5)
    if needed is None or needed > MANY:
        size = "The answers are about equally good: more prompts are unlikely to show a difference"
    elif rate.value < 0.5:
        size = (
            f"It wins {100 * rate.value:.1f} % so far: more prompts are more likely to show a loss "
            "than a gain"
        )
    else:
        size = (
            f"To show a win rate of {100 * rate.value:.1f} % takes about {needed:,} prompts (with "
            f"80 % probability); there are {evaluation.prompts:,}"
        )
    ways = (
        "More prompts: `--prompts FILE`, or more interactions. Other judges: `backtalk judge "
        "list`. More feedback to learn from: `backtalk methods` says what each kind is good for"
    )
    return [size, ways]

"""Evidence from live traffic as an evaluation, for promotions."""

from __future__ import annotations

from collections import Counter

import numpy as np

from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.evaluate.result import Evaluation, Measure
from backtalk.experiments.state import ExperimentState
from backtalk.experiments.summary import ArmSummary, SignalSummary, summarise
from backtalk.feedback import content_id
from backtalk.stats.distributions import normal_quantile
from backtalk.stats.estimate import Estimate


def make_evaluation(state: ExperimentState, arm: str) -> Evaluation | None:
    """Return the evaluation of a candidate against the control.

    Parameters
    ----------
    state : ExperimentState
        State of the experiment.
    arm : str
        Id of the candidate policy.

    Returns
    -------
    Evaluation or None
        Evaluation on ``"live"`` prompts. Its win rate is one half plus half the difference of the
        outcome, see :attr:`~backtalk.experiments.summary.ArmSummary.win_rate`. ``None`` if one of
        the two has no judgements yet.
    """
    summary = summarise(state)
    control = summary.control
    candidate = next(other for other in summary.candidates if other.policy == arm)
    rate = candidate.win_rate
    if rate is None:
        return None
    experiment = state.experiment
    prompts = rate.n
    judge = f"traffic:{experiment.outcome}"
    digest = content_id(experiment.name, str(state.impressions), str(state.judged), str(prompts))
    return Evaluation(
        candidate=arm,
        baseline=experiment.control,
        judge=judge,
        judge_info=JudgeInfo(name=judge, kind="live"),
        split="live",
        prompts=prompts,
        prompts_digest=digest,
        seed=0,
        win_rate=rate,
        value=_measure(candidate.outcome, control.outcome),
        longer_wins=longer_wins(
            state.arms[arm].lengths, state.arms[experiment.control].lengths, level=rate.level
        ),
        length_ratio=_mean(state.arms[arm].lengths) / _mean(state.arms[experiment.control].lengths),
        guards=tuple(_guards(candidate, control)),
    )


def longer_wins(a: Counter[int], b: Counter[int], *, level: float = 0.95) -> Estimate:
    """Estimate the probability that a random answer of set ``a`` is longer than one of set ``b``.

    Parameters
    ----------
    a, b : Counter[int]
        Number of answers by length.
    level : float, default 0.95
        Nominal coverage of the interval, which is DeLong's (DeLong, DeLong and Clarke-Pearson
        1988, "Comparing the areas under two or more correlated receiver operating characteristic
        curves", equation 5).
    """
    above = _placements(a, b)
    below = _placements(b, a)
    value = float(np.mean(above))
    variance = sum(float(np.var(part)) / len(part) for part in (above, below))
    reach = normal_quantile(0.5 + level / 2) * variance**0.5
    return Estimate(
        value,
        max(0.0, value - reach),
        min(1.0, value + reach),
        level,
        a.total() + b.total(),
        None,
        "DeLong",
    )


def _placements(a: Counter[int], b: Counter[int]) -> np.ndarray:
    """Return, for each length of the first set, the share of the second set that is shorter."""
    others = np.sort(np.array(list(b.elements())))
    lengths = np.array(list(a.elements()))
    below = np.searchsorted(others, lengths, "left")
    equal = np.searchsorted(others, lengths, "right") - below
    return np.asarray((below + 0.5 * equal) / len(others))


def _guards(candidate: ArmSummary, control: ArmSummary) -> list[Measure]:
    pairs = zip(candidate.guards, control.guards, strict=True)
    return [_measure(guard, baseline) for guard, baseline in pairs]


def _measure(candidate: SignalSummary, control: SignalSummary) -> Measure:
    return Measure(
        name=candidate.signal,
        candidate=candidate.mean,
        baseline=control.mean,
        difference=candidate.difference,
    )


def _mean(lengths: Counter[int]) -> float:
    total = sum(length * n for length, n in lengths.items())
    return max(total, 1) / max(lengths.total(), 1)

"""What traffic showed, as the evaluation that a promotion asks for."""

from __future__ import annotations

from collections import Counter

import numpy as np

from backtalk.evaluate.result import Evaluation, Measure
from backtalk.experiments.state import ExperimentState
from backtalk.experiments.summary import ArmSummary, SignalSummary, summarise
from backtalk.feedback import content_id
from backtalk.stats.distributions import normal_quantile
from backtalk.stats.estimate import Estimate


def make_evaluation(state: ExperimentState, arm: str) -> Evaluation | None:
    """Return what an experiment shows of a candidate against the control.

    Parameters
    ----------
    state : State
        The experiment.
    arm : str
        The candidate's policy id.

    Returns
    -------
    Evaluation or None
        On ``"live"`` prompts. Its win rate is one half plus half the difference of the outcome, as
        :attr:`~backtalk.experiments.summary.ArmSummary.win_rate` explains. ``None`` where one of
        the two was not judged yet.
    """
    summary = summarise(state)
    control = summary.control
    result = next(one for one in summary.candidates if one.policy == arm)
    rate = result.win_rate
    if rate is None:
        return None
    experiment = state.experiment
    prompts = rate.n
    digest = content_id(experiment.name, str(state.shown), str(state.judged), str(prompts))
    return Evaluation(
        candidate=arm,
        baseline=experiment.control,
        judge=f"traffic:{experiment.outcome}",
        split="live",
        prompts=prompts,
        prompts_digest=digest,
        seed=0,
        win_rate=rate,
        value=_measure(result.outcome, control.outcome),
        longer_wins=longer_wins(
            state.arms[arm].lengths, state.arms[experiment.control].lengths, level=rate.level
        ),
        length_ratio=_mean(state.arms[arm].lengths) / _mean(state.arms[experiment.control].lengths),
        guards=tuple(_guards(result, control)),
    )


def longer_wins(own: Counter[int], other: Counter[int], *, level: float = 0.95) -> Estimate:
    """Estimate how often the longer of two answers drawn from two sets is the first set's.

    Parameters
    ----------
    own, other : Counter[int]
        How often each length came.
    level : float, default 0.95
        Nominal coverage of the interval, which is DeLong's (DeLong, DeLong and Clarke-Pearson
        1988, "Comparing the areas under two or more correlated receiver operating characteristic
        curves", equation 5).
    """
    above = _placed(own, other)
    below = _placed(other, own)
    value = float(np.mean(above))
    variance = sum(float(np.var(part)) / len(part) for part in (above, below))
    reach = normal_quantile(0.5 + level / 2) * variance**0.5
    return Estimate(
        value,
        max(0.0, value - reach),
        min(1.0, value + reach),
        level,
        own.total() + other.total(),
        None,
        "DeLong",
    )


def _placed(own: Counter[int], other: Counter[int]) -> np.ndarray:
    """Return for each of one's own lengths the share of the others that it exceeds."""
    others = np.sort(np.array(list(other.elements())))
    lengths = np.array(list(own.elements()))
    below = np.searchsorted(others, lengths, "left")
    equal = np.searchsorted(others, lengths, "right") - below
    return np.asarray((below + 0.5 * equal) / len(others))


def _guards(found: ArmSummary, control: ArmSummary) -> list[Measure]:
    return [_measure(own, other) for own, other in zip(found.guards, control.guards, strict=True)]


def _measure(own: SignalSummary, control: SignalSummary) -> Measure:
    return Measure(
        name=own.signal, candidate=own.mean, baseline=control.mean, difference=own.difference
    )


def _mean(lengths: Counter[int]) -> float:
    total = sum(length * n for length, n in lengths.items())
    return max(total, 1) / max(lengths.total(), 1)

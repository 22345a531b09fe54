"""Summary of an experiment, with intervals valid at any time (confidence sequences)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from backtalk.experiments.allocation import allocate
from backtalk.experiments.experiment import Experiment, Signal
from backtalk.experiments.state import ExperimentState, ExperimentStatus
from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.confidence_sequences import (
    average_confidence_sequence,
    difference_confidence_sequence,
    mean_confidence_sequence,
)


class SignalSummary(Record):
    """Summary of one signal for one arm."""

    signal: Signal
    judged: int
    """Number of judgements, one per unit."""
    mean: OptionalField[Estimate] = None
    """Mean score in [0, 1], larger is better. ``None`` before the first judgement."""
    difference: OptionalField[Estimate] = None
    """Difference from the control. ``None`` for the control, and before both have judgements."""


class ArmSummary(Record):
    """Summary of one arm."""

    policy: Name
    role: Literal["control", "candidate"]
    share: float
    """Probability of answering the next request; 0 for a stopped arm. In duels two arms answer, so
    that the shares sum to 2."""
    impressions: int
    """Number of requests answered."""
    outcome: SignalSummary
    """Summary of the outcome. For duels, the mean is the win rate against all other arms, and the
    difference is the win rate against the control minus the loss rate."""
    guards: tuple[SignalSummary, ...] = ()
    stopped: OptionalField[Name] = None
    """Reason for which the arm was stopped."""
    verdict: Literal["control", "better", "worse", "open"]
    """Verdict from the difference. ``"open"`` before the rule's minimum number of judgements."""

    @property
    def win_rate(self) -> Estimate | None:
        """Win rate against the control: one half plus half the difference.

        For duels this is their observed win rate. For binary scores it is the probability that a
        random judgement of the arm beats one of the control, with ties as half a win. For other
        scores it is the win rate under a judge who prefers in proportion to the scores.
        """
        difference = self.outcome.difference
        return None if difference is None else difference.transform(0.5, 0.5)


class ExperimentSummary(Record):
    """Summary of an experiment and its arms."""

    experiment: Experiment
    status: ExperimentStatus
    impressions: int
    """Number of requests answered as part of the experiment."""
    judged: int
    """Number of units with a judgement of the outcome."""
    arms: tuple[ArmSummary, ...]
    """Summaries of the arms, the control first."""

    @property
    def control(self) -> ArmSummary:
        """Summary of the control."""
        return self.arms[0]

    @property
    def candidates(self) -> tuple[ArmSummary, ...]:
        """Summaries of the candidates."""
        return self.arms[1:]


def summarise(state: ExperimentState) -> ExperimentSummary:
    """Return the summary of an experiment."""
    experiment = state.experiment
    shares = allocate(state).probabilities if state.status == "running" else {}
    return ExperimentSummary(
        experiment=experiment,
        status=state.status,
        impressions=state.impressions,
        judged=state.judged,
        arms=tuple(_arm(state, arm, shares.get(arm, 0.0)) for arm in experiment.arms),
    )


def _arm(state: ExperimentState, arm: str, share: float) -> ArmSummary:
    experiment = state.experiment
    summarise_outcome = _duel_summary if experiment.allocation == "dueling" else _score_summary
    outcome = summarise_outcome(state, arm, experiment.outcome)
    is_control = arm == experiment.control
    return ArmSummary(
        policy=arm,
        role="control" if is_control else "candidate",
        share=share,
        impressions=state.arms[arm].impressions,
        outcome=outcome,
        guards=tuple(_score_summary(state, arm, guard) for guard in experiment.guards),
        stopped=state.stopped.get(arm),
        verdict="control" if is_control else _verdict(state, arm, outcome),
    )


def has_enough_judgements(state: ExperimentState, arm: str) -> bool:
    """Return true if an arm and the control have the rule's minimum number of judgements."""
    experiment = state.experiment
    if experiment.allocation == "dueling":
        return state.duels.get((experiment.control, arm), Counter()).total() >= (
            experiment.rule.min_judgements
        )
    return all(
        state.arms[other].judged(experiment.outcome) >= experiment.rule.min_judgements
        for other in (arm, experiment.control)
    )


def _verdict(
    state: ExperimentState, arm: str, outcome: SignalSummary
) -> Literal["better", "worse", "open"]:
    difference = outcome.difference
    if difference is None or not has_enough_judgements(state, arm):
        return "open"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "open"


def _score_summary(state: ExperimentState, arm: str, signal: Signal) -> SignalSummary:
    own = state.arms[arm].values.get(signal, Counter())
    return SignalSummary(
        signal=signal,
        judged=own.total(),
        mean=_mean(own, state.experiment.rule.level),
        difference=None if arm == state.experiment.control else _difference(state, arm, signal),
    )


def _difference(state: ExperimentState, arm: str, signal: Signal) -> Estimate | None:
    experiment = state.experiment
    own = state.arms[arm].values.get(signal, Counter())
    other = state.arms[experiment.control].values.get(signal, Counter())
    if not own or not other:
        return None
    (values, counts), (others, their) = _columns(own), _columns(other)
    betting = difference_confidence_sequence(
        values, others, counts=(counts, their), level=experiment.level
    )
    result = state.arms[arm].effects.get(signal)
    if experiment.allocation != "thompson" or result is None:
        return betting
    weighted = average_confidence_sequence(
        result.total, result.squares, result.n, bound=1 / experiment.floor, level=experiment.level
    )
    return _union(weighted, betting)


def _union(weighted: Estimate, betting: Estimate) -> Estimate:
    """Return the union of two intervals, which is valid if the assumptions of either hold.

    The weighted sequence is robust to drift while shares change; the betting sequence is robust to
    arms that are judged at different rates.
    """
    low, high = min(weighted.low, betting.low), max(weighted.high, betting.high)
    value, low, high = (min(max(end, -1.0), 1.0) for end in (weighted.value, low, high))
    return replace(weighted, value=value, low=low, high=high)


def _duel_summary(state: ExperimentState, arm: str, signal: Signal) -> SignalSummary:
    experiment = state.experiment
    won: Counter[float] = Counter()
    for (first, second), results in state.duels.items():
        if arm in {first, second}:
            won.update(results if arm == first else _reverse(results))
    met = state.duels.get((experiment.control, arm))
    difference = None
    if met:
        rate = _mean(_reverse(met), experiment.level)
        difference = None if rate is None else rate.transform(2.0, -1.0)
    return SignalSummary(
        signal=signal,
        judged=won.total(),
        mean=_mean(won, experiment.rule.level),
        difference=difference,
    )


def _reverse(results: Mapping[float, int]) -> Counter[float]:
    return Counter({round(1 - value, 3): n for value, n in results.items()})


def _mean(counts: Counter[float], level: float) -> Estimate | None:
    if not counts:
        return None
    values, often = _columns(counts)
    return mean_confidence_sequence(values, often, level=level)


def _columns(counts: Counter[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted values and their counts, independent of the order of the log."""
    results = sorted(counts.items())
    return np.array([value for value, _ in results]), np.array([float(n) for _, n in results])

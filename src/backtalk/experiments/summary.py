"""What an experiment has found so far, with intervals that hold however often one looks."""

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
    """What one signal says of an arm."""

    signal: Signal
    judged: int
    """How many judgements there are: one a unit, the first."""
    mean: OptionalField[Estimate] = None
    """On the scale from 0 to 1, larger is better; ``None`` before the first judgement."""
    difference: OptionalField[Estimate] = None
    """The arm minus the control; ``None`` for the control itself, and before both are judged."""


class ArmSummary(Record):
    """One arm of an experiment."""

    policy: Name
    role: Literal["control", "candidate"]
    share: float
    """Its chance to answer the next request; 0 where it gets no traffic any more. In duels two
    arms answer, so that the shares add up to 2."""
    shown: int
    """How many requests it answered."""
    outcome: SignalSummary
    """By what decides. Of duels, the mean is how often it wins against any other arm, and the
    difference is how often it wins against the control less how often it loses."""
    guards: tuple[SignalSummary, ...] = ()
    stopped: OptionalField[Name] = None
    """Why it gets no traffic any more."""
    verdict: Literal["control", "better", "worse", "open"]
    """What the difference shows. Nothing is shown before the rule's least number of judgements."""

    @property
    def win_rate(self) -> Estimate | None:
        """How often the arm wins against the control: one half plus half the difference.

        Of duels that is their result. Of zeros and ones it is the chance that the arm's judgement
        is the better one of two drawn at random, a tie being half a win. Of other numbers it is
        the win rate by a judge who prefers in proportion to the numbers.
        """
        difference = self.outcome.difference
        return None if difference is None else difference.transform(0.5, 0.5)


class ExperimentSummary(Record):
    """An experiment, its arms and where it stands."""

    experiment: Experiment
    status: ExperimentStatus
    shown: int
    """How many requests were answered as part of it."""
    judged: int
    """How many units were judged by what decides."""
    arms: tuple[ArmSummary, ...]
    """The control first."""

    @property
    def control(self) -> ArmSummary:
        """The arm that the others are compared with."""
        return self.arms[0]

    @property
    def candidates(self) -> tuple[ArmSummary, ...]:
        """The other arms."""
        return self.arms[1:]


def summarise(state: ExperimentState) -> ExperimentSummary:
    """Return what is known of an experiment."""
    experiment = state.experiment
    shares = allocate(state).probabilities if state.status == "running" else {}
    return ExperimentSummary(
        experiment=experiment,
        status=state.status,
        shown=state.shown,
        judged=state.judged,
        arms=tuple(_arm(state, arm, shares.get(arm, 0.0)) for arm in experiment.arms),
    )


def _arm(state: ExperimentState, arm: str, share: float) -> ArmSummary:
    experiment = state.experiment
    measure = _duelled if experiment.allocation == "dueling" else _scored
    outcome = measure(state, arm, experiment.outcome)
    is_control = arm == experiment.control
    return ArmSummary(
        policy=arm,
        role="control" if is_control else "candidate",
        share=share,
        shown=state.arms[arm].impressions,
        outcome=outcome,
        guards=tuple(_scored(state, arm, guard) for guard in experiment.guards),
        stopped=state.stopped.get(arm),
        verdict="control" if is_control else _verdict(state, arm, outcome),
    )


def has_enough_judgements(state: ExperimentState, arm: str) -> bool:
    """Return whether an arm and the control were judged as often as the rule asks."""
    experiment = state.experiment
    if experiment.allocation == "dueling":
        return state.duels.get((experiment.control, arm), Counter()).total() >= (
            experiment.rule.at_least
        )
    return all(
        state.arms[one].judged(experiment.outcome) >= experiment.rule.at_least
        for one in (arm, experiment.control)
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


def _scored(state: ExperimentState, arm: str, signal: Signal) -> SignalSummary:
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
    return _both(weighted, betting)


def _both(weighted: Estimate, betting: Estimate) -> Estimate:
    """Return what both sequences allow: it holds where what either of them assumes does.

    The one does not mind that everything drifts while shares change, the other not that one arm
    is judged more often.
    """
    low, high = min(weighted.low, betting.low), max(weighted.high, betting.high)
    value, low, high = (min(max(end, -1.0), 1.0) for end in (weighted.value, low, high))
    return replace(weighted, value=value, low=low, high=high)


def _duelled(state: ExperimentState, arm: str, signal: Signal) -> SignalSummary:
    experiment = state.experiment
    won: Counter[float] = Counter()
    for (first, second), results in state.duels.items():
        if arm in {first, second}:
            won.update(results if arm == first else _turned(results))
    met = state.duels.get((experiment.control, arm))
    difference = None
    if met:
        rate = _mean(_turned(met), experiment.level)
        difference = None if rate is None else rate.transform(2.0, -1.0)
    return SignalSummary(
        signal=signal,
        judged=won.total(),
        mean=_mean(won, experiment.rule.level),
        difference=difference,
    )


def _turned(results: Mapping[float, int]) -> Counter[float]:
    return Counter({round(1 - value, 3): n for value, n in results.items()})


def _mean(counts: Counter[float], level: float) -> Estimate | None:
    if not counts:
        return None
    values, often = _columns(counts)
    return mean_confidence_sequence(values, often, level=level)


def _columns(counts: Counter[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and how often each came, in an order that the log does not decide."""
    results = sorted(counts.items())
    return np.array([value for value, _ in results]), np.array([float(n) for _, n in results])

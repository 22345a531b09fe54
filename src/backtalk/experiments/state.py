"""State of an experiment: a fold over its events, its interactions and the feedback on them.

The state is not stored. Every reader of the same log has the same state, whether it reads the log
at once or as it grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from backtalk.experiments.events import (
    ArmPromoted,
    ArmStopped,
    ExperimentEnded,
    ExperimentEvent,
    ExperimentStarted,
)
from backtalk.experiments.experiment import Experiment, Signal
from backtalk.experiments.signals import (
    ArmAssignment,
    duel,
    get_arms,
    get_assignment,
    get_unit,
    score_feedback,
)
from backtalk.feedback import AnyFeedback, Interaction
from backtalk.stats.intervals.confidence_sequences import weighted_effect

ExperimentStatus = Literal["running", "promoted", "ended"]


@dataclass
class IPWSum:
    """Sums of a candidate's effects over the control, with inverse propensity weights."""

    total: float = 0.0
    squares: float = 0.0
    n: int = 0
    values: float = 0.0
    """Sum of the scores of candidate and control."""
    judged: int = 0

    def add(self, value: float, *, sign: int, propensity: float) -> None:
        """Add a score.

        Scores are centred on the mean of the earlier ones: a different number of judgements of
        two equally good arms then does not bias the effect.

        Parameters
        ----------
        value : float
            Score in [0, 1].
        sign : int
            1 for the candidate, -1 for the control, 0 for another arm.
        propensity : float
            Probability of the arm.
        """
        self.n += 1
        if sign == 0:
            return
        centre = self.values / self.judged if self.judged else 0.5
        effect = weighted_effect(value, centre=centre, sign=sign, propensity=propensity)
        self.total += effect
        self.squares += effect * effect
        self.values += value
        self.judged += 1


@dataclass
class ArmState:
    """Observations of one arm."""

    impressions: int = 0
    """Number of requests answered, alone or in a duel."""
    values: dict[Signal, Counter[float]] = field(default_factory=dict)
    """Number of judgements by signal and score."""
    effects: dict[Signal, IPWSum] = field(default_factory=dict)
    """Effect of a candidate over the control by signal, under adaptive allocation."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Number of judged answers by length in characters."""

    def judged(self, signal: Signal) -> int:
        """Return the number of judgements of a signal."""
        return self.values[signal].total() if signal in self.values else 0


@dataclass
class ExperimentState:
    """State of an experiment.

    Created by :func:`begin`, and updated by its ``apply`` methods in the order of the log.
    """

    experiment: Experiment
    status: ExperimentStatus = "running"
    events: list[ExperimentEvent] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    """Reasons of the arms that were stopped."""
    arms: dict[str, ArmState] = field(default_factory=dict)
    impressions: int = 0
    """Number of requests answered as part of the experiment."""
    duels: dict[tuple[str, str], Counter[float]] = field(default_factory=dict)
    """Number of results of the first arm against the second, in the experiment's order."""
    counted: set[tuple[Signal, str]] = field(default_factory=set)
    """Units that have been judged. Each counts once per signal, with its first judgement."""

    @property
    def active_arms(self) -> tuple[str, ...]:
        """Arms that get traffic, the control first."""
        return tuple(arm for arm in self.experiment.arms if arm not in self.stopped)

    @property
    def judged(self) -> int:
        """Number of units with a judgement of the outcome."""
        return sum(1 for signal, _ in self.counted if signal == self.experiment.outcome)

    def apply_event(self, event: ExperimentEvent) -> None:
        """Apply an event of the experiment."""
        self.events.append(event)
        if isinstance(event.what, ArmStopped):
            self.stopped[event.what.arm] = event.what.reason
        elif isinstance(event.what, ArmPromoted):
            self.status = "promoted"
        elif isinstance(event.what, ExperimentEnded):
            self.status = "ended"

    def apply_interaction(self, interaction: Interaction) -> None:
        """Apply an interaction. Interactions outside the experiment are ignored."""
        if get_assignment(interaction, self.experiment.name) is None:
            return
        self.impressions += 1
        for arm in get_arms(interaction):
            if arm in self.arms:
                self.arms[arm].impressions += 1

    def apply_feedback(self, interaction: Interaction, item: AnyFeedback) -> None:
        """Apply feedback on an interaction. Feedback that carries no signal is ignored."""
        assignment = get_assignment(interaction, self.experiment.name)
        arms = get_arms(interaction)
        if assignment is None or not arms or any(arm not in self.arms for arm in arms):
            return
        if self.experiment.allocation == "dueling":
            self._apply_duel(interaction, item, arms)
            signals: tuple[Signal, ...] = self.experiment.guards
        else:
            signals = self.experiment.signals
        for signal in signals:
            arm_and_score = score_feedback(interaction, item, signal)
            if arm_and_score is not None and arm_and_score[0] in self.arms:
                self._apply_score(interaction, assignment, signal, *arm_and_score)

    def _apply_duel(
        self, interaction: Interaction, item: AnyFeedback, arms: tuple[str, ...]
    ) -> None:
        if len(arms) != 2 or self._is_counted(self.experiment.outcome, interaction.id):
            return
        value = duel(interaction, item, self.experiment)
        if value is None:
            return
        self.counted.add((self.experiment.outcome, interaction.id))
        first, second = sorted(arms, key=self.experiment.arms.index)
        self.duels.setdefault((first, second), Counter())[value] += 1
        self._add_lengths(interaction, *arms)

    def _apply_score(
        self,
        interaction: Interaction,
        assignment: ArmAssignment,
        signal: Signal,
        arm: str,
        value: float,
    ) -> None:
        unit = get_unit(interaction, self.experiment.unit)
        if self.experiment.allocation == "dueling":
            unit = f"{unit}:{arm}"
        if self._is_counted(signal, unit):
            return
        self.counted.add((signal, unit))
        self.arms[arm].values.setdefault(signal, Counter())[value] += 1
        if signal == self.experiment.outcome:
            self._add_lengths(interaction, arm)
        if self.experiment.allocation == "thompson":
            self._add_effect(assignment, signal, arm, value)

    def _add_effect(
        self, assignment: ArmAssignment, signal: Signal, arm: str, value: float
    ) -> None:
        """Add the effect of a score for each candidate that was active."""
        if arm not in assignment.probabilities:
            return
        for candidate in self.experiment.candidates:
            if candidate in assignment.probabilities:
                sign = {candidate: 1, self.experiment.control: -1}.get(arm, 0)
                total = self.arms[candidate].effects.setdefault(signal, IPWSum())
                probability = max(assignment.probabilities[arm], self.experiment.floor)
                total.add(value, sign=sign, propensity=probability)

    def _add_lengths(self, interaction: Interaction, *arms: str) -> None:
        for response in interaction.responses:
            arm = response.policy or interaction.policy
            if arm in arms and not response.metadata.get("hidden"):
                self.arms[str(arm)].lengths[len(response.text)] += 1

    def _is_counted(self, signal: Signal, unit: str) -> bool:
        return (signal, unit) in self.counted


def begin(event: ExperimentEvent) -> ExperimentState:
    """Return the state of an experiment right after its start event."""
    assert isinstance(event.what, ExperimentStarted)
    experiment = event.what.experiment
    return ExperimentState(
        experiment, events=[event], arms={arm: ArmState() for arm in experiment.arms}
    )


def replay(
    events: Iterable[ExperimentEvent],
    interactions: Iterable[Interaction],
    feedback: Iterable[tuple[Interaction, AnyFeedback]],
) -> ExperimentState:
    """Return the state of an experiment from its whole log.

    Parameters
    ----------
    events : Iterable[ExperimentEvent]
        Events of the experiment, in order.
    interactions : Iterable[Interaction]
        Interactions, in any order. Interactions outside the experiment are ignored.
    feedback : Iterable[tuple[Interaction, AnyFeedback]]
        Feedback with its interaction, in order of arrival.
    """
    first, *rest = events
    state = begin(first)
    for event in rest:
        state.apply_event(event)
    for interaction in interactions:
        state.apply_interaction(interaction)
    for interaction, item in feedback:
        state.apply_feedback(interaction, item)
    return state

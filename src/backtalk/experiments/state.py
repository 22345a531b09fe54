"""The state of an experiment: a fold over its events, its interactions and the feedback on them.

Nothing of it is kept anywhere. Whoever reads the same log, in one go or as it grows, has the same
state.
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
    """Sums of a candidate's effects over the control, weighted by inverse propensities."""

    total: float = 0.0
    squares: float = 0.0
    n: int = 0
    values: float = 0.0
    """The sum of the numbers that the candidate and the control were given."""
    judged: int = 0

    def take(self, value: float, *, sign: int, propensity: float) -> None:
        """Take a number of the candidate (sign 1), of the control (-1) or of another arm (0).

        It is centred on what the two got before: then it does not matter, where they are equally
        good, that one of them is judged more often than the other.
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
    """What is known of one arm."""

    impressions: int = 0
    """How many requests it answered, alone or in a duel."""
    values: dict[Signal, Counter[float]] = field(default_factory=dict)
    """How often each number was given, by signal."""
    effects: dict[Signal, IPWSum] = field(default_factory=dict)
    """A candidate's effect over the control, by signal, where allocation adapts."""
    lengths: Counter[int] = field(default_factory=Counter)
    """The lengths of its judged answers, in characters."""

    def judged(self, signal: Signal) -> int:
        """Return how many judgements there are."""
        return self.values[signal].total() if signal in self.values else 0


@dataclass
class ExperimentState:
    """An experiment as far as its log tells.

    Made by :func:`begin`, and grown by its ``take`` methods in the order of the log.
    """

    experiment: Experiment
    status: ExperimentStatus = "running"
    events: list[ExperimentEvent] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    """Arms that get no traffic any more, with the reason."""
    arms: dict[str, ArmState] = field(default_factory=dict)
    shown: int = 0
    """How many requests were answered as part of the experiment."""
    duels: dict[tuple[str, str], Counter[float]] = field(default_factory=dict)
    """How the first of two arms did against the second, in the experiment's order."""
    counted: set[tuple[Signal, str]] = field(default_factory=set)
    """Which units have been judged: each counts once, with its first judgement."""

    @property
    def live(self) -> tuple[str, ...]:
        """The arms that get traffic, the control first."""
        return tuple(arm for arm in self.experiment.arms if arm not in self.stopped)

    @property
    def judged(self) -> int:
        """How many units have been judged by what decides."""
        return sum(1 for signal, _ in self.counted if signal == self.experiment.outcome)

    def apply_event(self, event: ExperimentEvent) -> None:
        """Take what happened to the experiment."""
        self.events.append(event)
        if isinstance(event.what, ArmStopped):
            self.stopped[event.what.arm] = event.what.reason
        elif isinstance(event.what, ArmPromoted):
            self.status = "promoted"
        elif isinstance(event.what, ExperimentEnded):
            self.status = "ended"

    def apply_interaction(self, interaction: Interaction) -> None:
        """Take an interaction; one that is not part of the experiment changes nothing."""
        if get_assignment(interaction, self.experiment.name) is None:
            return
        self.shown += 1
        for arm in get_arms(interaction):
            if arm in self.arms:
                self.arms[arm].impressions += 1

    def apply_feedback(self, interaction: Interaction, item: AnyFeedback) -> None:
        """Take feedback with its interaction; what does not count changes nothing."""
        assigned = get_assignment(interaction, self.experiment.name)
        arms = get_arms(interaction)
        if assigned is None or not arms or any(arm not in self.arms for arm in arms):
            return
        if self.experiment.allocation == "dueling":
            self._take_duel(interaction, item, arms)
            signals: tuple[Signal, ...] = self.experiment.guards
        else:
            signals = self.experiment.signals
        for signal in signals:
            result = score_feedback(interaction, item, signal)
            if result is not None and result[0] in self.arms:
                self._take_score(interaction, assigned, signal, *result)

    def _take_duel(
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
        self._measure(interaction, *arms)

    def _take_score(
        self,
        interaction: Interaction,
        assigned: ArmAssignment,
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
            self._measure(interaction, arm)
        if self.experiment.allocation == "thompson":
            self._weigh(assigned, signal, arm, value)

    def _weigh(self, assigned: ArmAssignment, signal: Signal, arm: str, value: float) -> None:
        """Take the effect that a number shows of each candidate that was in play with it."""
        if arm not in assigned.probabilities:
            return
        for candidate in self.experiment.candidates:
            if candidate in assigned.probabilities:
                sign = {candidate: 1, self.experiment.control: -1}.get(arm, 0)
                known = self.arms[candidate].effects.setdefault(signal, IPWSum())
                probability = max(assigned.probabilities[arm], self.experiment.floor)
                known.take(value, sign=sign, propensity=probability)

    def _measure(self, interaction: Interaction, *arms: str) -> None:
        for response in interaction.responses:
            arm = response.policy or interaction.policy
            if arm in arms and not response.metadata.get("hidden"):
                self.arms[str(arm)].lengths[len(response.text)] += 1

    def _is_counted(self, signal: Signal, unit: str) -> bool:
        return (signal, unit) in self.counted


def begin(event: ExperimentEvent) -> ExperimentState:
    """Return the state of an experiment right after it started.

    Parameters
    ----------
    event : ExperimentEvent
        The one that says so.
    """
    assert isinstance(event.what, ExperimentStarted)
    experiment = event.what.experiment
    return ExperimentState(
        experiment, events=[event], arms={arm: ArmState() for arm in experiment.arms}
    )


def replay(
    events: Iterable[ExperimentEvent],
    interactions: Iterable[Interaction],
    said: Iterable[tuple[Interaction, AnyFeedback]],
) -> ExperimentState:
    """Return the state of an experiment by its whole log.

    Parameters
    ----------
    events : Iterable[ExperimentEvent]
        Those of one experiment, in order.
    talks
        Interactions, in any order; those of no arm may be among them.
    said : Iterable[tuple[Interaction, AnyFeedback]]
        Feedback with the interaction that it is about, in the order in which it came.
    """
    first, *rest = events
    state = begin(first)
    for event in rest:
        state.apply_event(event)
    for interaction in interactions:
        state.apply_interaction(interaction)
    for interaction, item in said:
        state.apply_feedback(interaction, item)
    return state

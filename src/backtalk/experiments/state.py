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
    is_comparison,
    score_feedback,
)
from backtalk.experiments.votes import CountedVote, IPWSum
from backtalk.feedback import AnyFeedback, Interaction

ExperimentStatus = Literal["running", "promoted", "ended"]


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
    counted: dict[tuple[Signal, str], CountedVote] = field(default_factory=dict)
    """Judgement of each unit by signal. A unit counts once, with its first judgement, or the last
    one on the same answer by the same annotator."""

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
            self._apply_score(interaction, assignment, signal, item)

    def _apply_duel(
        self, interaction: Interaction, item: AnyFeedback, arms: tuple[str, ...]
    ) -> None:
        key = (self.experiment.outcome, interaction.id)
        counted = self.counted.get(key)
        if len(arms) != 2 or (counted is not None and not counted.is_superseded_by(item)):
            return
        value = duel(interaction, item, self.experiment)
        first, second = sorted(arms, key=self.experiment.arms.index)
        if counted is not None and is_comparison(item, self.experiment):
            self._remove_duel(key, first, second, counted.value)
            self._add_lengths(interaction, *arms, count=-1)
        if value is None:
            return
        self.counted[key] = CountedVote(item, first, value)
        self.duels.setdefault((first, second), Counter())[value] += 1
        self._add_lengths(interaction, *arms)

    def _remove_duel(self, key: tuple[Signal, str], first: str, second: str, value: float) -> None:
        del self.counted[key]
        results = self.duels[first, second]
        results[value] -= 1
        self.duels[first, second] = +results

    def _apply_score(
        self,
        interaction: Interaction,
        assignment: ArmAssignment,
        signal: Signal,
        item: AnyFeedback,
    ) -> None:
        arm_and_score = score_feedback(interaction, item, signal)
        if arm_and_score is None or arm_and_score[0] not in self.arms:
            return
        arm, value = arm_and_score
        unit = get_unit(interaction, self.experiment.unit)
        if self.experiment.allocation == "dueling":
            unit = f"{unit}:{arm}"
        counted = self.counted.get((signal, unit))
        if counted is not None:
            if counted.is_superseded_by(item):
                self._revise_score(signal, unit, counted, CountedVote(item, arm, value))
            return
        vote = CountedVote(item, arm, value)
        self.counted[signal, unit] = vote
        self.arms[arm].values.setdefault(signal, Counter())[value] += 1
        if signal == self.experiment.outcome:
            self._add_lengths(interaction, arm)
        if self.experiment.allocation == "thompson":
            self._add_effect(assignment, signal, vote)

    def _revise_score(
        self, signal: Signal, unit: str, counted: CountedVote, vote: CountedVote
    ) -> None:
        """Replace the judgement of a unit after a change of mind."""
        vote.effects = counted.effects
        self.counted[signal, unit] = vote
        values = self.arms[vote.arm].values[signal]
        values[counted.value] -= 1
        values[vote.value] += 1
        self.arms[vote.arm].values[signal] = +values
        for candidate, position in vote.effects.items():
            self.arms[candidate].effects[signal].revise(position, vote.value)

    def _add_effect(self, assignment: ArmAssignment, signal: Signal, vote: CountedVote) -> None:
        """Add the effect of a score for each candidate that was active."""
        if vote.arm not in assignment.probabilities:
            return
        for candidate in self.experiment.candidates:
            if candidate in assignment.probabilities:
                sign = {candidate: 1, self.experiment.control: -1}.get(vote.arm, 0)
                total = self.arms[candidate].effects.setdefault(signal, IPWSum())
                probability = max(assignment.probabilities[vote.arm], self.experiment.floor)
                vote.effects[candidate] = total.add(vote.value, sign=sign, propensity=probability)

    def _add_lengths(self, interaction: Interaction, *arms: str, count: int = 1) -> None:
        for response in interaction.responses:
            arm = response.policy or interaction.policy
            if arm in arms and not response.metadata.get("hidden"):
                self.arms[str(arm)].lengths[len(response.text)] += count


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

"""Decisions of an experiment's rule: stop an arm, promote an arm, or end the experiment."""

from __future__ import annotations

from backtalk.experiments.events import ArmPromoted, ArmStopped, ExperimentEnded
from backtalk.experiments.state import ExperimentState
from backtalk.experiments.summary import ArmSummary, SignalSummary, has_enough_judgements, summarise

Decision = ArmStopped | ArmPromoted | ExperimentEnded


def decide(state: ExperimentState, active: str | None) -> Decision | None:
    """Return the next decision, ``None`` if there is none yet.

    A candidate is stopped if it is significantly worse than the control by more than the margin,
    on the outcome or on a guard. If the rule allows promotions, the best candidate that is
    significantly better and worse on no guard is promoted, once all active candidates have enough
    judgements. The experiment ends when no candidate is left, at its horizon, and when another
    policy than the control becomes active by a manual promotion or rollback.

    Parameters
    ----------
    state : ExperimentState
        State of the experiment.
    active : str or None
        Id of the project's active policy.
    """
    experiment = state.experiment
    if state.status != "running":
        return None
    if active in experiment.candidates:
        return ArmPromoted(name=experiment.name, arm=str(active))
    if active != experiment.control:
        return ExperimentEnded(
            name=experiment.name, reason="the project has another active policy now"
        )
    return _apply_rule(state)


def _apply_rule(state: ExperimentState) -> Decision | None:
    experiment = state.experiment
    live = [arm for arm in summarise(state).candidates if arm.stopped is None]
    if not live:
        return ExperimentEnded(name=experiment.name, reason="no candidate is left")
    for arm in live:
        if (stopped := _stop_if_worse(state, arm)) is not None:
            return stopped
    all_judged = all(has_enough_judgements(state, arm.policy) for arm in live)
    if experiment.rule.promote and all_judged and (winner := _winner(live)) is not None:
        return ArmPromoted(name=experiment.name, arm=winner.policy)
    if experiment.rule.horizon is not None and state.judged >= experiment.rule.horizon:
        reason = f"nothing was decided after {state.judged} judgements"
        return ExperimentEnded(name=experiment.name, reason=reason)
    return None


def _stop_if_worse(state: ExperimentState, arm: ArmSummary) -> ArmStopped | None:
    margin = state.experiment.rule.margin
    if not has_enough_judgements(state, arm.policy):
        return None
    for signal in (arm.outcome, *arm.guards):
        difference = signal.difference
        if difference is not None and difference.high < -margin:
            return ArmStopped(
                name=state.experiment.name,
                arm=arm.policy,
                reason=f"worse by {signal.signal}",
                difference=difference,
            )
    return None


def _winner(live: list[ArmSummary]) -> ArmSummary | None:
    winning = [arm for arm in live if arm.verdict == "better" and not any(map(_worse, arm.guards))]
    return max(winning, key=_gain, default=None)


def _gain(arm: ArmSummary) -> float:
    return 0.0 if arm.outcome.difference is None else arm.outcome.difference.value


def _worse(summary: SignalSummary) -> bool:
    return summary.difference is not None and summary.difference.high < 0

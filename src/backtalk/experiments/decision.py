"""What an experiment's rule says is to be done now."""

from __future__ import annotations

from backtalk.experiments.events import ArmPromoted, ArmStopped, ExperimentEnded
from backtalk.experiments.state import ExperimentState
from backtalk.experiments.summary import ArmSummary, SignalSummary, has_enough_judgements, summarise

Decision = ArmStopped | ArmPromoted | ExperimentEnded


def decide(state: ExperimentState, served: str | None) -> Decision | None:
    """Return the next thing to be done, ``None`` while there is nothing.

    A candidate that is shown to be worse than the control by more than the margin, by the outcome
    or by a guard, is stopped. One that is shown to be better, and by no guard worse, is promoted if
    the rule says so: the best of those, once there is enough about each that is in play. The
    experiment ends when no candidate is left, at its horizon, and when the project serves something
    else than the control: whoever promoted or rolled back by hand has decided.

    Parameters
    ----------
    state : State
        The experiment.
    served : str or None
        The id of the policy that the project serves.
    """
    experiment = state.experiment
    if state.status != "running":
        return None
    if served in experiment.candidates:
        return ArmPromoted(name=experiment.name, arm=str(served))
    if served != experiment.control:
        return ExperimentEnded(name=experiment.name, reason="the project serves another policy now")
    return _by_rule(state)


def _by_rule(state: ExperimentState) -> Decision | None:
    experiment = state.experiment
    live = [arm for arm in summarise(state).candidates if arm.stopped is None]
    if not live:
        return ExperimentEnded(name=experiment.name, reason="no candidate is left")
    for arm in live:
        if (stopped := _harmful(state, arm)) is not None:
            return stopped
    all_known = all(has_enough_judgements(state, arm.policy) for arm in live)
    if experiment.rule.promote and all_known and (winner := _winner(live)) is not None:
        return ArmPromoted(name=experiment.name, arm=winner.policy)
    if experiment.rule.horizon is not None and state.judged >= experiment.rule.horizon:
        reason = f"nothing was decided after {state.judged} judgements"
        return ExperimentEnded(name=experiment.name, reason=reason)
    return None


def _harmful(state: ExperimentState, arm: ArmSummary) -> ArmStopped | None:
    margin = state.experiment.rule.margin
    if not has_enough_judgements(state, arm.policy):
        return None
    for result in (arm.outcome, *arm.guards):
        difference = result.difference
        if difference is not None and difference.high < -margin:
            return ArmStopped(
                name=state.experiment.name,
                arm=arm.policy,
                reason=f"worse by {result.signal}",
                difference=difference,
            )
    return None


def _winner(live: list[ArmSummary]) -> ArmSummary | None:
    winning = [arm for arm in live if arm.verdict == "better" and not any(map(_worse, arm.guards))]
    return max(winning, key=_gain, default=None)


def _gain(arm: ArmSummary) -> float:
    return 0.0 if arm.outcome.difference is None else arm.outcome.difference.value


def _worse(found: SignalSummary) -> bool:
    return found.difference is not None and found.difference.high < 0

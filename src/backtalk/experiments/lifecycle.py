"""Lifecycle of experiments: start, stop and promote, manually or by the decision rule."""

from __future__ import annotations

import logging

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.evaluate.storage import save_evaluation
from backtalk.experiments.decision import Decision, decide
from backtalk.experiments.events import (
    TOPIC,
    ArmPromoted,
    ArmStopped,
    ExperimentEnded,
    ExperimentEvent,
    ExperimentStarted,
    append_event,
    read_events,
    running,
)
from backtalk.experiments.evidence import make_evaluation
from backtalk.experiments.experiment import Experiment
from backtalk.experiments.log_reader import ExperimentReader
from backtalk.experiments.state import ExperimentState
from backtalk.policy import read_policy
from backtalk.promotion import Gate, GateRefused, active_policy, promote, promotion_history
from backtalk.store import Store

log = logging.getLogger(__name__)

CONTROLLER = "backtalk"
"""Actor of decisions by the rule."""


def active_policy_id(store: Store) -> str | None:
    """Return the id of a project's active policy, without reading the policy."""
    past = promotion_history(store)
    return past[-1].promotion.policy if past else None


def list_experiments(store: Store) -> list[Experiment]:
    """Return all experiments of a project, oldest first."""
    return [
        event.what.experiment
        for event in read_events(store)
        if isinstance(event.what, ExperimentStarted)
    ]


def start(store: Store, experiment: Experiment, *, actor: str) -> ExperimentEvent:
    """Start an experiment: from now on its arms answer the project's requests.

    Parameters
    ----------
    store : Store
        Store of the project.
    experiment : Experiment
        New experiment.
    actor : str
        Name of the person who starts it.

    Raises
    ------
    NotFound
        If the project has no such candidate.
    BacktalkError
        If the control is not the active policy.
    Conflict
        If another experiment is running, or has the same name.
    """
    events = read_events(store)
    active = active_policy(store)
    if active is None or active.id != experiment.control:
        label = "nothing" if active is None else active.label
        raise BacktalkError(
            f"The control has to be the active policy of {store.project!r}, which is {label}",
            "Leave the control out, or promote a first policy",
        )
    for candidate in experiment.candidates:
        if (result := read_policy(store, candidate)).id != candidate:
            raise BacktalkError(
                f"{candidate!r} is not the id of a policy", f"Give its whole id, {result.id}"
            )
    if (other := running(events)) is not None:
        raise Conflict(
            f"The experiment {other.name!r} is running in project {store.project!r}",
            f"End it with: backtalk experiment stop {other.name}",
        )
    if any(event.name == experiment.name for event in events):
        raise Conflict(
            f"Project {store.project!r} already had an experiment {experiment.name!r}",
            "Choose another name",
        )
    after = events[-1].number if events else 0
    return append_event(store, ExperimentStarted(experiment=experiment), actor=actor, after=after)


def stop(store: Store, name: str, *, arm: str | None = None, actor: str) -> ExperimentEvent:
    """End an experiment, or remove one candidate from it.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str
        Name of the experiment.
    arm : str, optional
        Id of the candidate. Default: end the experiment.
    actor : str
        Name of the person who decides.

    Raises
    ------
    NotFound
        If the experiment is not running, or has no such candidate.
    """
    events = read_events(store)
    state = ExperimentReader(store, name).refresh(check=False)
    _require_running(state)
    if arm is None:
        what: Decision = ExperimentEnded(name=name, reason="stopped by hand")
    else:
        if arm not in state.active_arms[1:]:
            raise NotFound(
                f"The experiment {name!r} has no active candidate {arm[:8]!r}",
                "Name an active candidate; to stop the control, end the experiment",
            )
        what = ArmStopped(name=name, arm=arm, reason="stopped by hand")
    return append_event(store, what, actor=actor, after=events[-1].number)


def promote_arm(store: Store, name: str, *, arm: str | None = None, actor: str) -> ExperimentEvent:
    """Promote a candidate if the evidence from traffic passes the gate.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str
        Name of the experiment.
    arm : str, optional
        Id of the candidate. Default: the only active candidate.
    actor : str
        Name of the person who decides.

    Raises
    ------
    GateRefused
        If the gate refuses the candidate.
    NotFound
        If the experiment is not running, or has no such candidate.
    """
    state = ExperimentReader(store, name).refresh(check=True)
    _require_running(state)
    live = state.active_arms[1:]
    if arm is None and len(live) == 1:
        arm = live[0]
    if arm not in live:
        raise NotFound(
            f"The experiment {name!r} has {len(live)} active candidates",
            "Name the one to promote",
        )
    return _promote(store, state, arm, actor=actor)


def apply_rules(
    store: Store, reader: ExperimentReader, *, actor: str = CONTROLLER
) -> list[ExperimentEvent]:
    """Apply an experiment's decision rule until there is nothing left to decide.

    Safe to call repeatedly and from several processes: events are appended only after the last
    known one, so that no decision is made twice.

    Parameters
    ----------
    store : Store
        Store of the project.
    reader : ExperimentReader
        Reader of the experiment.
    actor : str, default CONTROLLER
        Name recorded as the actor of the decisions.

    Returns
    -------
    list of ExperimentEvent
        Events appended.
    """
    done: list[ExperimentEvent] = []
    while True:
        state = reader.refresh()
        decision = decide(state, active_policy_id(store))
        if decision is None:
            return done
        try:
            done.append(_execute(store, state, decision, actor=actor))
        except Conflict:
            log.info("Another process decided about the experiment %s", state.experiment.name)
            return done


def _execute(
    store: Store, state: ExperimentState, decision: Decision, *, actor: str
) -> ExperimentEvent:
    if not isinstance(decision, ArmPromoted):
        return append_event(store, decision, actor=actor, after=_last(store, state))
    try:
        return _promote(store, state, decision.arm, actor=actor)
    except GateRefused as refusal:
        reason = f"the gate refused: {refusal.what}"
        return append_event(
            store,
            ExperimentEnded(name=decision.name, reason=reason),
            actor=actor,
            after=_last(store, state),
        )


def _promote(store: Store, state: ExperimentState, arm: str, *, actor: str) -> ExperimentEvent:
    """Promote an arm unless it is active already after a crash, and append the event."""
    after = _last(store, state)
    past = promotion_history(store)
    if past and past[-1].promotion.policy == arm:
        evaluation_id = past[-1].promotion.evaluation
    else:
        evaluation = make_evaluation(state, arm)
        if evaluation is None:
            raise GateRefused(
                f"{arm[:8]} and the control do not both have judgements yet",
                "Wait for feedback",
            )
        gate = Gate(level=state.experiment.rule.level)
        if reasons := gate.reasons(evaluation, served=state.experiment.control):
            raise GateRefused(f"{arm[:8]} does not pass the gate. " + ". ".join(reasons))
        evaluation_id = save_evaluation(store, evaluation)
        promote(store, read_policy(store, arm), evaluation, actor=actor, gate=gate)
    event = ArmPromoted(name=state.experiment.name, arm=arm, evaluation=evaluation_id)
    return append_event(store, event, actor=actor, after=after)


def _last(store: Store, state: ExperimentState) -> int:
    """Return the number of the last event in the state; raise ``Conflict`` if there is a later one.

    No other experiment can start while one is running, so that all later events are its own.
    """
    known = state.events[-1].number
    if store.events.last(TOPIC) > known:
        raise Conflict(
            f"The experiment {state.experiment.name!r} changed in the meantime",
            "Check the change, and try again if it still applies",
        )
    return known


def _require_running(state: ExperimentState) -> None:
    if state.status != "running":
        raise NotFound(
            f"The experiment {state.experiment.name!r} has ended",
            "`backtalk experiment list` shows which are running",
        )

"""Starting, stopping and promoting: by hand, and by an experiment's own rule."""

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
"""Who decides where the rule does."""


def active_policy_id(store: Store) -> str | None:
    """Return the id of the policy that a project serves, without reading the policy."""
    past = promotion_history(store)
    return past[-1].promotion.policy if past else None


def running_experiment(store: Store) -> Experiment | None:
    """Return the experiment that runs in a project, ``None`` where none does."""
    return running(read_events(store))


def list_experiments(store: Store) -> list[Experiment]:
    """Return all experiments of a project, the oldest first."""
    return [
        event.what.experiment
        for event in read_events(store)
        if isinstance(event.what, ExperimentStarted)
    ]


def start(store: Store, experiment: Experiment, *, actor: str) -> ExperimentEvent:
    """Start an experiment: from now on its arms answer what the project is asked.

    Raises
    ------
    NotFound
        If the project serves nothing, or has no such candidate.
    BacktalkError
        If the control is not what is served.
    Conflict
        If another experiment runs, or has the name.
    """
    events = read_events(store)
    served = active_policy(store)
    if served is None or served.id != experiment.control:
        shown = "nothing" if served is None else served.label
        raise BacktalkError(
            f"The control has to be what project {store.project!r} serves, which is {shown}",
            "Leave the control out, or promote a first policy",
        )
    for candidate in experiment.candidates:
        if (result := read_policy(store, candidate)).id != candidate:
            raise BacktalkError(
                f"{candidate!r} is not the id of a policy", f"Give its whole id, {result.id}"
            )
    if (other := running(events)) is not None:
        raise Conflict(
            f"The experiment {other.name!r} runs in project {store.project!r}",
            f"End it with: backtalk experiment stop {other.name}",
        )
    if any(event.name == experiment.name for event in events):
        raise Conflict(
            f"There was an experiment {experiment.name!r} in project {store.project!r}",
            "Give it another name; what was found then stays on record",
        )
    after = events[-1].number if events else 0
    return append_event(store, ExperimentStarted(experiment=experiment), actor=actor, after=after)


def stop(store: Store, name: str, *, arm: str | None = None, actor: str) -> ExperimentEvent:
    """End an experiment, or take one candidate out of it.

    Parameters
    ----------
    store : Store
        The project.
    name : str
        Of the experiment.
    arm : str, optional
        A candidate's policy id; the whole experiment, if left out.
    who
        Who decides.

    Raises
    ------
    NotFound
        If no such experiment runs, or it has no such candidate.
    """
    events = read_events(store)
    state = ExperimentReader(store, name).refresh(check=False)
    _require_running(state)
    if arm is None:
        what: Decision = ExperimentEnded(name=name, reason="stopped by hand")
    else:
        if arm not in state.live[1:]:
            raise NotFound(
                f"The experiment {name!r} has no candidate {arm[:8]!r} that gets traffic",
                "Name one of its candidates; the control is stopped by ending the experiment",
            )
        what = ArmStopped(name=name, arm=arm, reason="stopped by hand")
    return append_event(store, what, actor=actor, after=events[-1].number)


def promote_arm(store: Store, name: str, *, arm: str | None = None, actor: str) -> ExperimentEvent:
    """Serve a candidate from now on, if what the traffic showed passes the gate.

    Parameters
    ----------
    store : Store
        The project.
    name : str
        Of the experiment.
    arm : str, optional
        A candidate's policy id; may be left out where there is one.
    who
        Who decides.

    Raises
    ------
    GateRefused
        If it does not pass.
    NotFound
        If no such experiment runs, or it has no such candidate.
    """
    state = ExperimentReader(store, name).refresh(check=True)
    _require_running(state)
    live = state.live[1:]
    if arm is None and len(live) == 1:
        arm = live[0]
    if arm not in live:
        raise NotFound(
            f"The experiment {name!r} has {len(live)} candidates that get traffic",
            "Name the one to promote",
        )
    return _promote(store, state, arm, actor=actor)


def apply_rules(
    store: Store, follower: ExperimentReader, *, actor: str = CONTROLLER
) -> list[ExperimentEvent]:
    """Do what an experiment's rule says, as far as there is anything to do.

    Whoever calls this, and however often: events are appended only after those that are known, so
    that nothing is done twice.

    Parameters
    ----------
    store : Store
        The project.
    follower : ExperimentReader
        Of the experiment.
    who
        Who is written down as having decided.

    Returns
    -------
    list of ExperimentEvent
        What was done.
    """
    done: list[ExperimentEvent] = []
    while True:
        state = follower.refresh()
        decision = decide(state, active_policy_id(store))
        if decision is None:
            return done
        try:
            done.append(_carry_out(store, state, decision, actor=actor))
        except Conflict:
            log.info("Somebody else decided about the experiment %s", state.experiment.name)
            return done


def _carry_out(
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
    """Promote an arm, unless that was done before the process ended, and write the end down."""
    after = _last(store, state)
    past = promotion_history(store)
    if past and past[-1].promotion.policy == arm:
        evaluation_id = past[-1].promotion.evaluation
    else:
        evaluation = make_evaluation(state, arm)
        if evaluation is None:
            raise GateRefused(
                f"Nobody has judged both {arm[:8]} and the control yet",
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
    """Return the number of the last event that the state knows, or refuse if there is a later one.

    While an experiment runs no other can start, so that all later events are its own.
    """
    known = state.events[-1].number
    if store.events.last(TOPIC) > known:
        raise Conflict(
            f"Something happened to the experiment {state.experiment.name!r} meanwhile",
            "Look at what changed, and try again if it still holds",
        )
    return known


def _require_running(state: ExperimentState) -> None:
    if state.status != "running":
        raise NotFound(
            f"The experiment {state.experiment.name!r} has ended",
            "`backtalk experiment list` lists those that run",
        )

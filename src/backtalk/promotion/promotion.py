"""Promotion of a policy through the gate, and rollback to the one before."""

from __future__ import annotations

from backtalk.errors import NotFound
from backtalk.evaluate.result import Evaluation
from backtalk.policy.origin import policy_origin
from backtalk.policy.policy import Policy
from backtalk.policy.storage import save_policy
from backtalk.promotion.alternatives import other_evidence
from backtalk.promotion.gate import Gate, GateRefused, circular_reasons
from backtalk.promotion.history import TOPIC, Promotion, promotion_history
from backtalk.store import Store


def promote(
    store: Store,
    policy: Policy,
    evaluation: Evaluation | None = None,
    *,
    actor: str,
    gate: Gate | None = None,
) -> Promotion:
    """Serve a policy from now on, if its evidence passes the gate.

    Parameters
    ----------
    store : Store
        Store of the project.
    policy : Policy
        Candidate; saved in the project if it is new.
    evaluation : Evaluation, optional
        Evidence for the candidate. Only the first policy of a project needs none.
    actor : str
        Name of the person or program that decides.
    gate : Gate, optional
        Thresholds for the evidence. Default: a 95 % lower bound of the win rate over the active
        policy above 0.5, on held-out or live prompts, and no guardrail shown to get worse. With any
        thresholds, the judge must be one that the candidate neither optimises nor learned from.

    Raises
    ------
    GateRefused
        If the evidence is missing or does not pass; the message lists the reasons.
    Conflict
        If another promotion happened at the same time.
    """
    gate = gate or Gate()
    after = store.events.last(TOPIC)
    history = promotion_history(store)[:after]
    served = history[-1].promotion.policy if history else None
    if served == policy.id:
        raise GateRefused(f"{policy.label} is served already")
    if evaluation is None:
        if served is not None:
            raise GateRefused(
                f"There is no evaluation of {policy.label} against the policy that is served",
                f"Make one with `backtalk evaluate {policy.label}`",
            )
    elif evaluation.candidate != policy.id:
        raise GateRefused(
            f"The evaluation {evaluation.id[:8]} is of {evaluation.candidate[:8]}, "
            f"not of {policy.label}",
            f"Make one with `backtalk evaluate {policy.label}`",
        )
    else:
        _require_pass(store, policy, evaluation, served, gate)
    save_policy(store, policy)
    promotion = Promotion(
        action="promote",
        policy=policy.id,
        previous=served,
        evaluation=None if evaluation is None else evaluation.id,
        gate=gate,
    )
    store.events.append(TOPIC, promotion.to_json(), actor=actor, after=after)
    return promotion


def _require_pass(
    store: Store, policy: Policy, evaluation: Evaluation, served: str | None, gate: Gate
) -> None:
    origin = policy_origin(policy, store, judge=evaluation.judge_info)
    reasons = gate.reasons(evaluation, served=served, origin=origin)
    if not reasons:
        return
    mend = "Collect more feedback or more held-out prompts, and learn again"
    if circular_reasons(evaluation, origin):
        mend = other_evidence(policy, origin, store)
    raise GateRefused(f"{policy.label} does not pass the gate. " + ". ".join(reasons), mend)


def rollback(store: Store, *, actor: str) -> Promotion:
    """Undo the last promotion that is still in effect, and serve the policy before it.

    Rolling back twice undoes two promotions.

    Raises
    ------
    NotFound
        If there is no promotion to undo.
    Conflict
        If another promotion happened at the same time.
    """
    after = store.events.last(TOPIC)
    in_effect: list[Promotion] = []
    for entry in promotion_history(store)[:after]:
        if entry.promotion.action == "promote":
            in_effect.append(entry.promotion)
        else:
            in_effect.pop()
    if not in_effect:
        raise NotFound(
            f"Project {store.project!r} has no promotion to roll back",
            "`backtalk status` shows the policy that is served",
        )
    undone = in_effect[-1]
    promotion = Promotion(action="rollback", policy=undone.previous, previous=undone.policy)
    store.events.append(TOPIC, promotion.to_json(), actor=actor, after=after)
    return promotion

"""Which policy a project serves: promoted on evidence, rolled back in one step, all on record."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from backtalk.errors import BacktalkError, NotFound
from backtalk.evaluate.result import Evaluation
from backtalk.feedback.record import Name, OptionalField, Probability, Record
from backtalk.policy.policy import Policy
from backtalk.policy.storage import read_policy, save_policy
from backtalk.store import Store

TOPIC = "promotion"


class GateRefused(BacktalkError):
    """A policy that did not prove itself."""


class Gate(Record):
    """What an evaluation has to show before its candidate is served."""

    win_rate: Probability = 0.5
    """The lower end of the win rate's interval has to lie above this."""
    level: Probability = 0.95
    """The least nominal coverage of that interval."""
    tolerance: OptionalField[Annotated[float, Field(ge=0)]] = None
    """How much worse a guard may be, on its own scale. A guard fails where its difference is shown
    to be below zero; with a tolerance, where it is not shown to be above minus that."""

    def reasons(self, evaluation: Evaluation, *, served: str | None) -> list[str]:
        """Return why the evaluation does not let its candidate pass, a sentence each."""
        results = []
        rate = evaluation.win_rate
        if rate.low <= self.win_rate:
            results.append(
                f"Its win rate of {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}] is not "
                f"shown to be above {self.win_rate:g}"
            )
        if rate.level < self.level:
            results.append(
                f"The interval of its win rate is at {rate.level:g}, the gate asks {self.level:g}"
            )
        if evaluation.split not in {"held-out", "live"}:
            results.append(
                f"It was evaluated on {evaluation.split} prompts, which it may have learned from"
            )
        if served is not None and evaluation.baseline != served:
            results.append(
                f"It was compared with {evaluation.baseline[:8]}, but {served[:8]} is served"
            )
        for guard in evaluation.guards:
            worse = guard.difference is not None and (
                guard.difference.high < 0
                if self.tolerance is None
                else guard.difference.low < -self.tolerance
            )
            if worse and guard.difference is not None:
                results.append(
                    f"{guard.name} gets worse by {-guard.difference.value:.3f} "
                    f"[{-guard.difference.high:.3f}, {-guard.difference.low:.3f}]"
                )
        return results


class Promotion(Record):
    """One entry in the history of what a project served."""

    action: Literal["promote", "rollback"]
    policy: OptionalField[Name] = None
    """What is served from then on; ``None`` after a rollback of the first promotion."""
    previous: OptionalField[Name] = None
    """What was served before."""
    evaluation: OptionalField[Name] = None
    """The evidence. The first policy of a project needs none: it has nothing to be better than."""
    gate: OptionalField[Gate] = None


class PromotionRecord(Record):
    """A promotion with who made it and when."""

    promotion: Promotion
    actor: Name
    time: datetime


def promotion_history(store: Store) -> list[PromotionRecord]:
    """Return all promotions and rollbacks of a project, the oldest first."""
    return [
        PromotionRecord(
            promotion=Promotion.model_validate_json(entry.body), actor=entry.actor, time=entry.time
        )
        for entry in store.journal.entries(TOPIC)
    ]


def active_policy(store: Store) -> Policy | None:
    """Return the policy that a project serves, ``None`` before the first promotion."""
    past = promotion_history(store)
    if not past or past[-1].promotion.policy is None:
        return None
    return read_policy(store, past[-1].promotion.policy)


def promote(
    store: Store,
    policy: Policy,
    evaluation: Evaluation | None = None,
    *,
    actor: str,
    gate: Gate | None = None,
) -> Promotion:
    """Serve a policy from now on, if the evidence lets it pass the gate.

    Parameters
    ----------
    store : Store
        The project.
    policy : Policy
        The candidate; kept in the project if it is not yet.
    evaluation : Evaluation, optional
        The evidence. Only the first policy of a project goes without.
    who
        Who decides.
    gate : Gate, optional
        What the evidence has to show; by default a 95 % lower bound of the win rate over the
        served policy above 0.5 on held-out or live prompts, and no guard worse.

    Raises
    ------
    GateRefused
        If it does not pass; the message says why.
    Conflict
        If somebody else promoted at the same time.
    """
    gate = gate or Gate()
    after = store.journal.last(TOPIC)
    past = promotion_history(store)[:after]
    served = past[-1].promotion.policy if past else None
    if served == policy.id:
        raise GateRefused(f"{policy.label} is what is served already")
    if evaluation is None:
        if served is not None:
            raise GateRefused(
                f"There is no evaluation of {policy.label} against what is served",
                f"Make one with: backtalk evaluate {policy.label} --against {served[:8]}",
            )
    elif evaluation.candidate != policy.id:
        raise GateRefused(
            f"The evaluation {evaluation.id[:8]} is of {evaluation.candidate[:8]}, "
            f"not of {policy.label}",
            f"Make one with: backtalk evaluate {policy.label}",
        )
    elif reasons := gate.reasons(evaluation, served=served):
        raise GateRefused(
            f"{policy.label} does not pass the gate. " + ". ".join(reasons),
            "Collect more feedback or more held-out prompts, and learn again",
        )
    save_policy(store, policy)
    promotion = Promotion(
        action="promote",
        policy=policy.id,
        previous=served,
        evaluation=None if evaluation is None else evaluation.id,
        gate=gate,
    )
    store.journal.append(TOPIC, promotion.to_json(), actor=actor, after=after)
    return promotion


def rollback(store: Store, *, actor: str) -> Promotion:
    """Serve again what was served before the last promotion that still stands.

    Rolling back twice goes back two promotions.

    Raises
    ------
    NotFound
        If there is nothing to undo.
    Conflict
        If somebody else promoted at the same time.
    """
    after = store.journal.last(TOPIC)
    standing: list[Promotion] = []
    for entry in promotion_history(store)[:after]:
        if entry.promotion.action == "promote":
            standing.append(entry.promotion)
        else:
            standing.pop()
    if not standing:
        raise NotFound(
            f"Project {store.project!r} has no promotion to roll back",
            "`backtalk status` shows what is served",
        )
    undone = standing[-1]
    promotion = Promotion(action="rollback", policy=undone.previous, previous=undone.policy)
    store.journal.append(TOPIC, promotion.to_json(), actor=actor, after=after)
    return promotion

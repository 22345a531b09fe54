"""Promotion history: promotions and rollbacks of a project, as entries of its event log."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.policy.policy import Policy
from backtalk.policy.storage import read_policy
from backtalk.promotion.gate import Gate
from backtalk.store import Store

TOPIC = "promotion"
"""Topic of the event log that promotions are stored under."""


class Promotion(Record):
    """Change of the policy that a project serves."""

    action: Literal["promote", "rollback"]
    policy: OptionalField[Name] = None
    """Id of the policy served from then on; ``None`` after a rollback of the first promotion."""
    previous: OptionalField[Name] = None
    """Id of the policy served before."""
    evaluation: OptionalField[Name] = None
    """Id of the evaluation that was the evidence. The first policy of a project needs none."""
    gate: OptionalField[Gate] = None
    """Gate that the evidence passed."""


class PromotionRecord(Record):
    """Promotion with its author and time."""

    promotion: Promotion
    actor: Name
    """Name of the person or program that decided."""
    time: datetime


def promotion_history(store: Store) -> list[PromotionRecord]:
    """Return all promotions and rollbacks of a project, the oldest first."""
    return [
        PromotionRecord(
            promotion=Promotion.model_validate_json(entry.body), actor=entry.actor, time=entry.time
        )
        for entry in store.events.entries(TOPIC)
    ]


def active_policy(store: Store) -> Policy | None:
    """Return the policy that a project serves, ``None`` before the first promotion."""
    history = promotion_history(store)
    if not history or history[-1].promotion.policy is None:
        return None
    return read_policy(store, history[-1].promotion.policy)

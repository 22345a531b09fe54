"""Promotion of policies: the gate, the promotion history, and rollback."""

from backtalk.promotion.gate import Gate, GateRefused
from backtalk.promotion.history import (
    Promotion,
    PromotionRecord,
    active_policy,
    promotion_history,
)
from backtalk.promotion.promotion import promote, rollback

__all__ = [
    "Gate",
    "GateRefused",
    "Promotion",
    "PromotionRecord",
    "active_policy",
    "promote",
    "promotion_history",
    "rollback",
]

"""Promotion: the gate, the history of what was served, rollback."""

from backtalk.promotion.promotion import (
    Gate,
    GateRefused,
    Promotion,
    PromotionRecord,
    active_policy,
    promote,
    promotion_history,
    rollback,
)

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

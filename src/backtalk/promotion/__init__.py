"""Promotion: the gate, the history of what was served, rollback."""

from backtalk.promotion.promotion import (
    Gate,
    GateRefused,
    Promotion,
    Served,
    history,
    promote,
    rollback,
    served_policy,
)

__all__ = [
    "Gate",
    "GateRefused",
    "Promotion",
    "Served",
    "history",
    "promote",
    "rollback",
    "served_policy",
]

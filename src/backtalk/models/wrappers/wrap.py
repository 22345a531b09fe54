"""Cache and budget around a model, in the right order."""

from __future__ import annotations

from backtalk.models.protocol import Model
from backtalk.models.wrappers.budgeted_model import BudgetedModel
from backtalk.models.wrappers.cache import CachedModel, ResponseCache
from backtalk.models.wrappers.ledger import Ledger, ModelRole


def wrap_model(
    model: Model,
    *,
    cache: ResponseCache | None = None,
    ledger: Ledger | None = None,
    role: ModelRole = "task",
) -> Model:
    """Return a model with a budget inside a cache, so that cached completions cost nothing.

    Parameters
    ----------
    model : Model
        Model to wrap.
    cache : ResponseCache, optional
        Cache for completions; none by default.
    ledger : Ledger, optional
        Ledger to charge; none by default.
    role : ModelRole, default "task"
        Purpose of the model, for the ledger.
    """
    budgeted = model if ledger is None else BudgetedModel(model, ledger, role=role)
    return budgeted if cache is None else CachedModel(budgeted, cache)

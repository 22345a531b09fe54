"""A model with a cache and a budget around it, in the right order."""

from __future__ import annotations

from backtalk.models.protocol import Model
from backtalk.models.wrappers.budgeted import BudgetedModel
from backtalk.models.wrappers.cache import CachedModel, ResponseCache
from backtalk.models.wrappers.ledger import Ledger, Role


def around(
    model: Model,
    *,
    cache: ResponseCache | None = None,
    ledger: Ledger | None = None,
    role: Role = "task",
) -> Model:
    """Put a budget around a model, and a cache around that, so that what is cached costs nothing.

    Parameters
    ----------
    model : Model
        What answers.
    cache : ResponseCache, optional
        Where completions are kept, if they are to be.
    ledger : Ledger, optional
        What is charged, if anything is.
    role : Role, default "task"
        What the model is used for.
    """
    metered = model if ledger is None else BudgetedModel(model, ledger, role=role)
    return metered if cache is None else CachedModel(metered, cache)

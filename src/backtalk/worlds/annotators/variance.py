"""Variance components of judgements: items, annotators, their interaction, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.errors import BacktalkError


@dataclass(frozen=True)
class VarianceComponents:
    """Variance of judgements by source, in squared units of the judgements."""

    items: float
    """Variance between items."""
    annotators: float
    """Variance between annotators: differences in leniency."""
    annotators_by_items: float
    """Variance of the interaction between annotators and items: differences in taste."""
    residual: float
    """Variance between repeated judgements of an item by an annotator; 0 without repeats."""


def variance_components(judgements: ArrayLike) -> VarianceComponents:
    """Estimate the variance components of judgements.

    Estimates of the two-way random-effects analysis of variance with interaction, truncated at 0:
    Searle, Casella and McCulloch (1992), "Variance components", section 4.3. Without repeated
    judgements, ``annotators_by_items`` includes the residual variance.

    Parameters
    ----------
    judgements : ArrayLike
        Complete table of shape ``(annotators, items)`` or ``(annotators, items, repeats)``, with
        at least two annotators and two items.

    Raises
    ------
    BacktalkError
        If the shape is another.
    """
    table: NDArray[np.float64] = np.asarray(judgements, dtype=float)
    if table.ndim == 2:
        table = table[:, :, None]
    if table.ndim != 3 or min(table.shape[:2]) < 2:
        raise BacktalkError(
            f"judgements have the shape {np.shape(judgements)}",
            "Pass one row for each annotator and one column for each item, at least two of both",
        )
    people, items, repeats = table.shape
    cells = table.mean(axis=2)
    by_person = cells.mean(axis=1, keepdims=True)
    by_item = cells.mean(axis=0, keepdims=True)
    within = (
        ((table - cells[:, :, None]) ** 2).sum() / (people * items * (repeats - 1))
        if repeats > 1
        else 0.0
    )
    rest = cells - by_person - by_item + cells.mean()
    mean_square = (rest**2).sum() / ((people - 1) * (items - 1))
    return VarianceComponents(
        items=max(0.0, float(by_item.var(ddof=1) - mean_square / people)),
        annotators=max(0.0, float(by_person.var(ddof=1) - mean_square / items)),
        annotators_by_items=max(0.0, float(mean_square - within / repeats)),
        residual=float(within),
    )

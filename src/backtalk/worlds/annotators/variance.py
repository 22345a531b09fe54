"""How much people differ, and how much one person differs from judgement to judgement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.errors import BacktalkError


@dataclass(frozen=True)
class Disagreement:
    """The variance of judgements, split by where it comes from, in squared units of them."""

    items: float
    """Between the items judged: what all agree on."""
    annotators: float
    """Between annotators: how generous each is."""
    tastes: float
    """Between annotators, an item at a time: what each alone finds in it."""
    probability: float
    """Between repeated judgements of one annotator on one item; 0 where there are none."""


def disagreement(judgements: ArrayLike) -> Disagreement:
    """Return where the variance of judgements comes from.

    The estimates of the two-way random-effects analysis of variance with interaction, none below
    0: Searle, Casella and McCulloch (1992), "Variance components", section 4.3. Without repeated
    judgements the interaction cannot be told from chance, and ``tastes`` holds both.

    Parameters
    ----------
    judgements : ArrayLike
        Shape ``(annotators, items)`` or ``(annotators, items, repeats)``, nothing missing, at
        least two annotators and items.

    Raises
    ------
    BacktalkError
        If the shape does not allow it.
    """
    table: NDArray[np.float64] = np.asarray(judgements, dtype=float)
    if table.ndim == 2:
        table = table[:, :, None]
    if table.ndim != 3 or min(table.shape[:2]) < 2:
        raise BacktalkError(
            f"judgements have the shape {np.shape(judgements)}",
            "Give one row an annotator and one column an item, at least two of each",
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
    return Disagreement(
        items=max(0.0, float(by_item.var(ddof=1) - mean_square / people)),
        annotators=max(0.0, float(by_person.var(ddof=1) - mean_square / items)),
        tastes=max(0.0, float(mean_square - within / repeats)),
        probability=float(within),
    )

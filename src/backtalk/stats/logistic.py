"""Logistic regression on fractional outcomes, and the test for separation."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtalk.stats.distributions import expit
from backtalk.stats.estimate import NotIdentified
from backtalk.stats.validation import Floats

CERTAIN = 1e-6
"""Distance from 0 or 1 below which an outcome counts as certain: a logit beyond 13.8."""

_MAX_STEP = 3.0


def fit_logistic(design: Floats, outcomes: Floats, weights: Floats | None = None) -> Floats:
    """Maximise the Bernoulli likelihood of fractional outcomes (Papke and Wooldridge 1996).

    Parameters
    ----------
    design : Floats
        Shape (n, p), of full column rank and not separated (see :func:`is_separated`).
    outcomes : Floats
        Shape (n,), in [0, 1].
    weights : Floats, optional
        Shape (n,), above 0. Default: all 1.

    Returns
    -------
    Floats
        Coefficients, shape (p,).

    Raises
    ------
    NotIdentified
        If Newton's method does not converge. It does if there is one maximum.
    """
    coefficients = np.zeros(design.shape[1])
    weighted = design if weights is None else design * weights[:, None]
    for _ in range(200):
        probabilities = expit(design @ coefficients)
        curvature = weighted.T @ (design * (probabilities * (1.0 - probabilities))[:, None])
        try:
            step = np.linalg.solve(curvature, weighted.T @ (outcomes - probabilities))
        except np.linalg.LinAlgError:
            break
        longest = float(np.abs(step).max())
        coefficients = coefficients + step * min(1.0, _MAX_STEP / max(longest, 1e-300))
        if longest < 1e-9 * (1.0 + float(np.abs(coefficients).max())):
            return coefficients
    raise NotIdentified(
        "The regression did not converge: outcomes are nearly certain, or columns nearly equal",
        "Gather more outcomes, or leave a column out",
    )


def is_separated(design: Floats, outcomes: Floats) -> bool:
    """Return true if the likelihood has no maximum, because it rises without bound.

    That is the case if some direction d has ``x'd >= 0`` for every outcome 1, ``<= 0`` for every
    outcome 0, ``= 0`` for every fractional outcome, and is not 0 for all (Albert and Anderson
    1984). A linear programme decides it exactly. Outcomes within ``CERTAIN`` of 0 or 1 count as 0
    or 1; otherwise a maximum would exist that measures only how near to certain they are.
    """
    between = (outcomes > CERTAIN) & (outcomes < 1.0 - CERTAIN)
    free = _null_space(design[between])
    if free.shape[1] == 0:
        return False
    signs = np.where(outcomes[~between] > 0.5, 1.0, -1.0)
    rows = (design[~between] * signs[:, None]) @ free
    rows = rows / np.maximum(np.abs(rows).max(1, keepdims=True), 1e-300)
    return len(rows) == 0 or _has_direction(rows)


def _null_space(matrix: Floats) -> Floats:
    """Return an orthonormal basis of the null space of the rows, shape (p, k)."""
    if len(matrix) == 0:
        return np.eye(matrix.shape[1])
    _, sizes, right = np.linalg.svd(np.linalg.qr(matrix, mode="r"))
    rank = int((sizes > 1e-10 * max(1.0, float(sizes.max()))).sum())
    return np.asarray(right[rank:].T)


def _has_direction(rows: Floats) -> bool:
    """Return true if some d in a box has rows @ d >= 0 with a positive sum."""
    best: Any = _linprog()(
        -rows.sum(0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=[(-1.0, 1.0)] * rows.shape[1]
    )
    return bool(-best.fun > 1e-7)


def _linprog() -> Any:
    from scipy.optimize import linprog  # noqa: PLC0415 - slow to import, and rarely needed

    return linprog

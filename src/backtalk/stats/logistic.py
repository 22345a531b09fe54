"""Logistic regression on outcomes that may be probabilities, and whether it has an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from backtalk.stats.distributions import expit
from backtalk.stats.estimate import NotIdentified
from backtalk.stats.validation import Floats

CERTAIN = 1e-6
"""How near to 0 or 1 an outcome is as good as certain: its logit is beyond 13.8."""

_LONGEST_STEP = 3.0


def fit_logistic(design: Floats, outcomes: Floats) -> Floats:
    """Maximise the Bernoulli likelihood, with fractional outcomes as in Papke and Wooldridge.

    Parameters
    ----------
    design : Floats
        Shape (n, p), of full column rank and not separated (see :func:`separated`).
    outcomes : Floats
        Shape (n,), in [0, 1].

    Returns
    -------
    coefficients
        Shape (p,).

    Raises
    ------
    NotIdentified
        If Newton's method does not settle, which it does where there is one maximum.
    """
    coefficients = np.zeros(design.shape[1])
    for _ in range(200):
        probabilities = expit(design @ coefficients)
        curvature = design.T @ (design * (probabilities * (1.0 - probabilities))[:, None])
        try:
            step = np.linalg.solve(curvature, design.T @ (outcomes - probabilities))
        except np.linalg.LinAlgError:
            break
        longest = float(np.abs(step).max())
        coefficients = coefficients + step * min(1.0, _LONGEST_STEP / max(longest, 1e-300))
        if longest < 1e-9 * (1.0 + float(np.abs(coefficients).max())):
            return coefficients
    raise NotIdentified(
        "The regression did not settle: outcomes are all but certain, or columns nearly the same",
        "Gather more outcomes, or leave a column out",
    )


def is_separated(design: Floats, outcomes: Floats) -> bool:
    """Whether the likelihood rises for ever in some direction, so that it has no maximum.

    That is so when some direction d has ``x'd >= 0`` wherever the outcome is 1, ``<= 0``
    wherever it is 0, ``= 0`` wherever it lies between, and is not 0 everywhere (Albert and
    Anderson 1984). Decided exactly, by a linear programme; only the rows that are not pinned
    by fractional ones are looked at. Outcomes within ``CERTAIN`` of 0 or 1 count as 0 or 1:
    there is a maximum then, but it says how near they are to certain and nothing else.
    """
    between = (outcomes > CERTAIN) & (outcomes < 1.0 - CERTAIN)
    free = _kernel(design[between])
    if free.shape[1] == 0:
        return False
    signs = np.where(outcomes[~between] > 0.5, 1.0, -1.0)
    rows = (design[~between] * signs[:, None]) @ free
    rows = rows / np.maximum(np.abs(rows).max(1, keepdims=True), 1e-300)
    return len(rows) == 0 or _some_direction(rows)


def _kernel(matrix: Floats) -> Floats:
    """An orthonormal basis of the directions that the rows do not see, shape (p, k)."""
    if len(matrix) == 0:
        return np.eye(matrix.shape[1])
    _, sizes, right = np.linalg.svd(np.linalg.qr(matrix, mode="r"))
    rank = int((sizes > 1e-10 * max(1.0, float(sizes.max()))).sum())
    return np.asarray(right[rank:].T)


def _some_direction(rows: Floats) -> bool:
    """Whether some d in a box has rows @ d >= 0 with a positive sum."""
    best: Any = _linprog()(
        -rows.sum(0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=[(-1.0, 1.0)] * rows.shape[1]
    )
    return bool(-best.fun > 1e-7)


def _linprog() -> Any:
    from scipy.optimize import linprog  # noqa: PLC0415 - slow to import, and rarely needed

    return linprog

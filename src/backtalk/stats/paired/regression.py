"""Bradley-Terry regression: the reward that is linear in features of a response.

``r(x, y) = w . phi(x, y)``, so that a comparison has the margin ``beta w . (phi(a) - phi(b))``,
with ``beta`` the reliability of who compared. The prior on the weights is Gaussian with a
precision of its own for each block of features, set where the evidence is greatest; the posterior
is its Laplace approximation.

MacKay (1992), "The evidence framework applied to classification networks", equations 2.12 and 2.13
for the precisions; Chen et al. (2013), "Pairwise ranking aggregation in a crowdsourced setting",
for the reliabilities, which here have a Gaussian prior around 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotri
from scipy.optimize import brentq

from backtalk.stats.paired import davidson_margins as davidson

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A fitted regression."""

    weights: Array
    """The posterior mean, shape ``(d,)``."""
    covariance: Array
    """The posterior covariance of the weights, shape ``(d, d)``."""
    precision: Array
    """The prior precision of each block."""
    nu: float
    """Davidson's tie parameter; 0 where nothing tied."""
    reliability: Array
    """One factor an annotator; around 1, near 0 for one who answers at random, negative for one
    who answers the opposite."""
    log_evidence: float
    """The Laplace approximation of the log marginal likelihood, in nats."""
    converged: bool


def fit(
    differences: Array,
    outcomes: Array,
    *,
    blocks: NDArray[np.intp],
    annotators: NDArray[np.intp] | None = None,
    precision: Array | None = None,
    start: Fit | None = None,
    reliability_std: float = 0.5,
    rounds: int = 30,
) -> Fit:
    """Fit the weights to comparisons.

    Parameters
    ----------
    differences : Array
        ``phi(a) - phi(b)`` of each comparison, shape ``(n, d)``, features on comparable scales.
    outcomes : Array
        How much of each comparison went to a, to b and to a tie, shape ``(n, 3)``.
    blocks : NDArray[np.intp]
        The block, from 0 up without gaps, that each feature belongs to, shape ``(d,)``.
    annotators : NDArray[np.intp], optional
        The number, from 0 up, of who made each comparison, shape ``(n,)``. All are taken to be
        equally reliable where it is left out.
    precision : Array, optional
        The prior precision of each block. Found by the evidence where it is left out.
    start : Fit, optional
        A fit to similar comparisons, to begin from. It saves time and does not move the answer:
        the likelihood is concave in the weights.
    reliability_std : float, default 0.5
        The standard deviation of the prior on an annotator's reliability.
    rounds : int, default 30
        The most alternations between weights, precisions, ties and reliabilities.
    """
    n, d = differences.shape
    find_precision = precision is None
    alpha = np.full(blocks.max(initial=-1) + 1, 10.0) if precision is None else precision.copy()
    beta = np.ones(1 if annotators is None else annotators.max(initial=0) + 1)
    annotator = np.zeros(n, dtype=np.intp) if annotators is None else annotators
    weights = np.zeros(d)
    nu = davidson.fit_nu(np.zeros(n), outcomes)
    if start is not None:
        weights, nu, beta = start.weights.copy(), start.nu, start.reliability.copy()
    counts = np.bincount(annotator, outcomes.sum(axis=1), minlength=len(beta))
    converged = False
    for _ in range(rounds):
        scaled = differences * beta[annotator][:, None]
        weights, factor = _posterior(
            scaled, outcomes, weights, alpha[blocks], nu=nu, tolerance=_ROUGH
        )
        before = np.concatenate([np.log(alpha), beta, [nu]])
        if find_precision:
            alpha = _evidence_precision(alpha, blocks, weights, np.diag(_inverse(factor)))
        if annotators is not None:
            beta = _reliability(differences @ weights, outcomes, annotator, nu, reliability_std)
            mean = float(np.average(beta, weights=counts))
            if mean > 0:
                # Only the product with the weights is known: the mean annotator counts one.
                beta, weights = beta / mean, weights * mean
        nu = davidson.fit_nu(scaled @ weights, outcomes)
        after = np.concatenate([np.log(alpha), beta, [nu]])
        if np.allclose(before, after, atol=1e-2, rtol=1e-2):
            converged = True
            break
    scaled = differences * beta[annotator][:, None]
    weights, factor = _posterior(scaled, outcomes, weights, alpha[blocks], nu=nu, tolerance=_EXACT)
    evidence = _log_evidence(scaled, outcomes, weights, factor, alpha[blocks], nu=nu)
    return Fit(weights, _inverse(factor), alpha, nu, beta, evidence, converged)


def _log_evidence(
    differences: Array,
    outcomes: Array,
    weights: Array,
    factor: Array,
    alpha: Array,
    *,
    nu: float,
) -> float:
    """Return the Laplace approximation of the log marginal likelihood, in nats."""
    log_prior = 0.5 * (np.log(alpha).sum() - alpha @ weights**2)
    log_volume = -np.log(np.diag(factor)).sum()
    return float(
        davidson.log_likelihood(differences @ weights, outcomes, nu) + log_prior + log_volume
    )


_ROUGH, _EXACT = 1e-5, 1e-10
"""By how much of itself the objective may still grow when Newton's method stops. It converges
quadratically: what is left after the last step is far less than that."""


def _posterior(
    differences: Array,
    outcomes: Array,
    start: Array,
    alpha: Array,
    *,
    nu: float,
    tolerance: float,
) -> tuple[Array, Array]:
    """Return the most probable weights and the Cholesky factor of their precision, by Newton."""

    def objective(weights: Array) -> float:
        likelihood = davidson.log_likelihood(differences @ weights, outcomes, nu)
        return likelihood - 0.5 * float(alpha @ weights**2)

    weights = start
    value = objective(weights)
    for _ in range(100):
        margin = differences @ weights
        slope = differences.T @ davidson.gradient(margin, outcomes, nu) - alpha * weights
        factor = _precision_factor(differences, margin, outcomes, alpha, nu)
        step = cho_solve((factor, False), slope)
        size = 1.0
        while (tried := objective(weights + size * step)) < value and size > 1e-8:
            size /= 2
        weights = weights + size * step
        gained, value = tried - value, tried
        if gained < tolerance * (1 + abs(value)):
            break
    return weights, factor


def _precision_factor(
    differences: Array, margin: Array, outcomes: Array, alpha: Array, nu: float
) -> Array:
    """Return the upper Cholesky factor of the weights' precision."""
    curvature = np.maximum(davidson.curvature(margin, outcomes, nu), 0)
    # Of the symmetric product only the upper half is computed, which is all that is read.
    precision = dsyrk(1.0, (differences * np.sqrt(curvature)[:, None]).T)
    precision[np.diag_indices_from(precision)] += alpha
    return np.asarray(cho_factor(precision, overwrite_a=True)[0])


def _inverse(factor: Array) -> Array:
    """Return the inverse of the matrix whose upper Cholesky factor is given."""
    inverse, _ = dpotri(factor)
    upper = np.triu(inverse)
    return np.asarray(upper + np.triu(inverse, 1).T)


_LEAST, _GREATEST = 1e-3, 1e6


def _evidence_precision(
    alpha: Array, blocks: NDArray[np.intp], weights: Array, variances: Array
) -> Array:
    """Return ``gamma / |w|^2`` a block, with gamma the number of well-determined weights."""
    size = np.bincount(blocks, minlength=len(alpha))
    uncertain = np.bincount(blocks, variances, minlength=len(alpha))
    norm = np.bincount(blocks, weights**2, minlength=len(alpha))
    determined = np.maximum(size - alpha * uncertain, 1e-6)
    return np.asarray(np.clip(determined / np.maximum(norm, 1e-12), _LEAST, _GREATEST))


def _reliability(
    margin: Array, outcomes: Array, annotator: NDArray[np.intp], nu: float, std: float
) -> Array:
    """Return each annotator's most probable factor on the margins."""
    count = int(annotator.max(initial=0)) + 1
    order = np.argsort(annotator, kind="stable")
    bounds = np.searchsorted(annotator[order], np.arange(count + 1))
    result = np.ones(count)
    for j in range(count):
        rows = order[bounds[j] : bounds[j + 1]]
        own_margin, own_outcomes = margin[rows], outcomes[rows]

        def slope(beta: float, m: Array = own_margin, o: Array = own_outcomes) -> float:
            return float(davidson.gradient(beta * m, o, nu) @ m) - (beta - 1) / std**2

        reach = 1 + std**2 * (float(np.abs(own_margin) @ own_outcomes.sum(axis=1)) + 1)
        result[j] = brentq(slope, -reach, reach)
    return result

"""Bradley-Terry regression: a reward that is linear in features of a response.

``r(x, y) = w . phi(x, y)``, so a comparison has the margin ``beta w . (phi(a) - phi(b))``, with
``beta`` the reliability of its annotator. The weights have a Gaussian prior with one precision
per block of features, chosen to maximise the evidence under a weak prior. The posterior is
approximated by Laplace's method.

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

from backtalk.stats.paired import davidson
from backtalk.stats.validation import Floats


@dataclass(frozen=True)
class RegressionFit:
    """A fitted regression."""

    weights: Floats
    """Posterior mean of the weights, shape ``(d,)``."""
    covariance: Floats
    """Posterior covariance of the weights, shape ``(d, d)``."""
    precision: Floats
    """Prior precision of each block of features, shape ``(blocks,)``."""
    nu: float
    """Davidson's tie parameter; 0 where nothing tied."""
    reliability: Floats
    """Factor on the margins of each annotator, shape ``(annotators,)``: around 1, near 0 for
    random answers, negative for opposite answers."""
    log_evidence: float
    """Laplace approximation of the log marginal likelihood, in nats."""
    converged: bool
    """True if the alternation stopped before its last round."""


def fit_regression(
    differences: Floats,
    outcomes: Floats,
    *,
    blocks: NDArray[np.intp],
    annotators: NDArray[np.intp] | None = None,
    precision: Floats | None = None,
    start: RegressionFit | None = None,
    reliability_std: float = 0.5,
    rounds: int = 30,
) -> RegressionFit:
    """Fit the weights to comparisons.

    Parameters
    ----------
    differences : Floats
        ``phi(a) - phi(b)`` of each comparison, shape ``(n, d)``; features on comparable scales.
    outcomes : Floats
        Weight of a, of b and of a tie in each comparison, shape ``(n, 3)``.
    blocks : NDArray[np.intp]
        Block number of each feature, from 0 up without gaps, shape ``(d,)``.
    annotators : NDArray[np.intp], optional
        Annotator number of each comparison, from 0 up, shape ``(n,)``. Default: all comparisons
        are equally reliable.
    precision : Floats, optional
        Prior precision of each block. Default: maximises the evidence.
    start : RegressionFit, optional
        Fit of similar comparisons to start from. It saves time and does not change the result,
        because the likelihood is concave in the weights.
    reliability_std : float, default 0.5
        Standard deviation of the prior on an annotator's reliability.
    rounds : int, default 30
        Maximum number of alternations between weights, precisions, ties and reliabilities.
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
            beta = _reliability(
                differences @ weights,
                outcomes,
                annotator,
                count=len(beta),
                nu=nu,
                std=reliability_std,
            )
            mean = float(np.average(beta, weights=counts))
            if mean > 0:
                # Only the product with the weights is identified: fix the mean reliability at 1.
                beta, weights = beta / mean, weights * mean
        nu = davidson.fit_nu(scaled @ weights, outcomes)
        after = np.concatenate([np.log(alpha), beta, [nu]])
        if np.allclose(before, after, atol=1e-2, rtol=1e-2):
            converged = True
            break
    scaled = differences * beta[annotator][:, None]
    weights, factor = _posterior(scaled, outcomes, weights, alpha[blocks], nu=nu, tolerance=_EXACT)
    evidence = _log_evidence(scaled, outcomes, weights, factor, alpha[blocks], nu=nu)
    return RegressionFit(weights, _inverse(factor), alpha, nu, beta, evidence, converged)


def _log_evidence(
    differences: Floats,
    outcomes: Floats,
    weights: Floats,
    factor: Floats,
    alpha: Floats,
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
"""Relative gain of the objective below which Newton's method stops. Convergence is quadratic, so
the remaining gain is far smaller."""


def _posterior(
    differences: Floats,
    outcomes: Floats,
    start: Floats,
    alpha: Floats,
    *,
    nu: float,
    tolerance: float,
) -> tuple[Floats, Floats]:
    """Return the posterior mode of the weights and the Cholesky factor of their precision."""

    def objective(weights: Floats) -> float:
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
        while (candidate := objective(weights + size * step)) < value and size > 1e-8:
            size /= 2
        weights = weights + size * step
        gain, value = candidate - value, candidate
        if gain < tolerance * (1 + abs(value)):
            break
    return weights, factor


def _precision_factor(
    differences: Floats, margin: Floats, outcomes: Floats, alpha: Floats, nu: float
) -> Floats:
    """Return the upper Cholesky factor of the weights' precision."""
    curvature = np.maximum(davidson.curvature(margin, outcomes, nu), 0)
    # Only the upper half of the symmetric product is computed and read.
    precision = dsyrk(1.0, (differences * np.sqrt(curvature)[:, None]).T)
    precision[np.diag_indices_from(precision)] += alpha
    return np.asarray(cho_factor(precision, overwrite_a=True)[0])


def _inverse(factor: Floats) -> Floats:
    """Return the inverse of a matrix from its upper Cholesky factor."""
    inverse, _ = dpotri(factor)
    upper = np.triu(inverse)
    return np.asarray(upper + np.triu(inverse, 1).T)


_MIN_PRECISION, _MAX_PRECISION = 1e-3, 1e6


def _evidence_precision(
    alpha: Floats, blocks: NDArray[np.intp], weights: Floats, variances: Floats
) -> Floats:
    """Return ``(gamma + 1) / (|w|^2 + 1/d)`` of each block of ``d`` weights.

    ``gamma`` is the number of well-determined weights. The precision has a gamma prior with mean
    ``d``, where the margins of features on the scale of 1 have the variance 1, and the weight of
    one observation: Tipping (2001), "Sparse Bayesian learning and the relevance vector machine",
    appendix A. Without it, few comparisons of noise may choose a large scale.
    """
    size = np.bincount(blocks, minlength=len(alpha))
    uncertain = np.bincount(blocks, variances, minlength=len(alpha))
    norm = np.bincount(blocks, weights**2, minlength=len(alpha))
    determined = np.maximum(size - alpha * uncertain, 1e-6)
    precision = (determined + 1.0) / (norm + 1.0 / np.maximum(size, 1))
    return np.asarray(np.clip(precision, _MIN_PRECISION, _MAX_PRECISION))


def _reliability(
    margin: Floats,
    outcomes: Floats,
    annotator: NDArray[np.intp],
    *,
    count: int,
    nu: float,
    std: float,
) -> Floats:
    """Return the posterior mode of each annotator's factor on the margins.

    The factor of an annotator without comparisons is 1.
    """
    order = np.argsort(annotator, kind="stable")
    bounds = np.searchsorted(annotator[order], np.arange(count + 1))
    result = np.ones(count)
    for j in range(count):
        rows = order[bounds[j] : bounds[j + 1]]
        group_margin, group_outcomes = margin[rows], outcomes[rows]

        def slope(beta: float, m: Floats = group_margin, o: Floats = group_outcomes) -> float:
            return float(davidson.gradient(beta * m, o, nu) @ m) - (beta - 1) / std**2

        reach = 1 + std**2 * (float(np.abs(group_margin) @ group_outcomes.sum(axis=1)) + 1)
        result[j] = brentq(slope, -reach, reach)
    return result

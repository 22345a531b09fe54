"""Choice of the interval for a mean, by the kind of values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues, NoSpread
from backtalk.stats.intervals.binomial import exact_interval, wilson_interval
from backtalk.stats.intervals.bootstrap import bootstrap
from backtalk.stats.intervals.means import bounded_interval, score_interval, t_interval
from backtalk.stats.validation import Floats, bounded_values, finite_values, group_numbers

METHODS = ("auto", "exact", "wilson", "score", "bounded", "t", "bootstrap")
"""Names of the intervals."""

_MIN_WILSON_VALUES = 50
_MIN_WILSON_COUNT = 15


def mean_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
    method: str = "auto",
    seed: int = 0,
) -> Estimate:
    """Estimate a mean with the interval that covers best for its kind of values.

    The choice rests on simulated coverage (``docs/statistics.md``).

    ========================== =====================================================
    values                     interval
    ========================== =====================================================
    zeros and ones             Wilson; exact below 50 values, or below 15 of a kind
    other bounded, or clusters score
    without bounds             studentised bootstrap; t below 10 values or clusters
    ========================== =====================================================

    Parameters
    ----------
    values : ArrayLike
        Shape (n,).
    clusters : ArrayLike, optional
        Cluster label of each value, such as its prompt, shape (n,). Default: values are
        independent.
    bounds : tuple[float, float] or None, default (0.0, 1.0)
        Ends of the scale; None if it has none.
    level : float, default 0.95
        Nominal coverage.
    method : str, default "auto"
        Interval, one of ``METHODS``; ``auto`` chooses as in the table.
    seed : int, default 0
        Seed of the bootstrap.

    Raises
    ------
    InvalidValues
        If a value is missing or out of bounds, or the method does not fit the values.
    NoSpread
        If the mean is unbounded, or the method needs no bounds, and no two values differ.
    """
    array = finite_values(values) if bounds is None else bounded_values(values, bounds)
    chosen = _choose(array, clusters, bounds) if method == "auto" else method
    if chosen in ("exact", "wilson"):
        low, high = bounds or (0.0, 1.0)
        if clusters is not None or not _is_binary(array, (low, high)):
            raise InvalidValues(
                f"The method {chosen!r} is for zeros and ones without clusters",
                "Use method='score'",
            )
        won = round(float((array - low).sum() / (high - low)))
        result = (exact_interval if chosen == "exact" else wilson_interval)(
            won, array.size, level=level
        )
        return result.transform(high - low, low)
    if chosen in ("score", "bounded"):
        if bounds is None:
            raise InvalidValues(f"The method {chosen!r} needs bounds", "Pass bounds=(low, high)")
        interval = score_interval if chosen == "score" else bounded_interval
        return interval(array, clusters, bounds=bounds, level=level)
    try:
        if chosen == "t":
            return t_interval(array, clusters, level=level)
        if chosen == "bootstrap":
            return bootstrap(array, clusters, level=level, seed=seed)
    except NoSpread as error:
        mend = "Use method='auto'" if bounds else "Pass bounds=, the ends of the scale"
        raise NoSpread(error.what, mend) from None
    raise InvalidValues(f"There is no interval {method!r}", f"Known: {', '.join(METHODS)}")


def _choose(array: Floats, clusters: ArrayLike | None, bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        count = array.size if clusters is None else group_numbers(clusters, array.size)[1]
        return "t" if count < 10 else "bootstrap"
    if clusters is None and _is_binary(array, bounds):
        rarer = min(int((array == end).sum()) for end in bounds)
        return "exact" if array.size < _MIN_WILSON_VALUES or rarer < _MIN_WILSON_COUNT else "wilson"
    return "score"


def _is_binary(array: Floats, bounds: tuple[float, float]) -> bool:
    return bool(np.isin(array, bounds).all())

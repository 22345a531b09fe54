"""Bradley-Terry strengths of items from paired comparisons, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from backtalk.errors import UnknownName
from backtalk.stats.distributions import expit, normal_quantile, t_quantile
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.labels import encode_together, known_labels
from backtalk.stats.paired.identifiability import (
    beats_matrix,
    require_connected,
    require_cycle,
    result_matrix,
)
from backtalk.stats.paired.strengths import Comparisons, fit_strengths, sandwich_covariance
from backtalk.stats.validation import (
    Floats,
    Ints,
    check_level,
    finite_values,
    group_numbers,
    is_number,
    probability_values,
    require_same_length,
)

Ties = Literal["half", "davidson"]


@dataclass(frozen=True)
class BradleyTerry:
    """Strengths of items with their covariance.

    Attributes
    ----------
    items
        Names of the items.
    strengths
        Log-strengths, in the order of the items, with mean 0. The probability that i is preferred
        to j, given no tie, is ``expit(strengths[i] - strengths[j])``.
    covariance
        Covariance of the strengths, shape ``(items, items)``.
    tie
        Davidson's nu: two equal items tie with probability nu / (2 + nu). None if a tie counted
        as half a win.
    ridge
        Penalty on the strengths, 0 for maximum likelihood.
    n
        Number of comparisons, with their weights.
    clusters, level
        See :class:`Estimate`.
    """

    items: tuple[Any, ...]
    strengths: tuple[float, ...]
    covariance: Floats = field(repr=False, compare=False)
    tie: float | None
    ridge: float
    n: int
    clusters: int | None
    level: float

    @property
    def regularised(self) -> bool:
        """True if a penalty shrinks the strengths towards each other."""
        return self.ridge > 0

    def order(self) -> tuple[Any, ...]:
        """Return the items from the strongest to the weakest."""
        ranked = np.argsort(-np.asarray(self.strengths), kind="stable")
        return tuple(self.items[number] for number in ranked)

    def strength(self, item: Any) -> Estimate:
        """Estimate the log-strength of an item above the mean of all items."""
        contrast = np.full(len(self.items), -1.0 / len(self.items))
        contrast[self._index(item)] += 1.0
        return self._estimate(contrast)

    def difference(self, first: Any, second: Any) -> Estimate:
        """Estimate the log-strength of the first item above the second."""
        contrast = np.zeros(len(self.items))
        contrast[self._index(first)] += 1.0
        contrast[self._index(second)] -= 1.0
        return self._estimate(contrast)

    def probability(self, first: Any, second: Any) -> Estimate:
        """Estimate the probability that the first item is preferred to the second, given no tie."""
        logit = self.difference(first, second)
        value, low, high = expit([logit.value, logit.low, logit.high])
        return replace(logit, value=float(value), low=float(low), high=float(high))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings and the strength of each item with its interval, ready for JSON."""
        return {
            "strengths": {str(item): self.strength(item).to_dict() for item in self.items},
            "tie": self.tie,
            "ridge": self.ridge,
            "n": self.n,
            "clusters": self.clusters,
            "level": self.level,
        }

    def _index(self, item: Any) -> int:
        if item not in self.items:
            known = [str(name) for name in self.items]
            raise UnknownName.among("item", str(item), known)
        return self.items.index(item)

    def _estimate(self, contrast: Floats) -> Estimate:
        value = float(contrast @ np.asarray(self.strengths))
        tail = 0.5 + self.level / 2
        if self.clusters is None or self.regularised:
            quantile = normal_quantile(tail)
        else:
            quantile = float(t_quantile(tail, max(self.clusters - 1, 1)))
        reach = quantile * max(float(contrast @ self.covariance @ contrast), 0.0) ** 0.5
        method = f"posterior, ridge {self.ridge:g}" if self.regularised else "sandwich"
        return Estimate(
            value, value - reach, value + reach, self.level, self.n, self.clusters, method
        )


def bradley_terry(
    first: Sequence[Any] | ArrayLike,
    second: Sequence[Any] | ArrayLike,
    outcomes: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    items: Sequence[Any] | None = None,
    ties: Ties = "half",
    ridge: float = 0.0,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> BradleyTerry:
    """Estimate strengths by maximum likelihood (Bradley and Terry 1952; ties: Davidson 1970).

    Parameters
    ----------
    first, second : Sequence[Any] | ArrayLike
        The two items of each comparison, shape ``(n,)``.
    outcomes : ArrayLike
        Shape ``(n,)``, in [0, 1]: 1 if the first item was preferred, 0 if the second was, 1/2 for
        a tie. With ``ties="half"`` also the probability that the first is preferred.
    weights : ArrayLike, optional
        Number of comparisons in each row, shape ``(n,)``. Default: one each.
    items : sequence of Any, optional
        Names of all items. Default: those in the comparisons, sorted.
    ties : Ties, default "half"
        ``half`` counts a tie as half a win for either item; ``davidson`` gives a tie the
        probability ``nu sqrt(s_i s_j) / (s_i + s_j + nu sqrt(s_i s_j))``.
    ridge : float, default 0.0
        Penalty ``ridge / 2 * sum strength²``. The result is then the mode under a normal prior
        of variance 1 / ridge, and intervals are posterior intervals without a coverage
        guarantee.
    clusters : ArrayLike, optional
        Cluster label of each row, such as its prompt, shape ``(n,)``. Default: rows are
        independent.
    level : float, default 0.95
        Nominal coverage. Without a ridge the covariance is a sandwich, which is also valid for
        soft outcomes and halved ties.

    Raises
    ------
    NotIdentified
        If there is no ridge and some items never met the others, never lost to them, or never
        beat them.
    InvalidValues
        If lengths differ, an item is missing or of another type than the others, or an outcome, a
        weight or an option is out of range.
    """
    names, index_a, index_b = _encode_items(first, second, items)
    results = probability_values(outcomes, "outcomes")
    counts = np.ones(len(results)) if weights is None else finite_values(weights, "weights")
    require_same_length(first=index_a, second=index_b, outcomes=results, weights=counts)
    if (counts <= 0).any():
        raise InvalidValues("A weight is not positive", "Leave out rows of weight 0")
    groups = None if clusters is None else group_numbers(clusters, len(results))
    if groups is not None and groups[1] < 2:
        raise InvalidValues("There is one cluster", "Give clusters=None, or gather more clusters")
    tied = results == 0.5
    soft = ~tied & (results > 0) & (results < 1)
    if ties not in ("half", "davidson"):
        raise InvalidValues(f"There is no treatment of ties {ties!r}", "Known: half, davidson")
    if ties == "davidson" and soft.any():
        raise InvalidValues(
            f"Davidson's model has no outcome {results[soft][0]:g}", "Use ties='half'"
        )
    separate = ties == "davidson" and bool(tied.any())
    if separate and tied.all():
        raise NotIdentified(
            "All comparisons are ties, so the tie parameter has no maximum likelihood estimate",
            "Use ties='half'",
        )
    if not is_number(ridge) or not 0 <= ridge < math.inf:
        raise InvalidValues(f"The ridge is {ridge!r}", "Give 0 or more")
    if ridge == 0:
        require_connected(names, beats_matrix(index_a, index_b, results, len(names)))
        if separate:
            wins = beats_matrix(index_a[~tied], index_b[~tied], results[~tied], len(names))
            require_cycle(names, wins, result_matrix(index_a, index_b, tied, len(names)))
    shares = np.stack([results, 1.0 - results, np.zeros(len(results))], axis=1)
    if separate:
        shares[tied] = (0.0, 0.0, 1.0)
    data = Comparisons(index_a, index_b, shares, counts, len(names), separate)
    parameters, inverse = fit_strengths(data, ridge)
    covariance = inverse if ridge > 0 else sandwich_covariance(data, parameters, inverse, groups)
    nu = float(np.exp(parameters[-1])) if separate else 0.0
    return BradleyTerry(
        items=names,
        strengths=tuple(float(value) for value in parameters[: len(names)]),
        covariance=covariance[: len(names), : len(names)],
        tie=nu if ties == "davidson" else None,
        ridge=ridge,
        n=round(float(counts.sum())),
        clusters=None if groups is None else groups[1],
        level=check_level(level),
    )


def _encode_items(
    first: Sequence[Any] | ArrayLike, second: Sequence[Any] | ArrayLike, items: Any
) -> tuple[tuple[Any, ...], Ints, Ints]:
    numbers, present = encode_together(first=first, second=second)
    names = tuple(present if items is None else known_labels(present, items, "items"))
    index = {name: number for number, name in enumerate(names)}
    order = np.array([index[name] for name in present], dtype=np.intp)
    codes = [order[column] for column in numbers]
    same = np.flatnonzero(codes[0] == codes[1])
    if same.size:
        raise InvalidValues(
            f"Row {same[0]} compares {names[codes[0][same[0]]]!r} with itself", "Leave it out"
        )
    return names, codes[0], codes[1]

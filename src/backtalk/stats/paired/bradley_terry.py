"""How strong items are, from comparisons of two at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from backtalk.errors import UnknownName
from backtalk.stats.distributions import expit, normal_quantile, t_quantile
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.paired.davidson import Comparisons, fit, sandwich
from backtalk.stats.paired.identifiability import (
    beats_matrix,
    require_connected,
    require_cycle,
    result_matrix,
)
from backtalk.stats.validation import (
    Floats,
    Ints,
    groups_of,
    level_of,
    probabilities_of,
    same_length,
    values_of,
)

Ties = Literal["half", "davidson"]


@dataclass(frozen=True)
class BradleyTerry:
    """Strengths of items and how well they are known.

    Attributes
    ----------
    items
        Their names.
    strengths
        Log-strengths, in the order of the items, with mean 0. The chance that i is preferred
        to j, ties set aside, is ``expit(strengths[i] - strengths[j])``.
    covariance
        Of the strengths, shape (items, items).
    tie
        Davidson's nu: a tie of equals has chance nu / (2 + nu). None if ties counted half.
    ridge
        The penalty, 0 for maximum likelihood.
    n, clusters, level
        As in :class:`Estimate`; n counts comparisons with their weights.
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
        """Whether a penalty pulls the strengths together."""
        return self.ridge > 0

    def order(self) -> tuple[Any, ...]:
        """The items from the strongest to the weakest."""
        ranked = np.argsort(-np.asarray(self.strengths), kind="stable")
        return tuple(self.items[number] for number in ranked)

    def strength(self, item: Any) -> Estimate:
        """The log-strength of an item above the mean of all."""
        contrast = np.full(len(self.items), -1.0 / len(self.items))
        contrast[self._place(item)] += 1.0
        return self._contrast(contrast)

    def difference(self, first: Any, second: Any) -> Estimate:
        """The log-strength of one item above another."""
        contrast = np.zeros(len(self.items))
        contrast[self._place(first)] += 1.0
        contrast[self._place(second)] -= 1.0
        return self._contrast(contrast)

    def probability(self, first: Any, second: Any) -> Estimate:
        """The chance that one item is preferred to another, ties set aside."""
        log = self.difference(first, second)
        value, low, high = expit([log.value, log.low, log.high])
        return replace(log, value=float(value), low=float(low), high=float(high))

    def to_dict(self) -> dict[str, Any]:
        """The settings and the strength of each item with its interval, ready for JSON."""
        return {
            "strengths": {str(item): self.strength(item).to_dict() for item in self.items},
            "tie": self.tie,
            "ridge": self.ridge,
            "n": self.n,
            "clusters": self.clusters,
            "level": self.level,
        }

    def _place(self, item: Any) -> int:
        if item not in self.items:
            known = [str(name) for name in self.items]
            raise UnknownName.among("item", str(item), known)
        return self.items.index(item)

    def _contrast(self, contrast: Floats) -> Estimate:
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
        Shape (n,): the two items of each comparison.
    outcomes : ArrayLike
        Shape (n,), in [0, 1]: 1 where the first was preferred, 0 where the second was, 1/2 for
        a tie; with ``ties="half"`` also the probability that the first is preferred.
    weights : ArrayLike, optional
        How many comparisons each row stands for; one each, if not given.
    items : sequence of Any, optional
        All items; those that occur, sorted, if not given.
    ties : Ties, default "half"
        ``half`` counts a tie as half a win for either; ``davidson`` gives ties a chance of
        their own, ``nu sqrt(s_i s_j) / (s_i + s_j + nu sqrt(s_i s_j))``.
    ridge : float, default 0.0
        Penalty ``ridge / 2 * sum strength²``. The answer is then the mode under a normal prior
        of variance 1 / ridge, and intervals are of its posterior; their coverage is not
        assured.
    clusters : ArrayLike, optional
        One label per row, such as its prompt, where rows share a cause.
    level : float, default 0.95
        Nominal coverage. Without a ridge the covariance is a sandwich, right for soft outcomes
        and halved ties too.

    Raises
    ------
    NotIdentified
        If no ridge is given and strengths have no best value: some items never met the
        others, never lost to them, or never beat them.
    """
    names, one, other = _sides(first, second, items)
    results = probabilities_of(outcomes, "outcomes")
    counts = np.ones(len(results)) if weights is None else values_of(weights, "weights")
    same_length(first=one, second=other, outcomes=results, weights=counts)
    if (counts <= 0).any():
        raise InvalidValues("A weight is not positive", "Leave out comparisons that do not count")
    groups = None if clusters is None else groups_of(clusters, len(results))
    if groups is not None and groups[1] < 2:
        raise InvalidValues("There is one cluster", "Give clusters=None, or gather more clusters")
    tied = results == 0.5
    soft = ~tied & (results > 0) & (results < 1)
    if ties not in ("half", "davidson"):
        raise InvalidValues(f"There is no way with ties {ties!r}", "Known: half, davidson")
    if ties == "davidson" and soft.any():
        raise InvalidValues(
            f"Davidson's model has no outcome {results[soft][0]:g}", "Use ties='half'"
        )
    separate = ties == "davidson" and bool(tied.any())
    if separate and tied.all():
        raise NotIdentified(
            "All comparisons are ties, so that nothing limits their chance", "Use ties='half'"
        )
    if ridge < 0:
        raise InvalidValues(f"The ridge is {ridge}", "Give 0 or more")
    if ridge == 0:
        require_connected(names, beats_matrix(one, other, results, len(names)))
        if separate:
            wins = beats_matrix(one[~tied], other[~tied], results[~tied], len(names))
            require_cycle(names, wins, result_matrix(one, other, tied, len(names)))
    data = Comparisons(one, other, results, counts, len(names), separate)
    parameters, inverse = fit(data, ridge)
    covariance = inverse if ridge > 0 else sandwich(data, parameters, inverse, groups)
    nu = float(np.exp(parameters[-1])) if separate else 0.0
    return BradleyTerry(
        items=names,
        strengths=tuple(float(value) for value in parameters[: len(names)]),
        covariance=covariance[: len(names), : len(names)],
        tie=nu if ties == "davidson" else None,
        ridge=ridge,
        n=round(float(counts.sum())),
        clusters=None if groups is None else groups[1],
        level=level_of(level),
    )


def _sides(
    first: Sequence[Any] | ArrayLike, second: Sequence[Any] | ArrayLike, items: Any
) -> tuple[tuple[Any, ...], Ints, Ints]:
    one, other = np.asarray(first), np.asarray(second)
    same_length(first=one, second=other)
    if one.size == 0:
        raise InvalidValues("There are no comparisons", "Give at least one")
    results = np.unique(np.concatenate([one, other])).tolist()
    names = tuple(results if items is None else items)
    place = {name: number for number, name in enumerate(names)}
    unknown = [name for name in results if name not in place]
    if unknown:
        raise InvalidValues(f"{unknown[0]!r} is not among the items", "Name all items")
    codes = [
        np.array([place[name] for name in side.tolist()], dtype=np.intp) for side in (one, other)
    ]
    same = np.flatnonzero(codes[0] == codes[1])
    if same.size:
        raise InvalidValues(
            f"Row {same[0]} compares {names[codes[0][same[0]]]!r} with itself", "Leave it out"
        )
    return names, codes[0], codes[1]

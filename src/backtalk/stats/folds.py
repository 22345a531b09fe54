"""Folds for cross-validation that keep what belongs together in one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.stats.estimate import InvalidValues
from backtalk.stats.validation import Ints


def group_folds(keys: Sequence[str], k: int, *, seed: int = 0) -> Ints:
    """Number the fold of each item, all items of one key in one fold.

    Keys are shuffled, then dealt from the most frequent to the least, each to the fold that
    has the fewest items so far.

    Parameters
    ----------
    keys : sequence of str
        One key per item.
    k : int
        The number of folds, at least 2 and at most the number of different keys.
    seed : int, default 0
        Of the shuffle.

    Returns
    -------
    folds
        Shape (n,), in 0..k-1.
    """
    names, numbers, sizes = np.unique(
        np.asarray(keys, dtype=str), return_inverse=True, return_counts=True
    )
    if not 2 <= k <= len(names):
        raise InvalidValues(
            f"{len(names)} different keys cannot make {k} folds", "Give 2 <= k <= keys"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    fold_of = np.empty(len(names), dtype=np.intp)
    filled = [0] * k
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        smallest = min(range(k), key=filled.__getitem__)
        fold_of[group] = smallest
        filled[smallest] += int(sizes[group])
    return fold_of[numbers]

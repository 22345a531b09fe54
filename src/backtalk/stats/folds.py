"""Grouped folds for cross-validation: all items with one key are in one fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.stats.estimate import InvalidValues
from backtalk.stats.labels import Ints, encode


def group_folds(keys: Sequence[str], k: int, *, seed: int = 0) -> Ints:
    """Return the fold number of each item; all items with one key are in one fold.

    Keys are shuffled, then dealt from the most frequent to the least, each to the fold that
    has the fewest items so far.

    Parameters
    ----------
    keys : sequence of str
        Key of each item, length n.
    k : int
        Number of folds, from 2 to the number of different keys.
    seed : int, default 0
        Seed of the shuffle.

    Returns
    -------
    Ints
        Shape (n,), in 0..k-1.

    Raises
    ------
    InvalidValues
        If there are fewer than ``k`` different keys, ``k`` is below 2, or a key is missing.
    """
    numbers, names = encode(keys, "keys")
    sizes = np.bincount(numbers)
    if not 2 <= k <= len(names):
        raise InvalidValues(
            f"{len(names)} different keys cannot make {k} folds", "Give 2 <= k <= keys"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    key_folds = np.empty(len(names), dtype=np.intp)
    filled = [0] * k
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        smallest = min(range(k), key=filled.__getitem__)
        key_folds[group] = smallest
        filled[smallest] += int(sizes[group])
    return key_folds[numbers]

"""Which prompts are kept for the final word, and which may be learned from."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np

from backtalk.evaluate.arrays import Ints
from backtalk.evaluate.estimate import InvalidValues

Split = Literal["train", "held-out"]


def split_of(key: str, *, held_out: float = 0.2, salt: str = "backtalk") -> Split:
    """Say on which side of the split a prompt lies, by its key alone.

    The answer depends on nothing but the arguments: not on the other prompts, their order, or
    the process. A prompt that is held out at one share is held out at every larger one.

    Parameters
    ----------
    key
        What is split: a prompt's id or text. Give the same key for prompts that share a cause.
    held_out
        The share that is held out, in [0, 1].
    salt
        Another salt gives another split.
    """
    if not 0 <= held_out <= 1:
        raise InvalidValues(f"held_out is {held_out}", "Give a share in [0, 1]")
    digest = blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return "held-out" if int.from_bytes(digest) < held_out * 2.0**64 else "train"


def group_folds(keys: Sequence[str], k: int, *, seed: int = 0) -> Ints:
    """Number the fold of each item, all items of one key in one fold.

    Keys are shuffled, then dealt from the most frequent to the least, each to the fold that
    has the fewest items so far.

    Parameters
    ----------
    keys
        One key per item.
    k
        The number of folds, at least 2 and at most the number of different keys.
    seed
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

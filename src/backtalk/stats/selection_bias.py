"""Selection bias: the optimism in the score of the best of several candidates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues, NoSpread
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats, float_array

_MAX_CELLS = 4_000_000


@dataclass(frozen=True)
class Selection:
    """Best of several candidates, with its score on held-out prompts.

    Attributes
    ----------
    winner
        Index of the candidate with the highest mean on the selection prompts; the first of ties.
    apparent
        Mean of the winner on the selection prompts. It and its interval are biased upwards,
        because they ignore the selection. None if no interval exists: the scores have no bounds,
        and no two of them differ.
    optimism
        Expected bias of the winner's mean, by the bootstrap: each resample of the selection
        prompts has its own winner, whose mean there is compared with its mean on all selection
        prompts (Efron 1983).
    unseen
        Mean of the winner on the held-out prompts, unbiased; None if no prompt was held out, or
        no interval exists.
    means
        Mean of each candidate on the selection prompts.
    held_out
        True for each prompt that was held out from the selection.
    """

    winner: int
    apparent: Estimate | None
    optimism: float
    unseen: Estimate | None
    means: tuple[float, ...]
    held_out: tuple[bool, ...]

    @property
    def corrected(self) -> float:
        """Apparent mean minus the optimism: an estimate for use without held-out prompts."""
        return self.means[self.winner] - self.optimism

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def choose(
    scores: ArrayLike,
    *,
    held_out: float | ArrayLike = 0.3,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Selection:
    """Choose the best candidate on some prompts, and estimate its score on the others.

    Parameters
    ----------
    scores : ArrayLike
        Score of each of m candidates on each of n prompts, shape (m, n).
    held_out : float | ArrayLike, default 0.3
        Share of prompts to hold out from the selection, sampled with ``seed``; or a mask of the
        held-out prompts, shape (n,).
    bounds : tuple[float, float] or None, default (0.0, 1.0)
        Ends of the scale of the scores; None if it has none.
    resamples : int, default 1000
        Number of bootstrap resamples for the optimism.
    level : float, default 0.95
        Nominal coverage.
    seed : int, default 0
        Seed of the held-out sample and of the bootstrap.

    Raises
    ------
    InvalidValues
        If a score is missing, or no prompt is left to choose on.
    """
    table = _table(scores)
    rng = np.random.default_rng(seed)
    hidden = _hidden(held_out, table.shape[1], rng)
    seen = table[:, ~hidden]
    means = seen.mean(1)
    winner = int(means.argmax())

    def estimate(values: Floats) -> Estimate | None:
        try:
            return mean_interval(values, bounds=bounds, level=level, seed=seed)
        except NoSpread:
            return None

    return Selection(
        winner=winner,
        apparent=estimate(seen[winner]),
        optimism=optimism(seen, resamples=resamples, seed=seed),
        unseen=estimate(table[winner, hidden]) if hidden.any() else None,
        means=tuple(float(mean) for mean in means),
        held_out=tuple(bool(flag) for flag in hidden),
    )


def optimism(scores: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> float:
    """Estimate the expected bias of the highest of several means.

    It is the mean over bootstrap resamples of (resample mean of the resample's winner) - (its
    mean), as in Efron (1983), section 2, with the selection in place of the fit.

    Parameters
    ----------
    scores : ArrayLike
        Score of each candidate on each prompt, shape (m, n).
    resamples : int, default 1000
        Number of bootstrap resamples of the prompts.
    seed : int, default 0
        Seed of the bootstrap.
    """
    table = _table(scores)
    count = table.shape[1]
    means = table.mean(1)
    rng = np.random.default_rng(seed)
    chunk = max(1, _MAX_CELLS // count)
    excess = 0.0
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        resample_means = (
            rng.multinomial(count, np.full(count, 1.0 / count), size=size) @ table.T / count
        )
        best = resample_means.argmax(1)
        excess += float((resample_means[np.arange(size), best] - means[best]).sum())
    return excess / resamples


def _table(scores: ArrayLike) -> Floats:
    table = float_array(scores, "scores")
    if table.ndim != 2 or 0 in table.shape:
        raise InvalidValues(
            f"scores has shape {table.shape}", "Give one row per candidate, one column per prompt"
        )
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise InvalidValues(
            f"Candidate {row} has no finite score on prompt {column}",
            "Keep the prompts that all candidates answered",
        )
    return table


def _hidden(held_out: float | ArrayLike, count: int, rng: np.random.Generator) -> Any:
    mask = np.asarray(held_out)
    if mask.ndim == 0:
        share = float(mask)
        if not 0 <= share < 1:
            raise InvalidValues(f"held_out is {share}", "Give a share in [0, 1), or a mask")
        hidden = np.zeros(count, dtype=bool)
        hidden[rng.permutation(count)[: round(share * count)]] = True
    elif mask.shape == (count,) and mask.dtype == bool:
        hidden = mask
    else:
        raise InvalidValues(
            f"held_out has shape {mask.shape} and type {mask.dtype}",
            f"Give a share, or {count} booleans",
        )
    if hidden.all():
        raise InvalidValues("All prompts are held out", "Leave some for the selection")
    return hidden

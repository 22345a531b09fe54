"""What choosing the best of several candidates does to its score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats

_CELLS = 4_000_000


@dataclass(frozen=True)
class Selection:
    """The best of several candidates, and how good it is on prompts it was not chosen on.

    Attributes
    ----------
    winner
        The index of the candidate with the highest mean on the choosing prompts; of equals,
        the first.
    apparent
        Its mean on those same prompts. Its interval does not know of the choice: both are too
        high.
    optimism
        By how much the mean of the best is expected to overstate, from the bootstrap: each
        resample of the choosing prompts elects its own best, whose score there is compared
        with its score on all choosing prompts (Efron 1983).
    unseen
        The winner's mean on the prompts that the choice never saw, unbiased; None if no
        prompt was held out.
    means
        The mean of each candidate on the choosing prompts.
    held_out
        Which prompts the choice did not see.
    """

    winner: int
    apparent: Estimate
    optimism: float
    unseen: Estimate | None
    means: tuple[float, ...]
    held_out: tuple[bool, ...]

    @property
    def corrected(self) -> float:
        """The apparent mean less the optimism: a guess for when no prompt can be spared."""
        return self.apparent.value - self.optimism

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
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
    """Choose the best candidate on some prompts and estimate it on the others.

    Parameters
    ----------
    scores : ArrayLike
        Shape (m, n): the score of each of m candidates on each of n prompts.
    held_out : float | ArrayLike, default 0.3
        The share of prompts that the choice does not see, drawn with ``seed``; or which they
        are, as n booleans.
    bounds : tuple[float, float], default (0.0, 1.0)
        The ends of the scale of the scores, or None where it has none.
    resamples : int, default 1000
        How many times to draw the choosing prompts again for the optimism.
    level, seed
        See :func:`backtalk.stats.intervals.choose.mean_interval`.

    Raises
    ------
    InvalidValues
        If scores are missing, or if no prompt is left to choose on.
    """
    table = _table(scores)
    rng = np.random.default_rng(seed)
    hidden = _hidden(held_out, table.shape[1], rng)
    seen = table[:, ~hidden]
    means = seen.mean(1)
    winner = int(means.argmax())

    def estimate(values: Floats) -> Estimate:
        return mean_interval(values, bounds=bounds, level=level, seed=seed)

    return Selection(
        winner=winner,
        apparent=estimate(seen[winner]),
        optimism=optimism(seen, resamples=resamples, seed=seed),
        unseen=estimate(table[winner, hidden]) if hidden.any() else None,
        means=tuple(float(mean) for mean in means),
        held_out=tuple(bool(flag) for flag in hidden),
    )


def optimism(scores: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> float:
    """Estimate by how much the best of several means overstates that candidate.

    Parameters
    ----------
    scores : ArrayLike
        Shape (m, n): the score of each candidate on each prompt.
    resamples : int, default 1000
        How many times to draw the prompts again.

    Notes
    -----
    The mean over resamples of (mean* of the best of the resample) - (its mean), as in Efron
    (1983), section 2, with the choice in place of the fit.
    """
    table = _table(scores)
    count = table.shape[1]
    means = table.mean(1)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS // count)
    excess = 0.0
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=size) @ table.T / count
        best = drawn.argmax(1)
        excess += float((drawn[np.arange(size), best] - means[best]).sum())
    return excess / resamples


def _table(scores: ArrayLike) -> Floats:
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or 0 in table.shape:
        raise InvalidValues(
            f"scores has shape {table.shape}", "Give one row per candidate, one column per prompt"
        )
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise InvalidValues(
            f"Candidate {row} has no finite score on prompt {column}",
            "Choose among candidates on the prompts that all of them answered",
        )
    return table


def _hidden(held_out: float | ArrayLike, count: int, rng: np.random.Generator) -> Any:
    given = np.asarray(held_out)
    if given.ndim == 0:
        share = float(given)
        if not 0 <= share < 1:
            raise InvalidValues(f"held_out is {share}", "Give a share in [0, 1), or a mask")
        hidden = np.zeros(count, dtype=bool)
        hidden[rng.permutation(count)[: round(share * count)]] = True
    elif given.shape == (count,) and given.dtype == bool:
        hidden = given
    else:
        raise InvalidValues(
            f"held_out has shape {given.shape} and type {given.dtype}",
            f"Give a share, or {count} booleans",
        )
    if hidden.all():
        raise InvalidValues("All prompts are held out", "Leave some to choose on")
    return hidden

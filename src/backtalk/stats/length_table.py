"""Outcomes and length terms of models that were compared with one baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import InvalidValues, NotIdentified
from backtalk.stats.labels import known_labels
from backtalk.stats.length_regression import require_both_outcomes
from backtalk.stats.validation import Floats, float_array


class LengthTable(NamedTuple):
    """Comparisons of models with a baseline.

    Attributes
    ----------
    models
        Names.
    outcomes
        Probability that the model's answer wins, shape (models, instructions); NaN if not judged.
    terms
        Length terms ``tanh(d / sd(d))``, same shape; 0 if not judged.
    """

    models: tuple[str, ...]
    outcomes: Floats
    terms: Floats

    def contenders(self) -> list[int]:
        """Return the indices of the models that are not the baseline itself.

        The baseline's answers are as long as themselves, and win with probability 1/2.
        """
        judged = ~np.isnan(self.outcomes)
        differs = judged & ((self.outcomes != 0.5) | (self.terms != 0.0))
        return [int(number) for number in np.flatnonzero(differs.any(1))]

    def spread(self) -> float:
        """Return the root mean square of the length terms."""
        return float(np.sqrt((self.terms[~np.isnan(self.outcomes)] ** 2).mean()))


def length_table(
    preferences: ArrayLike,
    lengths: ArrayLike,
    baseline_lengths: ArrayLike,
    models: Sequence[str] | None,
) -> LengthTable:
    """Check comparisons, and compute the length terms.

    Parameters
    ----------
    preferences, lengths, baseline_lengths, models
        See :func:`backtalk.stats.length_controlled`.
    """
    outcomes = np.atleast_2d(float_array(preferences, "preferences"))
    sizes = np.atleast_2d(float_array(lengths, "lengths"))
    baseline_sizes = float_array(baseline_lengths, "baseline_lengths")
    if outcomes.shape != sizes.shape or baseline_sizes.shape != outcomes.shape[1:]:
        raise InvalidValues(
            f"preferences has shape {outcomes.shape}, lengths {sizes.shape}, "
            f"baseline_lengths {baseline_sizes.shape}",
            "Give (models, instructions) twice, and (instructions,)",
        )
    listed = map(str, range(len(outcomes))) if models is None else models
    names = tuple(known_labels((), listed, "models"))
    if len(names) != len(outcomes):
        raise InvalidValues(
            f"There are {len(names)} names for {len(outcomes)} models", "Match them"
        )
    if ((outcomes < 0) | (outcomes > 1)).any():
        raise InvalidValues("A preference lies outside [0, 1]", "Give probabilities")
    judged = ~np.isnan(outcomes)
    with np.errstate(invalid="ignore"):  # infinite lengths
        differences = np.where(judged, baseline_sizes - sizes, np.nan)
    if not np.isfinite(differences[judged]).all():
        raise InvalidValues("A judged answer has no length", "Give the length of each answer")
    for row, name in zip(outcomes, names, strict=True):
        require_both_outcomes(row, name)
    terms = [_length_term(row, name) for row, name in zip(differences, names, strict=True)]
    return LengthTable(names, outcomes, np.stack(terms))


def _length_term(differences: Floats, name: str) -> Floats:
    judged = differences[~np.isnan(differences)]
    spread = float(np.std(judged, ddof=1)) if judged.size > 1 else 0.0
    if spread == 0.0 and judged[0] != 0.0:
        raise NotIdentified(
            f"All answers of {name!r} differ from the baseline's by the same length",
            "Use win_rate: the effect of length is not identified",
        )
    return np.asarray(np.nan_to_num(np.tanh(differences / (spread or 1.0))))

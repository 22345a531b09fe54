"""Training data of a reward as arrays: pairs of responses, and single responses with a score.

The likelihoods of the two add up. A pair has the margin ``w . (phi(a) - phi(b))``, a single
response the margin ``w . phi(a) + b`` with an intercept ``b``, which is the log-odds of a good
judgement at the mean response. Both share the weights ``w``. Single responses alone make a logistic
regression.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback.views import Pair, ScoreView
from backtalk.stats.paired import davidson
from backtalk.stats.paired.bradley_terry_regression import RegressionFit, fit_regression
from backtalk.stats.validation import Floats

MIN_JUDGEMENTS = 5
"""Number of judgements of single responses from which an annotator has a reliability of its own."""
FEW_JUDGEMENTS = "annotators of few judgements"
"""Name of the annotators below that number, who share a reliability."""


@dataclass(frozen=True)
class RewardData:
    """Pairs, then single responses, as arrays of ``n`` rows.

    The columns of ``differences`` are the ``d`` features of a response; then the intercept, if
    there are single responses; then the order of presentation, if it is known of a pair: 1 if the
    chosen response was shown first, -1 if the rejected one was, and 0 if unknown.
    """

    differences: Floats
    outcomes: Floats
    """Weight of a (or good), of b (or bad), and of a tie, shape ``(n, 3)``."""
    blocks: NDArray[np.intp]
    annotators: NDArray[np.intp]
    names: tuple[str, ...]
    pairs: int
    """Number of rows that are pairs."""
    scored: int
    """Number of columns that a score is made of: the features, and the intercept."""

    @classmethod
    def from_views(
        cls,
        pairs: Sequence[Pair],
        differences: Floats,
        points: Sequence[ScoreView],
        features: Floats,
        blocks: NDArray[np.intp],
    ) -> RewardData:
        """Return the data of views and their scaled features.

        Parameters
        ----------
        pairs : sequence of Pair
            Pairs of responses.
        differences : Floats
            Features of the chosen response minus those of the rejected one, shape ``(pairs, d)``.
        points : sequence of ScoreView
            Single responses with a score in [0, 1], the probability of a good judgement.
        features : Floats
            Features of the single responses, centred, shape ``(points, d)``.
        blocks : NDArray[np.intp]
            Block number of each feature, shape ``(d,)``.
        """
        rows = np.vstack([differences, features])
        if points:
            is_point = np.repeat([0.0, 1.0], [len(pairs), len(points)])
            rows, blocks = np.column_stack([rows, is_point]), np.append(blocks, blocks.max() + 1)
        scored = rows.shape[1]
        first = np.array(
            [{"chosen": 1.0, "rejected": -1.0, None: 0.0}[pair.first] for pair in pairs]
            + [0.0] * len(points)
        )
        if np.any(first):
            rows, blocks = np.column_stack([rows, first]), np.append(blocks, blocks.max() + 1)
        outcomes = np.array(
            [_pair_outcome(pair) for pair in pairs]
            + [(p.weight * p.score, p.weight * (1 - p.score), 0.0) for p in points]
        ).reshape(-1, 3)
        names, annotators = np.unique(_annotators(pairs, points), return_inverse=True)
        return cls(rows, outcomes, blocks, annotators, tuple(names.tolist()), len(pairs), scored)

    @property
    def _decided(self) -> Floats:
        """Outcomes, shape ``(n, 3)``; with single responses a tie is half a win of each.

        Single responses never tie, and would distort the tie parameter.
        """
        if self.pairs == len(self.outcomes):
            return self.outcomes
        half = self.outcomes[:, 2:] / 2
        return np.column_stack([self.outcomes[:, :2] + half, np.zeros(len(half))])

    def fit(self, rows: NDArray[np.intp], start: RegressionFit | None = None) -> RegressionFit:
        """Fit some of the rows; with a start, its precision is held fixed."""
        return fit_regression(
            self.differences[rows],
            self._decided[rows],
            blocks=self.blocks,
            annotators=self.annotators[rows] if len(self.names) > 1 else None,
            precision=None if start is None else start.precision,
            start=start,
        )

    def margins(self, rows: NDArray[np.intp], weights: Floats) -> Floats:
        """Return the margins of some of the rows, without the effect of the order."""
        return np.asarray(self.differences[rows, : self.scored] @ weights[: self.scored])

    def calibration(self, margin: Floats) -> tuple[float, float]:
        """Return the slope that makes margins log-odds, and the tie parameter of pairs.

        Parameters
        ----------
        margin : Floats
            Margins of all rows by fits to other prompts, shape ``(n,)``.
        """
        slope, nu = davidson.fit_calibration(margin, self._decided)
        if 0 < self.pairs < len(margin):
            pairs = slice(self.pairs)
            nu = davidson.fit_nu(slope * margin[pairs], self.outcomes[pairs])
        return slope, nu

    def held_out_margins(
        self, groups: Sequence[str], fit: RegressionFit, folds: int, rng: np.random.Generator
    ) -> Floats | None:
        """Return each row's margin by a fit to other prompts; ``None`` if there is only one prompt.

        Parameters
        ----------
        groups : sequence of str
            Key of the prompt of each row.
        fit : RegressionFit
            Fit of all rows, whose precision is used.
        folds : int
            Maximum number of folds of prompts.
        rng : numpy.random.Generator
            Random number generator.
        """
        names, group = np.unique(groups, return_inverse=True)
        folds = min(folds, len(names))
        if folds < 2:
            return None
        fold = rng.permutation(np.arange(len(names)) % folds)[group]
        margin = np.empty(len(groups))
        for k in range(folds):
            held_out = np.flatnonzero(fold == k)
            margin[held_out] = self.margins(
                held_out, self.fit(np.flatnonzero(fold != k), fit).weights
            )
        return margin

    def concordance(self, margin: Floats) -> float | None:
        """Return the probability that a good single response has a larger margin than a bad one.

        It is the area under the ROC curve; ``None`` without both. Hanley and McNeil (1982), "The
        meaning and use of the area under a receiver operating characteristic (ROC) curve".
        """
        from scipy.stats import mannwhitneyu  # noqa: PLC0415 - slow to import

        lead = (self.outcomes[:, 0] - self.outcomes[:, 1])[self.pairs :]
        good, bad = margin[self.pairs :][lead > 0], margin[self.pairs :][lead < 0]
        if not (len(good) and len(bad)):
            return None
        return float(mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def _pair_outcome(pair: Pair) -> tuple[float, float, float]:
    if pair.tie:
        return 0.0, 0.0, pair.weight
    return pair.weight * pair.probability, pair.weight * (1 - pair.probability), 0.0


def _annotators(pairs: Sequence[Pair], points: Sequence[ScoreView]) -> list[str]:
    """Return the name of each row's annotator; those with few single judgements share one."""
    counts = Counter(point.annotator.id for point in points)
    return [pair.annotator.id for pair in pairs] + [
        point.annotator.id if counts[point.annotator.id] >= MIN_JUDGEMENTS else FEW_JUDGEMENTS
        for point in points
    ]

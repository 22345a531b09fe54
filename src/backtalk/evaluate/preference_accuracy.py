"""Accuracy of a policy's log-probabilities on preferences: which answer they rank higher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.estimate import Estimate, NoSpread
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import paired_difference

LOG_PROBABILITY = "log-probability"
PER_TOKEN = "log-probability per token"  # noqa: S105 - not a password
IMPLICIT_REWARD = "implicit reward"

_ROUNDING = 1e-5
"""Difference in nats below which two answers tie: two orders of a sum of float32 differ so much."""


@dataclass(frozen=True)
class PairLogProbs:
    """Log-probabilities of the two answers of n pairs, in nats, and their numbers of tokens."""

    chosen: Floats
    """Sum over the tokens of the preferred answer, shape ``(n,)``."""
    rejected: Floats
    chosen_tokens: NDArray[np.int64]
    """Number of tokens of the preferred answer, its end included, shape ``(n,)``."""
    rejected_tokens: NDArray[np.int64]

    def select(self, rows: NDArray[np.bool_]) -> PairLogProbs:
        """Return the rows of a mask, shape ``(n,)``."""
        return PairLogProbs(
            self.chosen[rows],
            self.rejected[rows],
            self.chosen_tokens[rows],
            self.rejected_tokens[rows],
        )


@dataclass(frozen=True)
class ScoreAccuracy:
    """Accuracy and margins of one score of answers."""

    accuracy: Estimate
    """Share of pairs in which the preferred answer has the higher score; a tie counts one half."""
    margin: Estimate | None
    """Mean score of the preferred answer minus that of the other; ``None`` if all are equal."""
    ties: int
    """Number of pairs with equal scores."""
    groups: dict[str, Estimate]
    """Accuracy in each group that has pairs: ``"preferred longer"``, ``"preferred shorter"`` and
    ``"equally long"`` in tokens, and the kinds of feedback if there are several."""
    difference: Estimate | None = None
    """Accuracy minus that of the other policy on the same pairs, paired; ``None`` without one."""


@dataclass(frozen=True)
class PreferenceAccuracy:
    """Accuracy of a policy's scores on pairs of answers; made by :func:`measure_preferences`."""

    pairs: int
    prompts: int
    """Number of prompts, the clusters of the intervals."""
    scores: dict[str, ScoreAccuracy]
    """By score: ``"log-probability"``, ``"log-probability per token"``, and ``"implicit reward"``
    where there is a reference."""
    longer_wins: Estimate
    """Accuracy of the rule that the answer with more tokens is preferred."""
    beta: float
    """Factor of the implicit reward ``beta * (log pi - log ref)``, which scales its margin."""
    policy: str = ""
    """Id of the policy."""
    against: str | None = None
    """Id of the policy of the differences."""
    reference: str | None = None
    """Id of the reference of the policy's implicit reward."""
    against_reference: str | None = None
    """Id of the reference of the other policy's implicit reward."""
    split: str = "held-out"
    learned_from: int = 0
    """Number of these pairs whose prompts a policy or one of its ancestors learned from."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of pairs or judgements that are not counted, by reason."""
    unknown: tuple[str, ...] = ()
    """Sentences about what is not known of the prompts that the policies learned from."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def measure_preferences(
    policy: PairLogProbs,
    prompts: Sequence[str],
    *,
    kinds: Sequence[str] = (),
    reference: PairLogProbs | None = None,
    against: PairLogProbs | None = None,
    against_reference: PairLogProbs | None = None,
    beta: float = 0.1,
    level: float = 0.95,
) -> PreferenceAccuracy:
    """Measure how often a policy ranks the preferred answer of a pair higher.

    The implicit reward of an answer is ``beta * (log pi(y | x) - log ref(y | x))``, Rafailov et
    al. (2023), "Direct preference optimization", section 5; its accuracy is the
    ``rewards/accuracies`` of trainers. Margins within 1e-5 nats count as ties.

    Parameters
    ----------
    policy : PairLogProbs
        Log-probabilities under the policy, of n pairs.
    prompts : sequence of str
        Key of the prompt of each pair, n of them: the clusters.
    kinds : sequence of str, default ()
        Kind of feedback of each pair, for the groups.
    reference : PairLogProbs, optional
        Log-probabilities of the same pairs under the policy's reference.
    against : PairLogProbs, optional
        Log-probabilities under another policy, for the differences.
    against_reference : PairLogProbs, optional
        Those under the reference of the other policy.
    beta : float, default 0.1
        Factor of the implicit reward.
    level : float, default 0.95
        Nominal coverage of the intervals.

    Raises
    ------
    InvalidValues
        If there is no pair.
    """
    groups = _groups(policy, kinds)
    clusters = _clusters(prompts)
    own = _margins(policy, reference)
    other = {} if against is None else _margins(against, against_reference)
    return PreferenceAccuracy(
        pairs=len(prompts),
        prompts=len(set(prompts)),
        scores={
            name: _score_accuracy(
                margin,
                prompts,
                groups,
                other=other.get(name),
                factor=beta if name == IMPLICIT_REWARD else 1.0,
                level=level,
            )
            for name, margin in own.items()
        },
        longer_wins=mean_interval(
            _correct((policy.chosen_tokens - policy.rejected_tokens).astype(float)),
            clusters,
            level=level,
        ),
        beta=beta,
    )


def _margins(policy: PairLogProbs, reference: PairLogProbs | None) -> dict[str, Floats]:
    """Return the margin of each pair by score, the implicit reward's without its factor."""
    margins = {
        LOG_PROBABILITY: policy.chosen - policy.rejected,
        PER_TOKEN: policy.chosen / policy.chosen_tokens - policy.rejected / policy.rejected_tokens,
    }
    if reference is not None:
        # Each answer's ratio first: it is exactly 0 where policy and reference are the same.
        margins[IMPLICIT_REWARD] = (policy.chosen - reference.chosen) - (
            policy.rejected - reference.rejected
        )
    return margins


def _score_accuracy(
    margin: Floats,
    prompts: Sequence[str],
    groups: dict[str, NDArray[np.bool_]],
    *,
    other: Floats | None,
    factor: float,
    level: float,
) -> ScoreAccuracy:
    correct = _correct(margin)
    keys = np.asarray(prompts)
    clusters = _clusters(prompts)
    return ScoreAccuracy(
        accuracy=mean_interval(correct, clusters, level=level),
        margin=_mean_margin(factor * margin, clusters, level),
        ties=int(np.count_nonzero(correct == 0.5)),
        groups={
            name: mean_interval(correct[rows], _clusters(keys[rows].tolist()), level=level)
            for name, rows in groups.items()
        },
        difference=None
        if other is None
        else paired_difference(correct, _correct(other), clusters=clusters, level=level),
    )


def _mean_margin(margin: Floats, clusters: Sequence[str] | None, level: float) -> Estimate | None:
    try:
        return mean_interval(margin, clusters, bounds=None, level=level)
    except NoSpread:
        return None


def _correct(margin: Floats) -> Floats:
    """Return 1 for a positive margin, 0 for a negative one, and 1/2 for a tie."""
    return np.asarray((np.sign(np.where(np.abs(margin) <= _ROUNDING, 0.0, margin)) + 1) / 2)


def _clusters(prompts: Sequence[str]) -> Sequence[str] | None:
    """Return the clusters, or ``None`` if one prompt alone shows no spread between prompts."""
    return prompts if 1 < len(set(prompts)) < len(prompts) else None


def _groups(policy: PairLogProbs, kinds: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    longer = policy.chosen_tokens - policy.rejected_tokens
    groups = {
        "preferred longer": longer > 0,
        "preferred shorter": longer < 0,
        "equally long": longer == 0,
    }
    if len(set(kinds)) > 1:
        names = np.asarray(kinds)
        groups |= {f"kind {kind}": names == kind for kind in sorted(set(kinds))}
    return {name: rows for name, rows in groups.items() if rows.any()}

"""Outcome model: prediction of a score before it is known, from earlier scores only."""

from __future__ import annotations

import base64
import math
from functools import cached_property
from zlib import crc32

import numpy as np

from backtalk.feedback.interaction import Prompt
from backtalk.stats.validation import Floats

USER_BUCKETS = 1024
"""Number of groups of users by a hash of their ids. No id of a user is stored."""

_WORDS = 20
_FIXED = 4
_SIZE = _FIXED + _WORDS
_MAX_WORDS = 200
_PRIOR_SCORES = 4.0
"""Number of scores at the overall mean that are added to those of each user."""
_RIDGE = 4.0
_GROWTH = 1.1
"""Growth of the number of scores at which the coefficients are computed again."""


def user_bucket(user: str) -> int:
    """Return the group of a user, from 0 to ``USER_BUCKETS`` - 1."""
    return crc32(user.encode()) % USER_BUCKETS


class OutcomeModel:
    """Ridge regression of scores on the user, the words of the prompt and other entries.

    Each prediction uses earlier scores only. That is the sequential form of cross-fitting: a
    prediction and the random draw of an entry are independent, so that the estimate of an effect is
    unbiased whatever the model, and its interval is valid at all times (Waudby-Smith et al. 2024,
    "Anytime-valid off-policy inference for contextual bandits", section 3).

    Attributes
    ----------
    n : int
        Number of scores.
    """

    def __init__(self) -> None:
        self.n = 0
        self._solved_at = 0
        self._moments = np.zeros((_SIZE, _SIZE + 1))
        self._users = np.zeros((USER_BUCKETS, 2))
        self._coefficients = np.zeros(_SIZE)

    def features(self, prompt: Prompt, user: str | None, others: float) -> Floats:
        """Return the features of an answer, shape (24,).

        Parameters
        ----------
        prompt : Prompt
            Messages of the user.
        user : str or None
            Id of the user.
        others : float
            Sum of the estimated effects of the entries shown, less that of their expectation.
        """
        features = np.zeros(_SIZE)
        features[0] = 1.0
        if user is not None:
            count, total = self._users[user_bucket(user)]
            features[1] = (total + _PRIOR_SCORES * self._mean) / (count + _PRIOR_SCORES)
            features[1] -= self._mean
        features[2] = others
        words = prompt[-1].text.lower().split()[:_MAX_WORDS]
        features[3] = math.log1p(len(words)) / 4
        for word in words:
            code = crc32(word.encode())
            sign = 1.0 if code & 1024 else -1.0
            features[_FIXED + code % _WORDS] += sign / math.sqrt(len(words))
        return features

    def predict(self, features: Floats) -> float:
        """Return the expected score, in [0, 1]; 0.5 before any score is known."""
        if not self._solved_at:
            return 0.5
        return min(max(float(self._coefficients @ features), 0.0), 1.0)

    def add(self, features: Floats, user: str | None, score: float) -> None:
        """Add a score.

        Parameters
        ----------
        features : Floats
            Features of the answer, shape (24,).
        user : str or None
            Id of the user.
        score : float
            Score, in [0, 1].
        """
        self.n += 1
        self._moments[:, :-1] += np.outer(features, features)
        self._moments[:, -1] += features * score
        if user is not None:
            self._users[user_bucket(user)] += (1.0, score)
        if self.n >= max(self._solved_at + 1, self._solved_at * _GROWTH):
            self._coefficients = self._solve()
            self._solved_at = self.n

    @property
    def _mean(self) -> float:
        return float(self._moments[0, -1]) / self.n if self.n else 0.5

    @cached_property
    def _penalty(self) -> Floats:
        penalty = np.eye(_SIZE) * _RIDGE
        penalty[0, 0] = 1e-6
        return penalty

    def _solve(self) -> Floats:
        """Return the coefficients; the penalty is on differences from the overall mean."""
        moments, products = self._moments[:, :-1], self._moments[:, -1]
        return np.asarray(np.linalg.solve(moments + self._penalty, products))

    def dump(self) -> dict[str, object]:
        """Return the model as JSON."""
        arrays = (self._moments, self._users, self._coefficients)
        data = np.concatenate([array.ravel() for array in arrays])
        encoded = base64.b64encode(data.astype("<f8").tobytes()).decode()
        return {"n": self.n, "solved_at": self._solved_at, "data": encoded}

    @classmethod
    def load(cls, stored: dict[str, object]) -> OutcomeModel:
        """Return the model that :meth:`dump` returned."""
        model = cls()
        model.n, model._solved_at = int(str(stored["n"])), int(str(stored["solved_at"]))
        data = np.frombuffer(base64.b64decode(str(stored["data"])), "<f8").copy()
        for array in (model._moments, model._users, model._coefficients):
            array[...] = data[: array.size].reshape(array.shape)
            data = data[array.size :]
        return model

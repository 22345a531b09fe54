"""Neural dueling bandit: the best of many arms with vectors, from comparisons alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.learn.lazy_modules import np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass
class NeuralDuelingBandit:
    """Selection of pairs to compare, with a network that predicts the utility of each arm.

    The network ``h(x) = a · tanh(W x + b)`` is trained on all comparisons by the Bradley-Terry
    likelihood, with a quadratic penalty on the change of its weights. The first arm of a pair
    maximises h; the second maximises ``h(x) + exploration * sqrt(d' V^-1 d)``, where d is the
    gradient of ``h(x) - h(first)`` by the weights, and V the sum of ``d d'`` over the comparisons
    so far plus ``penalty`` on the diagonal.

    Lin et al. (2024), "Prompt optimization with human feedback", algorithm 1.

    Parameters
    ----------
    vectors : array_like, shape (arms, dimension)
        Vector of each arm, such as an embedding of a prompt.
    width : int, default 16
        Number of hidden units, an even number.
    exploration : float, default 1.0
        Factor on the uncertainty.
    penalty : float, default 1.0
        Quadratic penalty, above 0.
    seed : int, default 0
        Seed of the initial weights, and of ties.

    Examples
    --------
    >>> bandit = NeuralDuelingBandit([[1.0, 0.0], [0.0, 1.0]])
    >>> first, second = bandit.select()
    >>> bandit.observe(first, second, first_won=first == 1)
    >>> bandit.best
    1
    """

    vectors: ArrayLike
    width: int = 16
    exploration: float = 1.0
    penalty: float = 1.0
    seed: int = 0
    comparisons: list[tuple[int, int, float]] = field(default_factory=list)
    """First and second arm of each comparison, and 1 if the first won, 0 if it lost, 0.5 for a
    tie."""

    def __post_init__(self) -> None:
        self._x = np.asarray(self.vectors, dtype=float)
        if self._x.ndim != 2 or len(self._x) < 2:
            raise BacktalkError(
                f"The vectors of the arms have the shape {self._x.shape}",
                "Pass one vector for each of at least two arms",
            )
        if self.penalty <= 0:
            raise BacktalkError(f"The penalty is {self.penalty}", "Choose a number above 0")
        if self.width < 2 or self.width % 2:
            raise BacktalkError(f"The width is {self.width}", "Choose an even number from 2 up")
        self._rng = np.random.default_rng([self.seed, 41])
        dimension = self._x.shape[1]
        scale = 1 / np.sqrt([dimension, self.width])
        # Units in pairs that cancel out, so that all arms start with the same utility.
        half = self.width // 2
        inner = np.tile(self._rng.normal(0, scale[0], (half, dimension)), (2, 1))
        outer = self._rng.normal(0, scale[1], half)
        bias = np.zeros(self.width)
        self._start: Floats = np.concatenate([inner.ravel(), bias, outer, -outer])
        self._weights = self._start.copy()
        self._order = self._rng.permutation(len(self._x))

    @property
    def utilities(self) -> Floats:
        """Predicted utility of each arm, shape ``(arms,)``, up to a constant."""
        return self._forward(self._weights)[0]

    @property
    def best(self) -> int:
        """Arm with the largest predicted utility, among those that were compared."""
        compared = sorted({arm for first, second, _ in self.comparisons for arm in (first, second)})
        arms = compared or list(range(len(self._x)))
        return arms[int(np.argmax(self.utilities[arms]))]

    def select(self) -> tuple[int, int]:
        """Return the two arms to compare next; they differ."""
        utilities = self.utilities
        if not self.comparisons:
            return int(self._order[0]), int(self._order[1])
        first = int(np.argmax(utilities))
        gradients = self._gradients()
        bound = utilities + self.exploration * self._uncertainty(gradients - gradients[first])
        bound[first] = -np.inf
        return first, int(np.argmax(bound))

    def observe(self, first: int, second: int, *, first_won: float) -> None:
        """Record a comparison, and train the network on all comparisons.

        Parameters
        ----------
        first, second : int
            Arms that were compared.
        first_won : float
            1 if the first arm won, 0 if it lost, 0.5 for a tie.
        """
        from scipy.optimize import minimize  # noqa: PLC0415 - slow to import
        from threadpoolctl import threadpool_limits  # noqa: PLC0415 - slow to import

        self.comparisons.append((first, second, float(first_won)))
        # The matrices are small: more threads only wait for one another.
        with threadpool_limits(1):
            self._weights = minimize(
                self._loss, self._weights, jac=True, method="L-BFGS-B", options={"maxiter": 20}
            ).x

    def _forward(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return utilities ``(arms,)`` and hidden units ``(arms, width)``."""
        dimension = self._x.shape[1]
        inner = weights[: self.width * dimension].reshape(self.width, dimension)
        bias, outer = np.split(weights[self.width * dimension :], 2)
        hidden = np.tanh(self._x @ inner.T + bias)
        return np.asarray(hidden @ outer), hidden

    def _backward(self, weights: Floats, hidden: Floats, slopes: Floats) -> Floats:
        """Return the gradient of ``sum(slopes * h)`` by the weights."""
        outer = weights[-self.width :]
        inner = slopes[:, None] * (1 - hidden**2) * outer
        return np.concatenate([(inner.T @ self._x).ravel(), inner.sum(axis=0), slopes @ hidden])

    def _gradients(self) -> Floats:
        """Return the gradient of each arm's utility by the weights, ``(arms, weights)``."""
        _, hidden = self._forward(self._weights)
        inner = (1 - hidden**2) * self._weights[-self.width :]
        by_inner = (inner[:, :, None] * self._x[:, None, :]).reshape(len(self._x), -1)
        return np.hstack([by_inner, inner, hidden])

    def _uncertainty(self, differences: Floats) -> Floats:
        """Return ``sqrt(d' V^-1 d)`` for each row d, by the matrix inversion lemma."""
        gradients = self._gradients()
        seen = np.array([gradients[i] - gradients[j] for i, j, _ in self.comparisons])
        kernel = seen @ seen.T + self.penalty * np.eye(len(seen))
        cross = seen @ differences.T
        explained = np.einsum("ij,ij->j", cross, np.linalg.solve(kernel, cross))
        total = np.einsum("ij,ij->i", differences, differences)
        return np.asarray(np.sqrt(np.maximum(total - explained, 0) / self.penalty))

    def _loss(self, weights: Floats) -> tuple[float, Floats]:
        """Return the penalised negative log-likelihood, and its gradient."""
        from scipy.special import expit, log_expit  # noqa: PLC0415 - slow to import

        utilities, hidden = self._forward(weights)
        first, second, won = np.array(self.comparisons).T
        first, second = first.astype(int), second.astype(int)
        margin = utilities[first] - utilities[second]
        change = weights - self._start
        loss = -(won * log_expit(margin) + (1 - won) * log_expit(-margin)).sum()
        slope = expit(margin) - won
        slopes = np.zeros(len(utilities))
        np.add.at(slopes, first, slope)
        np.add.at(slopes, second, -slope)
        gradient = self._backward(weights, hidden, slopes) + self.penalty * change
        return float(loss + self.penalty / 2 * change @ change), gradient

"""A Markov decision process small enough to be solved, for preferences between segments of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

Array = NDArray[np.float64]
STATES, ACTIONS, REACHED = 24, 4, 3
"""How many states there are, how many actions in each, and to how many states one leads."""


@dataclass(frozen=True)
class Process:
    """A process with random rewards and transitions, and what a soft-optimal agent does in it."""

    rewards: Array
    """Of each state and action, in [0, 1], shape ``(S, A)``."""
    transitions: Array
    """The probability of each next state, shape ``(S, A, S)``."""
    discount: float
    temperature: float
    """How much entropy is worth."""

    @classmethod
    def random(cls, seed: int, *, discount: float = 0.9, temperature: float = 0.1) -> Process:
        """Return a process of :data:`STATES` states; few of its actions are worth anything."""
        rng = np.random.default_rng([seed, 23])
        rewards = rng.random((STATES, ACTIONS)) ** 3
        transitions = np.zeros((STATES, ACTIONS, STATES))
        for state, action in np.ndindex(STATES, ACTIONS):
            reached = rng.choice(STATES, REACHED, replace=False)
            transitions[state, action, reached] = rng.dirichlet(np.ones(REACHED))
        return cls(rewards, transitions, discount, temperature)

    def advantages(self) -> Array:
        """Return ``A*(s, a)`` of the soft-optimal policy, which is ``temperature log pi*``."""
        values = np.zeros(STATES)
        for _ in range(500):
            gains = self.rewards + self.discount * self.transitions @ values
            values = self.temperature * logsumexp(gains / self.temperature, axis=1)
        return gains - values[:, None]

    def value(self, policy: Array) -> float:
        """Return the expected discounted reward of a policy, ``(S, A)``, from a random state."""
        rewards = (policy * self.rewards).sum(axis=1)
        moves = np.einsum("sa,sat->st", policy, self.transitions)
        return float(np.linalg.solve(np.eye(STATES) - self.discount * moves, rewards).mean())

    def segments(self, count: int, length: int, *, seed: int) -> tuple[Array, Array]:
        """Return states and actions of somebody who acts at random, ``(count, length)`` each."""
        rng = np.random.default_rng([seed, 29])
        states = np.zeros((count, length), dtype=int)
        actions = rng.integers(ACTIONS, size=(count, length))
        states[:, 0] = rng.integers(STATES, size=count)
        for step in range(1, length):
            reached = self.transitions[states[:, step - 1], actions[:, step - 1]].cumsum(axis=1)
            passed = (rng.random((count, 1)) > reached).sum(axis=1)
            states[:, step] = np.minimum(passed, STATES - 1)
        return states, actions

    def preferred(self, states: Array, actions: Array, *, seed: int) -> Array:
        """Return whether the first of each two segments is preferred, by its smaller regret.

        With the probability of Hejna et al. (2023), equation 4: a logistic function of the
        difference of the discounted sums of advantages.
        """
        rng = np.random.default_rng([seed, 31])
        weights = self.discount ** np.arange(states.shape[1])
        scores = (weights * self.advantages()[states, actions]).sum(axis=1).reshape(-1, 2)
        sure = expit((scores[:, 0] - scores[:, 1]) / self.temperature)
        return rng.random(len(sure)) < sure

"""Small Markov decision processes with preferences between segments of trajectories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp

from backtalk.stats.validation import Floats

STATES, ACTIONS, SUCCESSORS = 24, 4, 3
"""Numbers of states, of actions per state, and of possible next states per action."""


@dataclass(frozen=True)
class Process:
    """Markov decision process with its soft-optimal policy."""

    rewards: Floats
    """Reward of each state and action, in [0, 1], shape ``(S, A)``."""
    transitions: Floats
    """Probability of each next state, shape ``(S, A, S)``."""
    discount: float
    """Discount factor of rewards, in [0, 1)."""
    temperature: float
    """Weight of the policy's entropy in the return."""

    @classmethod
    def random(cls, seed: int, *, discount: float = 0.9, temperature: float = 0.1) -> Process:
        """Return a random process with mostly small rewards.

        Parameters
        ----------
        seed : int
            Seed of rewards and transitions.
        discount : float, default 0.9
            Discount factor of rewards.
        temperature : float, default 0.1
            Weight of the entropy.
        """
        rng = np.random.default_rng([seed, 23])
        rewards = rng.random((STATES, ACTIONS)) ** 3
        transitions = np.zeros((STATES, ACTIONS, STATES))
        for state, action in np.ndindex(STATES, ACTIONS):
            successors = rng.choice(STATES, SUCCESSORS, replace=False)
            transitions[state, action, successors] = rng.dirichlet(np.ones(SUCCESSORS))
        return cls(rewards, transitions, discount, temperature)

    def advantages(self) -> Floats:
        """Return the soft-optimal advantages ``temperature log pi*(a | s)``, shape ``(S, A)``."""
        values = np.zeros(STATES)
        for _ in range(500):
            gains = self.rewards + self.discount * self.transitions @ values
            values = self.temperature * logsumexp(gains / self.temperature, axis=1)
        return gains - values[:, None]

    def value(self, policy: Floats) -> float:
        """Return the expected discounted reward of a policy from a uniformly random state.

        Parameters
        ----------
        policy : ndarray
            Probabilities of the actions, shape ``(S, A)``.
        """
        rewards = (policy * self.rewards).sum(axis=1)
        state_transitions = np.einsum("sa,sat->st", policy, self.transitions)
        return float(
            np.linalg.solve(np.eye(STATES) - self.discount * state_transitions, rewards).mean()
        )

    def sample_segments(self, count: int, length: int, *, seed: int) -> tuple[Floats, Floats]:
        """Return states and actions of a uniformly random policy, each ``(count, length)``.

        Parameters
        ----------
        count : int
            Number of segments.
        length : int
            Number of steps per segment.
        seed : int
            Seed of states and actions.
        """
        rng = np.random.default_rng([seed, 29])
        states = np.zeros((count, length), dtype=int)
        actions = rng.integers(ACTIONS, size=(count, length))
        states[:, 0] = rng.integers(STATES, size=count)
        for step in range(1, length):
            cumulative = self.transitions[states[:, step - 1], actions[:, step - 1]].cumsum(axis=1)
            successors = (rng.random((count, 1)) > cumulative).sum(axis=1)
            states[:, step] = np.minimum(successors, STATES - 1)
        return states, actions

    def sample_preferences(self, states: Floats, actions: Floats, *, seed: int) -> Floats:
        """Sample preferences between segments 0 and 1, 2 and 3, and so on.

        The probability is that of Hejna et al. (2023), equation 4: a logistic function of the
        difference of the discounted sums of advantages.

        Parameters
        ----------
        states, actions : ndarray
            States and actions of the segments, shape ``(2 n, length)``.
        seed : int
            Seed of the preferences.

        Returns
        -------
        ndarray of bool
            True if the first segment is preferred, shape ``(n,)``.
        """
        rng = np.random.default_rng([seed, 31])
        weights = self.discount ** np.arange(states.shape[1])
        scores = (weights * self.advantages()[states, actions]).sum(axis=1).reshape(-1, 2)
        probabilities = expit((scores[:, 0] - scores[:, 1]) / self.temperature)
        return rng.random(len(probabilities)) < probabilities

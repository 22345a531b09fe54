"""Nash policies agree with closed forms and with brute-force best responses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from backtalk.stats import InvalidValues
from backtalk.stats.nash import exploitability, nash

RING = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])


def some_game(seed, count=5):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(size=(count, count)), 1)
    game = upper + np.tril(1 - upper.T, -1)
    np.fill_diagonal(game, 0.5)
    return game, rng.dirichlet(np.ones(count))


def test_of_a_ring_the_even_policy_is_the_nash_policy():
    np.testing.assert_allclose(nash(RING), 1 / 3, atol=1e-9)
    assert exploitability(RING, [1 / 3] * 3) == pytest.approx(0)
    assert exploitability(RING, [1, 0, 0]) == 0.5


@given(st.integers(0, 200))
def test_no_policy_wins_against_the_nash_policy(seed):
    game, _ = some_game(seed)
    assert exploitability(game, nash(game)) == pytest.approx(0, abs=1e-7)


@given(st.integers(0, 100), st.sampled_from([0.05, 0.2, 1.0]))
def test_a_regularised_nash_policy_is_its_own_best_response(seed, tau):
    game, reference = some_game(seed)
    policy = nash(game, reference=reference, tau=tau)
    best = softmax(np.log(reference) + game @ policy / tau)
    np.testing.assert_allclose(policy, best, atol=1e-8)
    assert exploitability(game, policy, reference=reference, tau=tau) == pytest.approx(0, abs=1e-7)
    assert exploitability(game, reference, reference=reference, tau=tau) >= -1e-12


def test_a_regularised_best_response_is_the_best_of_many():
    game, reference = some_game(1)
    policy, tau = some_game(2)[1], 0.3
    rng = np.random.default_rng(0)

    def gain(response):
        def divergence(probabilities):
            return (probabilities * np.log(probabilities / reference)).sum()

        return (
            response @ game @ policy - tau * divergence(response) + tau * divergence(policy) - 0.5
        )

    best = softmax(np.log(reference) + game @ policy / tau)
    result = exploitability(game, policy, reference=reference, tau=tau)
    assert result == pytest.approx(gain(best))
    assert all(gain(response) <= result for response in rng.dirichlet(np.ones(5), size=500))


def test_invalid_arguments_are_rejected():
    with pytest.raises(InvalidValues, match="no preference"):
        nash([[0.5, 0.5], [0.6, 0.5]])
    with pytest.raises(InvalidValues, match="no reference"):
        exploitability(RING, [1, 0, 0], tau=0.1)

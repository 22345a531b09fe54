"""Tabular policies of a few arms, trained by the registered methods, against known optima."""

import numpy as np
import pytest
from claims.arms import Table, all_pairs, bradley_terry_preferences, kl_divergence, open_bench
from claims.games import nash_md_path, nash_mp_path, ring
from scipy.special import log_softmax, softmax

from backtalk.stats.nash import exploitability, nash

# No arm is rare in it, so that each pair is learned to the last digit.
BASE = np.log([[0.5, 0.2, 0.3]])
GAME = ring(0)
TAU = 0.2


@pytest.fixture(scope="module")
def bench():
    with open_bench(0) as result:
        yield result


def nash_log_probs():
    return np.log(nash(GAME, reference=np.exp(BASE[0]), tau=TAU))[None]


def wins(opponent):
    """Return the win rate of each arm against a policy, shape ``(1, arms)``."""
    return (GAME @ np.exp(opponent[0]))[None]


def test_a_step_of_inpo_is_the_mirror_step(bench):
    """``pi proportional to base^(tau/eta) pi_t^(1 - tau/eta) exp(P(. > pi_t) / eta)``."""
    now = np.log([[0.1, 0.6, 0.3]])
    cases = all_pairs(GAME[None], np.exp(now))
    result = bench.learn("inpo", now, cases, eta=0.5, tau=0.2, base=bench.policy(BASE).id)
    mirror = log_softmax(0.4 * BASE + 0.6 * now + wins(now) / 0.5, axis=1)
    np.testing.assert_allclose(result, mirror, atol=1e-6)


def test_a_step_of_nash_md_plays_against_the_mixture(bench):
    now, weight, eta = np.log([[0.1, 0.6, 0.3]]), 0.25, 0.8
    mu = log_softmax((1 - weight) * now + weight * BASE, axis=1)
    cases = all_pairs(GAME[None], np.exp(mu))
    near = bench.policy(BASE).id
    result = bench.learn("nash-md", now, cases, eta=eta, tau=eta * weight, base=near)
    np.testing.assert_allclose(result, log_softmax(mu + wins(mu) / eta, axis=1), atol=1e-6)


def test_a_step_of_nash_mp_is_the_proximal_step(bench):
    """``argmax P(pi > half) - beta KL(pi, base) - 1/2 KL(pi, now)``."""
    now, half, beta = np.log([[0.1, 0.6, 0.3]]), np.log([[0.2, 0.2, 0.6]]), 0.3
    cases = all_pairs(GAME[None], np.exp(half))
    result = bench.learn(
        "nash-mp", half, cases, beta=beta, base=bench.policy(BASE).id, reference=now
    )
    proximal = log_softmax((beta * BASE + 0.5 * now + wins(half)) / (beta + 0.5), axis=1)
    np.testing.assert_allclose(result, proximal, atol=1e-6)


def test_a_step_of_sppo_is_exponential_weights(bench):
    """``pi proportional to pi_t exp(eta P(. > pi_t))``, where the squares are least together.

    Of exact win rates, with each log-ratio drawn to its own target, the policy is normalised only
    to first order: the smaller the step, the closer.
    """
    now = np.log([[0.2, 0.5, 0.3]])
    beta = 20.0
    result = bench.learn("sppo", now, all_pairs(GAME[None], np.full((1, 3), 1 / 3)), beta=beta)
    rates = GAME.mean(axis=1)[None]
    np.testing.assert_allclose(
        (result - now) - (result - now).mean(), (rates - rates.mean()) / beta, atol=2e-3
    )


def test_a_soft_step_of_dno_is_exponential_weights(bench):
    """Rosset et al. (2024), algorithm 1: the log-ratios' differences are those of win rates."""
    now = np.log([[0.2, 0.5, 0.3]])
    cases = all_pairs(GAME[None], np.full((1, 3), 1 / 3))
    result = bench.learn("dno", now, cases, eta=0.7, labels="soft", gap=0.0)
    rates = GAME.mean(axis=1)[None]
    np.testing.assert_allclose(result, log_softmax(now + rates / 0.7, axis=1), atol=1e-5)


def test_nash_md_comes_to_the_regularised_nash_policy(bench):
    path = nash_md_path(bench, GAME, BASE, tau=TAU, steps=60)
    away = [kl_divergence(nash_log_probs(), each) for each in path]
    assert away[-1] < 0.01
    assert away[-1] < 0.05 * away[0]
    bounds = [8 / (TAU**2 * (step + 1)) for step in range(len(path))]
    assert all(result <= bound for result, bound in zip(away, bounds, strict=True))


def test_nash_mp_comes_there_as_fast_as_the_theorem_says(bench):
    """At least as ``(1 + 2 beta)^(-N/2)`` in N queries; Tiapkin et al. (2025)."""
    path = nash_mp_path(bench, GAME, BASE, beta=TAU, steps=15)
    away = [kl_divergence(nash_log_probs(), each) for each in path]
    for step, result in enumerate(away):
        assert result <= away[0] * (1 + 2 * TAU) ** -step + 1e-9
    assert away[-1] < 1e-4


def test_inpo_comes_to_the_regularised_nash_policy(bench):
    now, near = BASE, bench.policy(BASE).id
    for _ in range(40):
        cases = all_pairs(GAME[None], np.exp(now))
        now = bench.learn("inpo", now, cases, eta=1.0, tau=TAU, base=near)
    assert kl_divergence(nash_log_probs(), now) < 1e-3
    regularised = exploitability(GAME, np.exp(now[0]), reference=np.exp(BASE[0]), tau=TAU)
    assert regularised < 1e-2


def test_self_play_without_a_base_leaves_the_circle(bench):
    now = BASE
    for _ in range(30):
        cases = all_pairs(GAME[None], np.exp(now))
        now = bench.learn("nash-md", now, cases, eta=0.7, tau=0.0)
    assert exploitability(GAME, np.exp(now[0])) > exploitability(GAME, np.exp(BASE[0]))


def test_sppo_and_dno_play_well_on_average(bench):
    for name, options in (
        ("sppo", {"beta": 1.0}),
        ("dno", {"eta": 1.0, "labels": "soft", "gap": 0.0}),
    ):
        path = [np.log([[0.6, 0.3, 0.1]])]
        for number in range(25):
            cases = bench.answers(
                [path[-1]] * 12, 3, seed=number, judge=Table(GAME[None]), draws=False
            )
            path.append(bench.learn(name, path[-1], cases, **options))
        mean = np.mean([softmax(each[0]) for each in path], axis=0)
        assert exploitability(GAME, mean) < 0.6 * exploitability(GAME, np.exp(path[0][0])), name


def test_the_bonus_of_xpo_finds_an_arm_that_the_reference_never_draws(bench):
    rewards = np.array([[0.1, 0.3, 0.2, 3.0]])
    base = np.log([[0.333, 0.333, 0.333, 0.001]])
    judge = Table(bradley_terry_preferences(rewards))
    results = {}
    for alpha in (0.1, 0.0):
        now, cases = base, []
        for number in range(25):
            cases += bench.answers([now, base], 2, seed=number, judge=judge)
            now = bench.learn(
                "xpo", now, cases, alpha=alpha, beta=0.5, reference=base, max_shift=12.0
            )
        results[alpha] = float(np.exp(now[0, -1]))
    assert results[0.1] > 0.5
    assert results[0.0] < 0.1


def test_xpo_without_a_bonus_reaches_the_optimum_of_dpo(bench):
    """``pi proportional to pi_ref exp(r / beta)``, where the labels cover all arms."""
    rewards, beta = np.array([[1.0, -0.5, 0.3]]), 0.8
    cases = all_pairs(bradley_terry_preferences(rewards), np.full((1, 3), 1 / 3))
    result = bench.learn("xpo", BASE, cases, alpha=0.0, beta=beta)
    np.testing.assert_allclose(result, log_softmax(BASE + rewards / beta, axis=1), atol=1e-5)


def test_spac_distrusts_an_arm_that_few_labels_speak_for(bench):
    """Two arms win all of their comparisons, one of 40 and one of a single one."""
    rewards = np.array([[4.0, -4.0, 0.0, 4.0]])
    sure = np.log([[0.5, 0.5, 1e-9, 1e-9]])
    rare = np.log([[1e-9, 1.0, 1e-9, 1e-9]])
    best = np.log([[1e-9, 1e-9, 1e-9, 1.0]])
    judge = Table(bradley_terry_preferences(rewards))
    cases = bench.answers([sure, rare], 40, seed=1, judge=judge)
    cases += bench.answers([best, rare], 1, seed=2, judge=judge)
    base = np.log(np.full((1, 4), 0.25))
    spac = bench.learn("spac", base, cases, beta=0.3, fit=3.0, samples=12, max_shift=10.0)
    dpo = bench.learn("dpo", base, cases, beta=0.3, max_shift=10.0)
    assert spac[0, 3] - spac[0, 0] < dpo[0, 3] - dpo[0, 0]
    assert spac[0, 0] > spac[0, 3]

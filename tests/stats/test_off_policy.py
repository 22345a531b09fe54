"""Off-policy estimates agree with brute force and with the known truth."""

from itertools import product

import numpy as np
import pytest

from backtalk.stats.estimate import InvalidValues, NotIdentified
from backtalk.stats.off_policy import (
    cross_fit_rewards,
    doubly_robust,
    importance_weights,
    ips,
    snips,
)

PROMPTS = np.array([0.5, 0.3, 0.2])
LOGGING = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]])
TARGET = np.array([[0.1, 0.1, 0.8], [0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
REWARDS = np.array([[0.1, 0.5, 0.9], [1.0, 0.4, 0.0], [0.8, 0.1, 0.9]])
"""Probability of a reward of 1, by prompt and answer."""
TRUTH = float((PROMPTS[:, None] * TARGET * REWARDS).sum())
GUESS = REWARDS.clip(0.3, 0.6)
"""Misspecified reward model."""
EXPECTED = (TARGET * GUESS).sum(1)


def logged(rng, n):
    prompts = rng.choice(3, n, p=PROMPTS)
    answers = (rng.random(n)[:, None] > LOGGING[prompts].cumsum(1)).sum(1)
    rewards = (rng.random(n) < REWARDS[prompts, answers]).astype(float)
    weights = importance_weights(TARGET[prompts, answers], LOGGING[prompts, answers])
    return prompts, answers, rewards, weights


def outcomes():
    """All possible logged answers, each with its probability."""
    for prompt, answer, reward in product(range(3), range(3), (0.0, 1.0)):
        likely = REWARDS[prompt, answer] if reward else 1 - REWARDS[prompt, answer]
        yield prompt, answer, reward, PROMPTS[prompt] * LOGGING[prompt, answer] * likely


def log_of_everything():
    """A log of 3,000 rows in which every outcome is as frequent as it is likely."""
    rows = [
        (p, a, r) for p, a, r, probability in outcomes() for _ in range(round(probability * 3_000))
    ]
    prompts, answers, rewards = (np.array(column) for column in zip(*rows, strict=True))
    weights = importance_weights(TARGET[prompts, answers], LOGGING[prompts, answers])
    return prompts, answers, rewards, weights


def test_over_all_that_can_happen_each_estimator_is_the_truth():
    prompts, answers, rewards, weights = log_of_everything()
    assert ips(rewards, weights).estimate.value == pytest.approx(TRUTH, abs=1e-9)
    assert snips(rewards, weights).estimate.value == pytest.approx(TRUTH, abs=1e-9)
    robust = doubly_robust(rewards, weights, GUESS[prompts, answers], EXPECTED[prompts])
    assert robust.estimate.value == pytest.approx(TRUTH, abs=1e-9)


def test_with_a_right_model_wrong_probabilities_do_not_matter():
    prompts, answers, rewards, weights = log_of_everything()
    right = doubly_robust(
        rewards, 3 * weights, REWARDS[prompts, answers], (TARGET * REWARDS).sum(1)[prompts]
    )
    assert right.estimate.value == pytest.approx(TRUTH, abs=1e-9)
    assert ips(rewards, 3 * weights).estimate.value == pytest.approx(3 * TRUTH)
    assert snips(rewards, 3 * weights).estimate.value == pytest.approx(TRUTH)


def test_the_intervals_cover_and_a_better_model_makes_them_shorter():
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for _ in range(300):
        prompts, answers, rewards, weights = logged(rng, 1200)
        results = [
            ips(rewards, weights),
            snips(rewards, weights),
            doubly_robust(
                rewards, weights, REWARDS[prompts, answers], (TARGET * REWARDS).sum(1)[prompts]
            ),
        ]
        covered.append([not result.estimate.excludes(TRUTH) for result in results])
        widths.append([result.estimate.width for result in results])
    assert (np.mean(covered, axis=0) > 0.91).all()
    in_ips, _, in_dr = np.mean(widths, axis=0)
    assert in_dr < 0.9 * in_ips


@pytest.mark.parametrize(("epsilon", "n"), [(0.05, 300), (0.05, 1000), (0.02, 1000)])
def test_rare_rewards_of_a_rare_arm_are_covered(epsilon, n):
    """Few matching rows, fewer rewards: the variance of the sample is too small as often as not."""
    rng = np.random.default_rng(11)
    covered = []
    for _ in range(60):
        context, arm = rng.random(n), rng.random(n) < epsilon
        rewards = (rng.random(n) < np.where(arm, 0.1 * context, 0.05)).astype(float)
        weights = np.where(arm, 1 / epsilon, 0.0)
        try:
            results = [
                ips(rewards, weights, bounds=(0, 1)),
                snips(rewards, weights, bounds=(0, 1)),
                doubly_robust(rewards, weights, np.full(n, 0.05), np.full(n, 0.05), bounds=(0, 1)),
            ]
        except NotIdentified:
            continue
        covered.append([not result.estimate.excludes(0.05) for result in results])
    assert len(covered) > 50
    assert (np.mean(covered, axis=0) >= 0.95).all()


def test_heavy_tailed_weights_are_covered_on_other_scales_and_in_clusters():
    """The target shifts a normal action by a standard deviation: log-normal weights."""
    rng = np.random.default_rng(12)
    target = rng.normal(1, 1, 200_000)
    truth = 10 * float((0.3 * (1 + np.tanh(target))).mean()) - 5
    covered = []
    for _ in range(150):
        action = np.repeat(rng.normal(size=400), 2)
        rewards = 10.0 * (rng.random(800) < 0.3 * (1 + np.tanh(action))) - 5
        weights = np.exp(action - 0.5)
        result = doubly_robust(
            rewards, weights, np.full(800, -2.0), np.full(800, -2.0),
            np.repeat(np.arange(400), 2), bounds=(-5, 5),
        ).estimate  # fmt: skip
        assert result.low <= result.value <= result.high
        covered.append(not result.excludes(truth))
    assert np.mean(covered) >= 0.95


def test_an_interval_without_bounds_that_rests_on_a_few_rewards_is_refused():
    weights = np.where(np.arange(300) < 15, 20.0, 0.0)
    rewards = np.where(np.arange(300) < 2, 1.0, 0.0)
    with pytest.raises(NotIdentified, match=r"300 weighted rewards rests on 2\.0 of them") as error:
        ips(rewards, weights, bounds=None)
    assert "bounds=" in error.value.mend
    assert ips(rewards, weights).estimate.method == "ips, betting"


def test_a_fitted_model_is_as_good_as_its_features():
    rng = np.random.default_rng(1)
    prompts, answers, rewards, weights = logged(rng, 3000)
    cells = np.eye(9)
    mixed = TARGET[prompts][:, :, None] * cells.reshape(3, 3, 9)[prompts]
    logged_rewards, target_rewards = cross_fit_rewards(
        cells[3 * prompts + answers], rewards, mixed.sum(1), ridge=1e-3
    )
    robust = doubly_robust(rewards, weights, logged_rewards, target_rewards)
    assert not robust.estimate.excludes(TRUTH)
    assert robust.estimate.width < ips(rewards, weights).estimate.width
    assert np.abs(logged_rewards - REWARDS[prompts, answers]).mean() < 0.05


def test_no_reward_helps_to_predict_itself():
    """Rewards are noise that only each row's own feature predicts: other folds cannot."""
    rng = np.random.default_rng(2)
    rewards = rng.integers(0, 2, 60).astype(float)
    predicted, _ = cross_fit_rewards(np.eye(60), rewards, np.eye(60))
    assert abs(np.corrcoef(predicted, rewards)[0, 1]) < 0.5
    by_group, _ = cross_fit_rewards(
        np.repeat(np.eye(30), 2, 0), np.repeat(rewards[:30], 2), np.eye(60)[:, :30],
        groups=np.repeat(np.arange(30), 2),
    )  # fmt: skip
    assert np.abs(by_group - np.repeat(rewards[:30], 2)).mean() > 0.3


def test_a_log_that_does_not_cover_the_target_is_rejected():
    weights = np.zeros(500)
    weights[:4] = 125.0
    with pytest.raises(
        NotIdentified, match=r"500 logged rewards have an effective sample size of 4\.0"
    ):
        ips(np.ones(500), weights)
    with pytest.raises(NotIdentified):
        snips(np.ones(500), np.zeros(500))


def test_clipping_is_reported_and_bounds_the_weights():
    rng = np.random.default_rng(3)
    _, _, rewards, weights = logged(rng, 2000)
    result = ips(rewards, weights, clip=2.0)
    assert result.largest_weight == pytest.approx(8.0)
    assert result.clipped == pytest.approx((weights > 2).mean())
    assert result.estimate.value == pytest.approx((rewards * weights.clip(0, 2)).mean())
    assert "clipped to 2" in result.warnings[0]
    assert ips(rewards, weights).warnings == ()


def test_wrong_probabilities_show_in_the_mean_weight():
    rng = np.random.default_rng(4)
    _, _, rewards, weights = logged(rng, 2000)
    assert "not 1" in ips(rewards, 1.5 * weights).warnings[0]


def test_the_self_normalised_estimate_stays_on_the_scale():
    rewards = np.array([1.0] * 15 + [0.0, 0.5])
    result = snips(rewards, np.linspace(0.1, 3.0, 17))
    assert 0 <= result.estimate.low <= result.estimate.value <= result.estimate.high <= 1


def test_users_who_answer_often_count_as_one_each():
    rng = np.random.default_rng(5)
    _, _, rewards, weights = logged(rng, 1500)
    users = np.repeat(np.arange(1500), 4)
    alone = snips(rewards, weights).estimate
    copied = snips(np.repeat(rewards, 4), np.repeat(weights, 4), users).estimate
    assert copied.width == pytest.approx(alone.width, rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: importance_weights([0.5], [0.0]), "Probabilities"),
        (lambda: importance_weights([1.5], [0.5]), "Probabilities"),
        (lambda: ips([1.0, 0.0], [1.0]), "lengths"),
        (lambda: ips([1.0], [-1.0]), "below 0"),
        (lambda: ips([1.0] * 20, [1.0] * 20, clip=0.0), "clipped to 0"),
        (
            lambda: cross_fit_rewards(np.ones((2, 1)), [0, 1], np.ones((2, 1)), ["a", "a"]),
            "one group",
        ),
    ],
)
def test_invalid_arguments_are_rejected(call, message):
    with pytest.raises(InvalidValues, match=message):
        call()

"""Probabilities of rewards that were fitted on few pairs: shrunk, and no worse than a coin."""

import asyncio
import json

import numpy as np
import pytest

from backtalk.embedders.registry import embedder_for_pairs
from backtalk.feedback import as_prompt
from backtalk.feedback.views import Pair
from backtalk.rewards import BradleyTerryReward, learn_reward
from backtalk.stats.paired import davidson

WORDS = {"thanks": 1.0, "sorry": 0.5, "maybe": 0.0, "no": -0.5, "never": -1.5}


def pairs(count, rng, *, noise):
    """Return pairs by the Bradley-Terry model of the words' scores; infinite noise is a coin."""
    results = []
    for number in range(count):
        a, b = (" ".join(rng.choice(list(WORDS), 6)) for _ in range(2))
        lead = sum(WORDS[word] for word in a.split()) - sum(WORDS[word] for word in b.split())
        first = rng.random() < 1 / (1 + np.exp(-lead / noise))
        chosen, rejected = (a, b) if first else (b, a)
        results.append(Pair(prompt=as_prompt(f"q{number}"), chosen=chosen, rejected=rejected))
    return results


def log_loss(reward, fresh):
    probabilities = asyncio.run(
        reward.compare(
            [(pair.prompt, pair.chosen) for pair in fresh],
            [(pair.prompt, pair.rejected) for pair in fresh],
        )
    )
    return -np.log(probabilities[:, 0]).mean()


def mean_loss(count, noise, *, repeats):
    losses = []
    for seed in range(repeats):
        rng = np.random.default_rng([count, seed])
        train = pairs(count, rng, noise=noise)
        fit = asyncio.run(learn_reward(train, embedder_for_pairs("hashed", train)))
        losses.append(log_loss(fit.reward, pairs(150, rng, noise=noise)))
    return np.mean(losses)


@pytest.mark.parametrize(("count", "repeats"), [(8, 10), (16, 10), (64, 5), (400, 1)])
@pytest.mark.parametrize("noise", [0.3, np.inf])
def test_probabilities_are_no_worse_than_a_coin_whatever_the_number_of_pairs(count, repeats, noise):
    assert mean_loss(count, noise, repeats=repeats) < np.log(2) + (0.03 if count < 64 else 0.01)


@pytest.mark.parametrize("count", [8, 16, 64, 400])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_a_shrunk_slope_predicts_better_than_the_most_likely_one(count, scale):
    """Margins of useful models and of noise, on about the scale that a Bayesian fit gives."""
    rng = np.random.default_rng(count)
    shrunk, unshrunk = [], []
    for _ in range(60):
        quality = rng.choice([0.0, 1.0, 3.0])
        margin = rng.normal(0, 1, count + 500)
        won = rng.random(count + 500) < 1 / (1 + np.exp(-quality * margin))
        outcomes = np.column_stack([won, ~won, np.zeros(count + 500)]).astype(float)
        margin *= scale
        train, test = slice(count), slice(count, None)
        slope, _ = davidson.fit_calibration(margin[train], outcomes[train])
        free, _ = davidson.fit_calibration(margin[train], outcomes[train], slope_std=1e3)
        for slopes, losses in ((slope, shrunk), (free, unshrunk)):
            losses.append(-davidson.log_likelihood(slopes * margin[test], outcomes[test]) / 500)
    assert np.mean(shrunk) < np.log(2)
    # With many comparisons both are the same; with few, the most likely slope is often infinite.
    assert np.mean(shrunk) < np.mean(unshrunk) + (0.03 if count >= 64 else 0)


def test_a_reward_that_separates_its_few_pairs_says_so_and_is_not_certain():
    train = [
        Pair(prompt=as_prompt(f"q{n}"), chosen="thanks " * 4, rejected="never " * 4)
        for n in range(16)
    ]
    fit = asyncio.run(learn_reward(train, embedder_for_pairs("hashed", train)))
    assert (fit.reward.decided, fit.reward.correct) == (16, 16)
    assert "separates its 16 pairs perfectly" in fit.reward.remark
    assert "may be 83 %" in fit.reward.remark
    assert fit.reward.calibration_slope < 60
    assert np.exp(-log_loss(fit.reward, train)) < 0.98


@pytest.mark.parametrize("seed", range(8))
def test_the_win_rate_of_a_choice_by_noise_is_within_the_posterior_of_another_reward(seed):
    """Two rewards of noise agree by accident, and on many prompts this looks like a difference."""
    rng = np.random.default_rng(seed)
    rewards = []
    for count in (64, 16):
        train = pairs(count, rng, noise=np.inf)
        fit = asyncio.run(learn_reward(train, embedder_for_pairs("hashed", train)))
        rewards.append(fit.reward)
    chooser, judge = rewards
    chosen, other = [], []
    for number in range(60):
        texts = [" ".join(rng.choice(list(WORDS), 6)) for _ in range(9)]
        answers = [(as_prompt(f"new {number}"), text) for text in texts]
        scores = asyncio.run(chooser.score(answers[:8])).mean
        chosen.append(answers[int(np.argmax(scores))])
        other.append(answers[8])
    verdicts = asyncio.run(judge.compare(chosen, other))
    rate = (verdicts[:, 0] + verdicts[:, 2] / 2).mean()
    assert abs(rate - 0.5) < 2.5 * asyncio.run(judge.win_rate_std(chosen, other)) + 0.001


def test_the_error_of_a_win_rate_shrinks_with_the_pairs_of_the_judge():
    rng = np.random.default_rng(3)
    spread = []
    for count in (30, 300):
        train = pairs(count, rng, noise=0.7)
        fit = asyncio.run(learn_reward(train, embedder_for_pairs("hashed", train)))
        sides = [[(p.prompt, getattr(p, side)) for p in train] for side in ("chosen", "rejected")]
        spread.append(asyncio.run(fit.reward.win_rate_std(*sides)))
    assert 0 < spread[1] < spread[0] < 0.2


def test_a_reward_with_errors_makes_no_remark():
    train = pairs(40, np.random.default_rng(1), noise=np.inf)
    fit = asyncio.run(learn_reward(train, embedder_for_pairs("hashed", train)))
    assert fit.reward.correct < fit.reward.decided
    assert fit.reward.remark is None


def test_rewards_of_earlier_versions_are_read():
    train = pairs(30, np.random.default_rng(2), noise=0.5)
    reward = asyncio.run(learn_reward(train, embedder_for_pairs("hashed", train))).reward
    files = reward.to_files()
    fields = json.loads(files["reward.json"])
    old = {
        "kind": "bradley-terry",
        "temperature": fields["calibration_slope"],
        "nu": fields["nu"],
        "reliability": fields["reliability"],
        "pairs": fields["pairs"],
    }
    read = BradleyTerryReward.from_files(files | {"reward.json": json.dumps(old).encode()})
    assert read.calibration_slope == pytest.approx(reward.calibration_slope)
    assert read.info.fitted_on is None
    assert read.info.digest == reward.info.digest
    assert log_loss(read, train) == pytest.approx(log_loss(reward, train), rel=1e-4)

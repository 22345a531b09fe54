import itertools

import numpy as np
import pytest

from backtalk.stats import InvalidValues, choose, optimism


def test_the_best_of_equals_looks_better_than_it_is_and_not_on_unseen_prompts():
    rng = np.random.default_rng(0)
    apparent, unseen, corrected = [], [], []
    for seed in range(400):
        result = choose(rng.beta(1, 1, (10, 80)), held_out=0.5, resamples=100, seed=seed)
        apparent.append(result.apparent.value)
        unseen.append(result.unseen.value)
        corrected.append(result.corrected)
    error = np.std(unseen) / 20
    assert np.mean(apparent) > 0.5 + 0.05
    assert np.mean(unseen) == pytest.approx(0.5, abs=4 * error)
    assert abs(np.mean(corrected) - 0.5) < 0.5 * (np.mean(apparent) - 0.5)


def test_optimism_is_the_mean_over_all_resamples():
    """Two candidates on three prompts: all 27 resamples can be written down."""
    scores = np.array([[1.0, 0.0, 0.4], [0.3, 0.7, 0.6]])
    means = scores.mean(1)
    excess = []
    for resample in itertools.product(range(3), repeat=3):
        resampled_means = scores[:, list(resample)].mean(1)
        best = int(resampled_means.argmax())
        excess.append(resampled_means[best] - means[best])
    assert optimism(scores, resamples=100_000) == pytest.approx(np.mean(excess), abs=0.003)


def test_one_candidate_leaves_nothing_to_be_optimistic_about():
    assert optimism(np.random.default_rng(0).random((1, 50))) == pytest.approx(0, abs=0.01)


def test_the_choice_does_not_see_what_is_held_out():
    scores = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    result = choose(scores, held_out=[False, False, True, True])
    assert (result.winner, result.apparent.value, result.unseen.value) == (0, 1.0, 0.0)
    assert choose(scores, held_out=0.0).unseen is None


def test_means_without_an_interval_are_compared_all_the_same():
    one_each = choose([[-3.0, -2.0], [5.0, 4.0]], held_out=0.5, bounds=None)
    assert (one_each.winner, one_each.apparent, one_each.unseen) == (1, None, None)
    assert one_each.corrected == one_each.means[1]
    constant = choose(np.full((2, 24), 7.0), held_out=0.5, bounds=None)
    assert (constant.winner, constant.apparent, constant.unseen) == (0, None, None)


@pytest.mark.parametrize(
    ("scores", "held_out", "says"),
    [
        ([0.5, 0.5], 0.3, "shape"),
        ([[0.5, np.nan]], 0.3, "Candidate 0 has no finite score on prompt 1"),
        ([[0.5, 0.5]], 1.0, "held_out is 1"),
        ([[0.5, 0.5]], [True, True], "All prompts"),
        ([[0.5, 0.5]], [1, 0], "held_out has shape"),
    ],
)
def test_invalid_arguments_are_rejected(scores, held_out, says):
    with pytest.raises(InvalidValues, match=says):
        choose(scores, held_out=held_out)

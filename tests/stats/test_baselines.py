import numpy as np
import pytest

from backtalk.stats import BASELINES, InvalidValues, compare_to_baselines

TEXTS = [["a", "bbb", "cc"], ["dddd", "e", "ffff"], ["g", "hh"]]
VALUES = [[0.1, 0.9, 0.2], [0.4, 0.6, 0.8], [1.0, 0.0]]


def test_rules_give_the_probability_of_choosing_each():
    probabilities = {name: rule(TEXTS[1]).tolist() for name, rule in BASELINES.items()}
    assert probabilities == {
        "longest": [0.5, 0, 0.5],
        "shortest": [0, 1, 0],
        "first": [1, 0, 0],
        "random": pytest.approx([1 / 3] * 3),
    }


def test_scores_by_hand():
    result = compare_to_baselines(TEXTS, VALUES, [1, 2, 0])
    scores = {name: score.score.value for name, score in result.baselines.items()}
    assert scores == pytest.approx(
        {
            "longest": (0.9 + 0.6 + 0.0) / 3,
            "first": (0.1 + 0.4 + 1.0) / 3,
            "random": (0.4 + 0.6 + 0.5) / 3,
            "shortest": (0.1 + 0.6 + 1.0) / 3,
        }
    )
    assert result.chooser.value == pytest.approx((0.9 + 0.8 + 1.0) / 3)
    assert result.ceiling.value == pytest.approx(result.chooser.value)
    assert result.baselines["longest"].agreement == pytest.approx((1 + 0.5 + 0) / 3)
    assert result.baselines["first"].difference.value == pytest.approx(1.2 / 3)
    assert not result.beats_all()


def test_a_chooser_that_takes_the_longest_does_not_beat_it():
    rng = np.random.default_rng(0)
    texts = [["x" * size for size in rng.permutation(5) + 1] for _ in range(200)]
    values = [[len(text) / 5 for text in row] for row in texts]
    longest = [int(np.argmax(row)) for row in values]
    result = compare_to_baselines(texts, values, longest)
    assert result.baselines["longest"].difference.value == 0
    assert result.baselines["random"].difference.low > 0
    assert not result.beats_all()


def test_invalid_arguments_are_rejected():
    with pytest.raises(InvalidValues, match="2 prompts, 1 rows"):
        compare_to_baselines(TEXTS[:2], VALUES[:1], [0, 0])
    with pytest.raises(InvalidValues, match="candidate 3 was chosen"):
        compare_to_baselines(TEXTS[:1], VALUES[:1], [3])

import choix
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from backtalk.stats import InvalidValues, NotIdentified, bradley_terry


def games(seed=0, items=6, n=200):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=items)
    pairs = np.array([rng.choice(items, 2, replace=False) for _ in range(n)])
    won = rng.random(n) < 1 / (1 + np.exp(truth[pairs[:, 1]] - truth[pairs[:, 0]]))
    return pairs[:, 0], pairs[:, 1], won.astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_choixs(seed):
    first, second, won = games(seed)
    winners = [(a, b) if w else (b, a) for a, b, w in zip(first, second, won, strict=True)]
    theirs = choix.opt_pairwise(6, winners)
    assert bradley_terry(first, second, won).strengths == pytest.approx(theirs, abs=1e-4)


def test_davidsons_ties_are_the_maximum_of_his_likelihood():
    rng = np.random.default_rng(1)
    first, second, won = games(1, items=4, n=120)
    won[rng.random(120) < 0.3] = 0.5

    def loss(parameters):
        strengths, tie = np.append(parameters[:3], -parameters[:3].sum()), np.exp(parameters[3])
        first_weight, second_weight = np.exp(strengths[first]), np.exp(strengths[second])
        tie_weight = tie * np.sqrt(first_weight * second_weight)
        probability = np.where(
            won == 1, first_weight, np.where(won == 0, second_weight, tie_weight)
        )
        return -np.log(probability / (first_weight + second_weight + tie_weight)).sum()

    best = minimize(loss, np.zeros(4), tol=1e-10).x
    result = bradley_terry(first, second, won, ties="davidson")
    assert result.strengths[:3] == pytest.approx(best[:3], abs=1e-3)
    assert result.tie == pytest.approx(np.exp(best[3]), abs=1e-3)


def test_two_items_are_a_proportion():
    result = bradley_terry(["a"] * 10, ["b"] * 10, [1] * 7 + [0] * 3)
    assert result.probability("a", "b").value == pytest.approx(0.7)
    assert result.order() == ("a", "b")


def test_weights_stand_for_repeated_rows_and_order_does_not_matter():
    rows = [("a", "b", 1), ("b", "a", 1), ("b", "c", 1), ("c", "a", 0.25)]
    weights = [3, 2, 4, 5]
    once = bradley_terry(*zip(*rows, strict=True), weights=weights)
    copies = [row for row, weight in zip(rows, weights, strict=True) for _ in range(weight)]
    turned = [(b, a, 1 - won) for a, b, won in copies]
    for same in (copies, turned):
        result = bradley_terry(*zip(*same, strict=True))
        assert result.strengths == pytest.approx(once.strengths)
        assert result.covariance == pytest.approx(once.covariance)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a", "b", 1), ("a", "c", 1), ("b", "c", 1), ("c", "b", 1)], "'a' never lost to"),
        ([("a", "b", 1), ("b", "a", 1), ("a", "c", 1)], "'c' never beat"),
        ([("a", "b", 1), ("b", "a", 1), ("c", "d", 1), ("d", "c", 1)], "never met"),
    ],
)
def test_strengths_without_a_maximum_are_rejected(rows, says):
    with pytest.raises(NotIdentified, match=says):
        bradley_terry(*zip(*rows, strict=True))
    penalised = bradley_terry(*zip(*rows, strict=True), ridge=1.0)
    assert penalised.regularised
    assert "ridge" in penalised.strength("a").method


def test_an_unbeaten_item_is_first_under_a_penalty():
    rows = [("a", "b", 1), ("a", "c", 1), ("b", "c", 1), ("c", "b", 1), ("b", "c", 1)]
    assert bradley_terry(*zip(*rows, strict=True), ridge=0.1).order()[0] == "a"


def test_ties_without_contradictions_do_not_identify_the_tie_parameter():
    with pytest.raises(NotIdentified, match="without contradiction"):
        bradley_terry(["a", "a"], ["b", "b"], [1, 0.5], ties="davidson")
    with pytest.raises(NotIdentified, match="All comparisons are ties"):
        bradley_terry(["a", "a"], ["b", "b"], [0.5, 0.5], ties="davidson")


def test_invalid_arguments_are_rejected():
    for arguments, options, says in (
        ((["a"], ["a"], [1]), {}, "with itself"),
        (([], [], []), {}, "empty|no comparisons"),
        ((["a"], ["b"], [1]), {"weights": [0]}, "not positive"),
        ((["a"], ["b"], [1]), {"items": ["a"]}, "not among the items"),
        ((["a"], ["b"], [0.3]), {"ties": "davidson"}, "no outcome"),
    ):
        with pytest.raises(InvalidValues, match=says):
            bradley_terry(*arguments, **options)


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_two_items_is_that_of_clustered_log_odds(seed):
    """Compared with the sandwich written out: squared sums of residuals, by cluster."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    won = (rng.random(len(clusters)) < np.repeat(rng.random(12), np.bincount(clusters))) * 1.0
    names = ["a"] * len(won), ["b"] * len(won)
    result = bradley_terry(*names, won, clusters=clusters)
    p = won.mean()
    sums = np.bincount(clusters, won - p)
    variance = (sums**2).sum() / (len(won) * p * (1 - p)) ** 2 * 12 / 11
    contrast = np.array([1.0, -1.0])
    assert contrast @ result.covariance @ contrast == pytest.approx(variance, rel=1e-4)
    assert (result.clusters, bradley_terry(*names, won).clusters) == (12, None)
    estimate = result.difference("a", "b")
    reach = stats.t.ppf(0.975, 11) * variance**0.5
    assert estimate.high - estimate.value == pytest.approx(reach, rel=1e-4)


def test_repeated_comparisons_of_a_cluster_add_no_certainty():
    first, second, won = games(3, items=4, n=150)
    once = bradley_terry(first, second, won, clusters=np.arange(150))
    rows = np.repeat(np.arange(150), 5)
    copies = bradley_terry(first[rows], second[rows], won[rows], clusters=rows)
    assert copies.covariance == pytest.approx(once.covariance, rel=1e-3, abs=1e-6)
    independent = bradley_terry(first[rows], second[rows], won[rows])
    assert np.trace(independent.covariance) < 0.3 * np.trace(once.covariance)

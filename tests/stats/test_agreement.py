import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from backtalk.stats import InvalidValues, NotIdentified, cohen_kappa, krippendorff_alpha

LEVELS = {"nominal": "nominal", "ordinal": "ordinal", "interval": "interval"}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=30))
@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_is_scikit_learns(weights, pairs):
    first, second = np.transpose(pairs)
    if len(set(first) | set(second)) == 1:
        with pytest.raises(NotIdentified):
            cohen_kappa(first, second, weights=weights)
        return
    ours = cohen_kappa(first, second, weights=weights, categories=range(4)).estimate
    theirs = cohen_kappa_score(first, second, weights=weights, labels=range(4))
    assert ours.value == pytest.approx(theirs)
    assert ours.low - 1e-9 <= ours.value <= ours.high + 1e-9
    assert ours.high <= 1


ratings = st.lists(
    st.tuples(*[st.sampled_from([1.0, 2.0, 3.0, 5.0, np.nan])] * 3), min_size=4, max_size=25
).map(lambda rows: np.array(rows).T)


@given(ratings)
@pytest.mark.parametrize("metric", LEVELS)
def test_alpha_is_that_of_the_krippendorff_package(metric, table):
    paired = (~np.isnan(table)).sum(0) >= 2
    used = table[:, paired]
    labels = set(used[~np.isnan(used)])
    if len(labels) < 2:
        with pytest.raises((InvalidValues, NotIdentified)):
            krippendorff_alpha(table, metric=metric)
        return
    theirs = krippendorff.alpha(table, level_of_measurement=metric)
    assert krippendorff_alpha(table, metric=metric).estimate.value == pytest.approx(theirs)


def test_krippendorffs_own_example():
    """Krippendorff (2011), Computing Krippendorff's alpha-reliability, section C."""
    passed = None
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, passed, passed, passed],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, passed, 3],
        [passed, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, passed],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, passed],
    ]
    results = {m: krippendorff_alpha(table, metric=m).estimate.value for m in LEVELS}
    assert results == pytest.approx(
        {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849}, abs=5e-4
    )


def test_perfect_agreement_still_has_an_interval():
    result = cohen_kappa(["a", "b"] * 6, ["a", "b"] * 6)
    assert result.estimate.value == 1
    assert result.estimate.low < 0.6
    assert result.estimate.high == 1


def test_clusters_widen_what_they_copy():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, (2, 30))
    clusters = np.repeat(np.arange(30), 4)
    copied = np.repeat(first, 4), np.repeat(second, 4)
    alone = cohen_kappa(*copied).estimate
    grouped = cohen_kappa(*copied, clusters=clusters).estimate
    assert grouped.width > 1.7 * alone.width
    assert grouped.clusters == 30


def test_unusable_labels_are_refused():
    with pytest.raises(InvalidValues, match="rated twice"):
        krippendorff_alpha([[1, None], [None, 2]])
    with pytest.raises(InvalidValues, match="'z' is not among"):
        cohen_kappa(["a", "z"], ["a", "b"], categories=["a", "b"])
    with pytest.raises(InvalidValues, match="metric"):
        krippendorff_alpha([[1, 2], [1, 2]], metric="ratio")

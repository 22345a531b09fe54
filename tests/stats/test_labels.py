"""Labels: missing values are never labels, and 1 is not "1"."""

import inspect
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score

from backtalk.stats import (
    InvalidValues,
    NotIdentified,
    accuracy,
    bootstrap,
    bradley_terry,
    brier,
    choose,
    cohen_kappa,
    compare_to_baselines,
    doubly_robust,
    exact_interval,
    group_folds,
    importance_weights,
    ips,
    krippendorff_alpha,
    length_controlled,
    log_loss,
    mean_confidence_sequence,
    mean_interval,
    paired_difference,
    reliability_curve,
    score_interval,
    snips,
    t_interval,
    win_rate,
)
from backtalk.stats.labels import encode, is_missing
from backtalk.stats.nash import exploitability

NAN = float("nan")
MISSING = [
    None,
    NAN,
    np.float32("nan"),
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    Decimal("nan"),
    "",
    " ",
]
MISSING += ["nan", "NaN", "<NA>"]
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": lambda values: np.array(values, dtype=object),
    "series": lambda values: pd.Series(values, dtype=object),
}

TWENTY = [1.0, 0.0] * 10
CALLS = {
    "accuracy": lambda wrap, gap: accuracy(wrap(["a", gap, "b"]), ["a", "b", "b"]),
    "accuracy, second": lambda wrap, gap: accuracy([1, 2, 3], wrap([1, gap, 3])),
    "kappa": lambda wrap, gap: cohen_kappa(wrap(["a", gap, "b"]), ["a", "b", "b"]),
    "kappa, weights": lambda wrap, gap: cohen_kappa(wrap([1, gap]), [1, 2], weights="linear"),
    "kappa, clusters": lambda wrap, gap: cohen_kappa([1, 2], [1, 2], clusters=wrap(["x", gap])),
    "kappa, categories": lambda _, gap: cohen_kappa([1, 2], [1, 2], categories=[1, 2, gap]),
    "alpha, clusters": lambda wrap, gap: krippendorff_alpha(
        [[1, 2], [1, 2]], clusters=wrap(["x", gap])
    ),
    "win rate": lambda wrap, gap: win_rate(wrap([1, gap])),
    "win rate, clusters": lambda wrap, gap: win_rate([1, 0], clusters=wrap([7, gap])),
    "score interval": lambda wrap, gap: score_interval([1, 0], wrap([7, gap])),
    "bootstrap, clusters": lambda wrap, gap: bootstrap([1, 0], wrap([7, gap])),
    "t": lambda wrap, gap: t_interval(wrap([1, gap, 3])),
    "unbounded mean": lambda wrap, gap: mean_interval([1, 2], wrap([7, gap]), bounds=None),
    "difference": lambda wrap, gap: paired_difference([1, 0], wrap([1, gap])),
    "Bradley-Terry, models": lambda wrap, gap: bradley_terry(wrap(["x", gap]), ["y", "x"], [1, 0]),
    "Bradley-Terry, items": lambda _, gap: bradley_terry(
        ["x", "y"], ["y", "x"], [1, 1], items=["x", "y", gap]
    ),
    "Bradley-Terry, clusters": lambda wrap, gap: bradley_terry(
        ["x", "y"], ["y", "x"], [1, 1], clusters=wrap(["p", gap])
    ),
    "Bradley-Terry, outcomes": lambda wrap, gap: bradley_terry(
        ["x", "y"], ["y", "x"], wrap([1, gap])
    ),
    "length-controlled, models": lambda wrap, gap: length_controlled(
        [[1, 0, 1], [0, 1, 1]], [[3, 4, 5], [5, 4, 3]], [4, 4, 4], models=wrap(["m", gap])
    ),
    "folds": lambda wrap, gap: group_folds(wrap(["a", gap, "b"]), 2),
    "Brier": lambda wrap, gap: brier(wrap([0.5, gap]), [0, 1]),
    "log loss": lambda wrap, gap: log_loss([0.5, 0.6], wrap([0, gap])),
    "reliability": lambda wrap, gap: reliability_curve([0.5, 0.6], [0, 1], clusters=wrap([1, gap])),
    "choice": lambda wrap, gap: choose([wrap([1, gap, 1]), [0, 1, 0]]),
    "baselines": lambda wrap, gap: compare_to_baselines(
        [["a", "b"], ["a", "b"]], [wrap([1, gap]), [0, 1]], [0, 0]
    ),
    "sequence": lambda wrap, gap: mean_confidence_sequence(wrap([1, gap])),
    "weights": lambda wrap, gap: importance_weights([0.1, 0.2], wrap([0.1, gap])),
    "ips": lambda wrap, gap: ips(wrap([*TWENTY, gap]), [1] * 21),
    "snips": lambda wrap, gap: snips([*TWENTY, 1], wrap([*[1] * 20, gap])),
    "dr": lambda wrap, gap: doubly_robust(TWENTY, [1] * 20, wrap([*TWENTY[1:], gap]), TWENTY),
    "snips, clusters": lambda wrap, gap: snips(TWENTY, [1] * 20, wrap([*range(19), gap])),
    "exact": lambda _, gap: exact_interval(gap, 3),
    "Nash": lambda _, gap: exploitability([[0.5, gap], [0.5, 0.5]], [0.5, 0.5]),
}


@pytest.mark.parametrize("gap", MISSING, ids=repr)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_missing_value_is_refused_by_every_statistic(call, gap):
    for wrap in CONTAINERS.values():
        with pytest.raises(InvalidValues):
            call(wrap, gap)


def test_the_refusal_names_the_argument_the_count_and_the_place():
    says = r"actual has 2 of 4 entries that are missing .* first at position 1"
    with pytest.raises(InvalidValues, match=says):
        accuracy(["a", "b", "a", "b"], ["a", None, "", "b"])
    with pytest.raises(InvalidValues, match="values has 1 of 2 values that are missing"):
        mean_interval([1, None])


@pytest.mark.parametrize("gap", MISSING, ids=repr)
@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
def test_missing_ratings_of_alpha_are_left_out_and_counted(metric, gap):
    first, second, third = [1, 2, 2, gap, 3, 1], [1, 2, 1, 1, gap, 1], [1, gap, 2, 1, 3, 2]
    result = krippendorff_alpha([first, second, third], metric=metric)
    assert result.missing == 3
    floats = np.array([[1, 2, 2, NAN, 3, 1], [1, 2, 1, 1, NAN, 1], [1, NAN, 2, 1, 3, 2]])
    assert result == krippendorff_alpha(floats, metric=metric)


LABEL_LISTS = {
    "series": pd.Series(["a", None, "b"]),
    "nullable integers": pd.Series([1, None, 2], dtype="Int64"),
    "nullable texts": pd.array(["a", pd.NA, "b"], dtype="string"),
    "nullable flags": pd.array([True, None, False], dtype="boolean"),
    "categorical": pd.Categorical(["a", None, "b"]),
    "masked": np.ma.masked_array([1, 2, 3], mask=[False, True, False]),
    "arrow": pa.array(["a", None, "b"]),
    "texts of NumPy": np.array(["a", NAN, "b"]),
    "floats": np.array([1, NAN, 2]),
    "times": np.array(["2026-01-01", "NaT", "2026-01-02"], dtype="datetime64[ns]"),
}


@pytest.mark.parametrize("labels", LABEL_LISTS.values(), ids=LABEL_LISTS)
def test_missing_labels_are_seen_in_every_container(labels):
    for statistic in (accuracy, cohen_kappa):
        with pytest.raises(InvalidValues, match="1 of 3 entries that are missing"):
            statistic(labels, labels)
    with pytest.raises(InvalidValues, match="1 of 3 entries"):
        win_rate([1, 0, 1], clusters=labels)
    assert krippendorff_alpha([labels, labels]).missing == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1], ["1"]),
        ([1, 2], ["1", "2"]),
        ([1, "1"], [1, 1]),
        ([True, False], ["True", "False"]),
        (np.array([1, 2]), np.array(["1", "2"])),
        ([1.0, 2.0], pd.Series(["1.0", "2.0"])),
    ],
)
def test_numbers_and_texts_are_refused_side_by_side(first, second):
    for statistic in (
        accuracy,
        cohen_kappa,
        lambda a, b: krippendorff_alpha([list(a), list(b)]),
        lambda a, b: bradley_terry(a, b, [1] * len(a)),
        lambda a, b: win_rate([1] * 2 * len(a), clusters=[*a, *b]),
    ):
        with pytest.raises(InvalidValues, match=r"numbers such as .* texts such as"):
            statistic(first, second)


def test_integers_floats_and_flags_are_one_type():
    assert accuracy([1, 2], [1.0, 2.0]).value == 1
    assert accuracy([True, False], np.array([1, 0])).value == 1
    assert cohen_kappa([True, False], [1, 0]).estimate.value == 1
    assert cohen_kappa(np.array([1, 2]), pd.Series([1, 2], dtype="Int64")).estimate.value == 1


labels = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 9, 10]), st.sampled_from([1, 2, 3, 9, 10])),
    min_size=3,
    max_size=30,
).filter(lambda pairs: len({label for pair in pairs for label in pair}) > 1)


@given(labels)
@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_and_accuracy_of_text_numbers_are_those_of_the_numbers(weights, pairs):
    first, second = ([int(label) for label in side] for side in zip(*pairs, strict=True))
    texts = [str(label) for label in first], [str(label) for label in second]
    ours = cohen_kappa(*texts, weights=weights)
    assert ours.estimate.value == pytest.approx(cohen_kappa_score(first, second, weights=weights))
    assert accuracy(*texts).value == pytest.approx(accuracy_score(first, second))
    if weights is None:
        assert (ours.estimate.value == 1) == (accuracy(*texts).value == 1)
    else:
        assert ours == cohen_kappa(first, second, weights=weights)


@given(labels)
@pytest.mark.parametrize("metric", ["ordinal", "interval"])
def test_alpha_of_text_numbers_is_that_of_the_numbers(metric, pairs):
    numbers = np.transpose(pairs)
    texts = [[str(label) for label in side] for side in numbers]
    ours, theirs = (krippendorff_alpha(table, metric=metric) for table in (texts, numbers))
    assert ours.estimate.value == pytest.approx(theirs.estimate.value)


def test_quadratic_kappa_of_text_numbers_uses_their_numeric_order():
    first, second = ["1", "2", "10", "9", "3"], ["2", "2", "9", "10", "3"]
    assert cohen_kappa(first, second, weights="quadratic").estimate.value == pytest.approx(14 / 17)


ORDERED = {
    "linear": lambda *rows, **options: cohen_kappa(*rows, weights="linear", **options),
    "quadratic": lambda *rows, **options: cohen_kappa(*rows, weights="quadratic", **options),
    "ordinal": lambda *rows, **options: krippendorff_alpha(rows, metric="ordinal", **options),
}


@pytest.mark.parametrize("statistic", ORDERED.values(), ids=ORDERED)
def test_labels_without_a_known_order_ask_for_categories(statistic):
    rows = ["low", "mid", "high", "mid"], ["low", "high", "high", "mid"]
    with pytest.raises(InvalidValues, match=r"depends on the order .* Pass categories="):
        statistic(*rows)
    ranks = {"low": 1, "mid": 2, "high": 3}
    numbers = [[ranks[label] for label in row] for row in rows]
    assert statistic(*rows, categories=list(ranks)) == statistic(*numbers)
    with pytest.raises(InvalidValues, match="'mid' is not among the categories"):
        statistic(*rows, categories=["low", "high"])
    with pytest.raises(InvalidValues, match="names a label twice"):
        statistic(*rows, categories=["low", "low", "mid", "high"])
    with pytest.raises(InvalidValues, match="same number"):
        statistic(["1", "1.0", "2"], ["1", "2", "2"])


def test_two_labels_need_no_order():
    rows = ["yes", "no", "no", "yes"], ["yes", "no", "yes", "yes"]
    assert cohen_kappa(*rows, weights="quadratic") == cohen_kappa(*rows)


def test_the_interval_metric_needs_numbers():
    with pytest.raises(InvalidValues, match=r"'b' is not one.*metric='ordinal'"):
        krippendorff_alpha([["b", "1"], ["b", "1"]], metric="interval")
    with pytest.raises(InvalidValues, match="metric='ordinal'"):
        krippendorff_alpha([[1, 2], [1, 2]], metric="interval", categories=[1, 2])


NOT_LABELS = [
    "abc",
    5,
    {},
    {1, 2},
    (x for x in "ab"),
    [],
    (),
    np.array([]),
    pd.Series(dtype=object),
]
NOT_LABELS += [[["a"], ["b"]], [["a"], ["b", "c"]], [("a", "b")], np.ones((2, 2))]


@pytest.mark.parametrize("value", NOT_LABELS, ids=lambda value: repr(value)[:20])
def test_what_is_no_list_of_labels_is_refused_with_words(value):
    for call in (
        lambda: accuracy(value, value),
        lambda: cohen_kappa(value, value),
        lambda: bradley_terry(value, value, [1]),
        lambda: group_folds(value, 2),
        lambda: win_rate([1, 0], clusters=value),
        lambda: win_rate(value),
        lambda: krippendorff_alpha([value, value]),
    ):
        with pytest.raises(InvalidValues):
            call()


def test_a_name_that_two_models_share_is_refused():
    with pytest.raises(InvalidValues, match="models names a label twice"):
        length_controlled(
            [[1, 0, 1], [0, 1, 1]], [[3, 4, 5], [5, 4, 3]], [4, 4, 4], models=["m", "m"]
        )
    with pytest.raises(InvalidValues, match="items names a label twice"):
        bradley_terry(["x", "y"], ["y", "x"], [1, 1], items=["x", "y", "x"])


def test_lists_of_different_lengths_are_refused():
    for call in (
        lambda: accuracy([1, 2], [1]),
        lambda: cohen_kappa([1, 2], [1]),
        lambda: bradley_terry(["a"], ["b", "c"], [1]),
        lambda: krippendorff_alpha([[1, 2], [1]]),
        lambda: choose([[1, 2], [1]]),
        lambda: win_rate([1, 0], clusters=[1]),
    ):
        with pytest.raises(InvalidValues):
            call()


def test_values_that_are_no_numbers_are_named():
    with pytest.raises(InvalidValues, match="preferences has 'won' at position 1"):
        win_rate([1, "won"])
    assert win_rate(["1", "0.5"]).estimate.value == 0.75


def test_one_label_is_agreement_without_chance():
    assert accuracy(["a", "a"], ["a", "a"]).value == 1
    with pytest.raises(NotIdentified, match="report accuracy"):
        cohen_kappa(["a", "a"], ["a", "a"])
    with pytest.raises(NotIdentified):
        krippendorff_alpha([["a", "a"], ["a", "a"]])


def test_numbers_are_coded_in_their_order_and_keep_their_size():
    big = 2**60
    codes, names = encode([10, 9, big, big + 1])
    assert names == [9, 10, big, big + 1]
    assert codes.tolist() == [1, 0, 2, 3]
    assert not is_missing(np.array([1, 2]))


REWARDS = [1.0] * 30
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, 30)
DEGENERATE = {
    "snips": (snips, (REWARDS, WEIGHTS)),
    "snips of zeros": (snips, ([0.0] * 30, WEIGHTS)),
    "snips within": (snips, ([0.4] * 30, WEIGHTS)),
    "snips of one cluster": (snips, ([1.0, 0.0] * 15, WEIGHTS, ["u"] * 30)),
    "snips, many": (snips, ([1.0] * 1500, np.tile(WEIGHTS, 50))),
    "ips": (ips, (REWARDS, [1.0] * 30)),
    "ips of one cluster": (ips, ([1.0, 0.0] * 15, WEIGHTS, ["u"] * 30)),
    "dr": (doubly_robust, (REWARDS, WEIGHTS, REWARDS, REWARDS)),
    "mean": (mean_interval, ([0.5] * 20, None)),
    "mean of few": (mean_interval, ([0.5] * 4, None)),
    "difference": (paired_difference, ([1] * 20, [1] * 20)),
}


@pytest.mark.parametrize(("statistic", "arguments"), DEGENERATE.values(), ids=DEGENERATE)
def test_equal_values_have_an_interval_as_soon_as_the_scale_is_known(statistic, arguments):
    with pytest.raises(InvalidValues) as refused:
        statistic(*arguments, bounds=None)
    options = set(re.findall(r"(\w+)=", refused.value.mend))
    assert options
    assert options <= set(inspect.signature(statistic).parameters)
    result = statistic(*arguments, bounds=(0.0, 1.0))
    estimate = getattr(result, "estimate", result)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.width > 0


def test_snips_of_equal_rewards_is_that_reward():
    result = snips(REWARDS, WEIGHTS, bounds=(0, 1))
    assert (result.estimate.value, result.estimate.high, result.estimate.n) == (1, 1, 30)
    fewer = snips([1.0] * 15, WEIGHTS[:15], bounds=(0, 1))
    assert fewer.estimate.low < result.estimate.low < 1


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_the_mend_for_equal_preferences_works(method):
    with pytest.raises(InvalidValues, match="method='auto'"):
        win_rate([1] * 20, method=method)
    assert win_rate([1] * 20, method="auto").estimate.value == 1


def test_the_mend_for_equal_losses_works():
    with pytest.raises(InvalidValues, match="floor="):
        log_loss([0.5] * 4, [1, 0, 1, 0])
    assert log_loss([0.5] * 4, [1, 0, 1, 0], floor=1e-6).value == pytest.approx(np.log(2))

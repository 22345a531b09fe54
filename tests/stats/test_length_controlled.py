import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from backtalk.errors import UnknownName
from backtalk.stats import InvalidValues, NotIdentified, length_controlled, win_rate
from backtalk.stats.logistic import fit_logistic, is_separated


def judged(seed=0, n=120):
    rng = np.random.default_rng(seed)
    baseline = rng.lognormal(7, 0.5, n)
    lengths = baseline * np.exp(rng.normal(0.3, 0.5, n))
    gap = baseline - lengths
    probability = 1 / (1 + np.exp(0.5 + 1.2 * np.tanh(gap / gap.std(ddof=1))))
    return (rng.random(n) < probability).astype(float), lengths, baseline


def test_one_model_is_a_logistic_regression_read_at_equal_length():
    preferences, lengths, baseline = judged()
    gap = baseline - lengths
    term = np.tanh(gap / gap.std(ddof=1))[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(term, preferences)
    result = length_controlled(preferences, lengths, baseline)
    assert result.quality[0] == pytest.approx(theirs.intercept_[0], abs=1e-4)
    assert result.length[0] == pytest.approx(theirs.coef_[0, 0], abs=1e-4)
    equal = theirs.predict_proba([[0.0]])[0, 1]
    assert result["0"].value == pytest.approx(equal, abs=1e-4)
    assert result["0"].value < win_rate(preferences).estimate.value


def test_no_effect_of_length_leaves_the_win_rate():
    rng = np.random.default_rng(0)
    preferences, lengths = rng.beta(1, 1, 4000), rng.lognormal(7, 0.5, 4000)
    result = length_controlled(preferences, lengths, rng.lognormal(7, 0.5, 4000))
    assert result["0"].value == pytest.approx(preferences.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("preferences", "lengths", "says"),
    [
        ([1.0, 1.0, 1.0, 1.0], [1, 2, 3, 4], "won all"),
        ([0.0, 1e-9, 0.0, 1e-30], [1, 2, 3, 4], "lost all"),
        ([0.0, 0.0, 1.0, 1.0], [1, 2, 8, 9], "Length and difficulty alone"),
        ([0.0, 1.0, 1.0, 0.0], [1, 1, 1, 1], "same length"),
    ],
)
def test_data_that_identify_nothing_are_rejected(preferences, lengths, says):
    with pytest.raises(NotIdentified, match=says):
        length_controlled(preferences, lengths, [5, 5, 5, 5])


def test_separation_is_found_exactly():
    ones = np.ones(4)
    line = np.column_stack([ones, [1.0, 2.0, 3.0, 4.0]])
    assert is_separated(line, np.array([0.0, 0.0, 1.0, 1.0]))
    assert is_separated(line, np.array([0.0, 0.0, 0.5, 1.0]))
    assert not is_separated(line, np.array([0.0, 1.0, 0.0, 1.0]))
    assert not is_separated(line, np.array([0.2, 0.0, 0.5, 1.0]))
    assert fit_logistic(line, np.array([0.0, 1.0, 0.0, 1.0]))[1] > 0


def test_invalid_arguments_are_rejected():
    with pytest.raises(InvalidValues, match="shape"):
        length_controlled([0.5, 0.5], [1, 2, 3], [1, 2])
    with pytest.raises(InvalidValues, match="no length"):
        length_controlled([0.5, 0.5], [1, np.nan], [1, 2])
    preferences, lengths, baseline = judged()
    with pytest.raises(UnknownName, match="mine"):
        length_controlled(preferences, lengths, baseline, models=["mine"])["other"]


@pytest.fixture(scope="module")
def alpaca(data):
    rows = pq.read_table(data / "alpaca_eval_outputs.parquet").to_pydict()
    base = pq.read_table(data / "alpaca_eval_baseline.parquet").to_pydict()
    with (data / "alpaca_eval_leaderboard.csv").open() as lines:
        published = list(csv.DictReader(lines))
    return rows, base, published


def test_alpaca_evals_win_rates_are_the_published_ones(alpaca):
    rows, base, published = alpaca
    names = sorted(set(rows["model"]))
    prompts = {text: number for number, text in enumerate(base["instruction"])}
    table, lengths = np.full((2, len(names), len(prompts)), np.nan)
    for name, prompt, text, preference in zip(
        rows["model"], rows["instruction"], rows["output"], rows["preference"], strict=True
    ):
        cell = names.index(name), prompts[prompt]
        table[cell], lengths[cell] = preference, len(text)
    theirs = {row["model"]: row for row in published}
    plain = [
        100
        * np.mean([p for m, p in zip(rows["model"], rows["preference"], strict=True) if m == name])
        for name in names
    ]
    assert len(names) == 28
    assert plain == pytest.approx([float(theirs[n]["win_rate"]) for n in names], abs=0.1)
    controlled = length_controlled(
        table, lengths, [len(text) for text in base["baseline_output"]], models=names
    )
    ours = [100 * controlled[name].value for name in names]
    published_rates = [float(theirs[name]["length_controlled_winrate"]) for name in names]
    assert np.abs(np.subtract(ours, published_rates)).mean() <= 1.5
    assert spearmanr(ours, published_rates).statistic >= 0.98

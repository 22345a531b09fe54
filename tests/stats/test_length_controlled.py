import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from backtalk.errors import UnknownName
from backtalk.stats import InvalidValues, NotIdentified, length_controlled, win_rate
from backtalk.stats.item_difficulty import fit_jointly
from backtalk.stats.length_shared import shared_effects
from backtalk.stats.length_table import length_table
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


def field(models, n=150, seed=0):
    """Preferences, lengths and baseline lengths of models of different quality."""
    rng = np.random.default_rng(seed)
    baseline = rng.lognormal(7, 0.5, n)
    lengths = baseline * np.exp(rng.normal(-0.2, 0.5, (models, n)))
    logits = np.linspace(-1, 1, models)[:, None] - 1.5 * length_terms(lengths, baseline)
    probability = 1 / (1 + np.exp(-logits - rng.normal(0, 1, n)))
    return (rng.random((models, n)) < probability).astype(float), lengths, baseline


def length_terms(lengths, baseline):
    gaps = baseline - lengths
    return np.tanh(gaps / gaps.std(1, ddof=1, keepdims=True))


def by_sklearn(own, outcomes, guard, guard_outcomes, guard_weight):
    """Fit the columns of quality, length and difficulty; the guard has no quality."""
    design = np.vstack([own, guard])
    target = np.concatenate([outcomes, guard_outcomes])
    weights = np.concatenate([np.ones(len(own)), np.full(len(guard), guard_weight)])
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=5000)
    fit.fit(
        np.vstack([design, design]),
        np.repeat([1, 0], len(design)),
        sample_weight=np.concatenate([weights * target, weights * (1 - target)]),
    )
    return fit.coef_[0]


def test_recorded_variants_enter_the_fit_without_quality():
    preferences, lengths, baseline = field(3)
    gamma = np.random.default_rng(1).normal(size=150)
    result = length_controlled(
        preferences, lengths, baseline, models=["mine", "longer", "shorter"],
        variants=["longer", "shorter"], difficulties=gamma,
    )  # fmt: skip
    terms = length_terms(lengths, baseline)
    own = np.column_stack([np.ones(150), terms[0], gamma])
    guard = np.column_stack([np.zeros(300), terms[1:].ravel(), np.tile(gamma, 2)])
    theirs = by_sklearn(own, preferences[0], guard, preferences[1:].ravel(), 0.1)
    ours = result.quality[0], result.length[0], result.difficulty[0]
    assert ours == pytest.approx(theirs, abs=1e-3)
    own[:, 1] = 0
    assert result["mine"].value == pytest.approx(np.mean(1 / (1 + np.exp(-own @ theirs))), abs=1e-4)


def test_without_variants_the_guard_expects_two():
    preferences, lengths, baseline = field(1)
    gamma = np.random.default_rng(1).normal(size=150)
    result = length_controlled(
        preferences, lengths, baseline, difficulties=gamma, length_effect=-1.7, guard=0.4
    )
    terms = length_terms(lengths, baseline)[0]
    spread = np.sqrt(np.mean(terms**2))
    own = np.column_stack([np.ones(150), terms, gamma])
    guard = np.column_stack([np.zeros(300), np.repeat([spread, -spread], 150), np.tile(gamma, 2)])
    expected = 1 / (1 + np.exp(-guard @ [0, -1.7, 1]))
    theirs = by_sklearn(own, preferences[0], guard, expected, 0.2)
    ours = result.quality[0], result.length[0], result.difficulty[0]
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_without_a_guard_the_fit_is_maximum_likelihood():
    preferences, lengths, baseline = field(1)
    gamma = np.random.default_rng(1).normal(size=150)
    result = length_controlled(preferences, lengths, baseline, difficulties=gamma, guard=0)
    own = np.column_stack([np.ones(150), length_terms(lengths, baseline)[0], gamma])
    theirs = by_sklearn(own, preferences[0], np.empty((0, 3)), np.empty(0), 1)
    ours = result.quality[0], result.length[0], result.difficulty[0]
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert result.length_effect is None


def test_the_joint_fit_is_the_maximum_of_its_penalised_likelihood():
    preferences, lengths, baseline = field(3, n=20)
    preferences[0, :4] = np.nan
    terms, judged = length_terms(lengths, baseline), ~np.isnan(preferences)
    counts = judged.sum(1)

    def loss(values):
        theta, phi, gamma = values[:3], values[3:6], values[6:]
        logits = theta[:, None] + phi[:, None] * terms + gamma
        cost = np.where(judged, np.logaddexp(0, logits) - np.nan_to_num(preferences) * logits, 0)
        mean = np.average(phi, weights=counts)
        return (
            cost.sum() + 0.2 * (gamma**2).sum() + 0.05 * (counts * (phi - mean) ** 2).sum()
            + 0.0005 * ((theta**2).sum() + (phi**2).sum())
        )  # fmt: skip

    best = minimize(loss, np.zeros(26), method="BFGS", options={"gtol": 1e-6}).x
    ours = fit_jointly(preferences, terms, ridge=0.4, shrinkage=0.1)
    assert np.concatenate(ours) == pytest.approx(best, abs=1e-3)


def test_a_model_that_shortens_what_it_would_lose_gains_less():
    preferences, lengths, baseline = field(6, n=400, seed=2)
    rng = np.random.default_rng(3)
    lost = rng.random(400) < 0.85
    lengths[0] = np.where(lost, 10, baseline + 50 * rng.random(400))
    preferences[0] = np.where(lost, 0.02, 0.9)
    guarded = length_controlled(preferences, lengths, baseline)["0"]
    free = length_controlled(preferences, lengths, baseline, guard=0)["0"]
    assert free.value - guarded.value > 0.1
    assert guarded.low < free.value < guarded.high


def test_the_baseline_against_itself_is_at_one_half_and_moves_no_other_model():
    preferences, lengths, baseline = field(4)
    alone = length_controlled(preferences, lengths, baseline)
    result = length_controlled(
        np.vstack([np.full(150, 0.5), preferences]), np.vstack([baseline, lengths]), baseline
    )
    first = result.estimates[0]
    assert (first.value, first.low, first.high) == (0.5, 0.5, 0.5)
    assert (result.quality[0], result.length[0], result.difficulty[0]) == (0, 0, 0)
    ours, theirs = ([e.value for e in r] for r in (result.estimates[1:], alone.estimates))
    assert ours == pytest.approx(theirs, abs=5e-3)


def test_difficulties_can_be_fixed_for_later_models():
    preferences, lengths, baseline = field(5)
    board = length_controlled(preferences, lengths, baseline)
    later = length_controlled(
        preferences[0], lengths[0], baseline,
        difficulties=board.difficulties, length_effect=board.length_effect,
    )  # fmt: skip
    assert later.difficulties == board.difficulties
    assert later["0"].value == pytest.approx(board["0"].value, abs=0.03)
    with pytest.raises(InvalidValues, match="150 instructions"):
        length_controlled(preferences, lengths, baseline, difficulties=[1.0, 2.0])
    with pytest.raises(InvalidValues, match="guard"):
        length_controlled(preferences, lengths, baseline, guard=-1)
    with pytest.raises(UnknownName, match="verbose"):
        length_controlled(preferences, lengths, baseline, variants=["verbose"])


@pytest.mark.parametrize("models", [3, 43])
def test_no_outcome_of_a_model_is_used_for_its_difficulties(models):
    preferences, lengths, baseline = field(models, n=30)
    changed = preferences.copy()
    changed[1] = 1 - changed[1]
    first, second = (
        shared_effects(
            length_table(table, lengths, baseline, None), None, guard=0.2, ridge=0.3, seed=0
        )
        for table in (preferences, changed)
    )
    assert first.without[1].difficulty == pytest.approx(second.without[1].difficulty, abs=1e-6)
    assert first.without[1].length == pytest.approx(second.without[1].length, abs=1e-6)
    assert first.without[0].difficulty != pytest.approx(second.without[0].difficulty, abs=1e-3)


@pytest.fixture(scope="module")
def alpaca(data):
    rows = pq.read_table(data / "alpaca_eval_outputs.parquet").to_pydict()
    base = pq.read_table(data / "alpaca_eval_baseline.parquet").to_pydict()
    with (data / "alpaca_eval_leaderboard.csv").open() as lines:
        published = {row["model"]: row for row in csv.DictReader(lines)}
    names = sorted(set(rows["model"]))
    prompts = {text: number for number, text in enumerate(base["instruction"])}
    table, lengths = np.full((2, len(names), len(prompts)), np.nan)
    for name, prompt, text, preference in zip(
        rows["model"], rows["instruction"], rows["output"], rows["preference"], strict=True
    ):
        cell = names.index(name), prompts[prompt]
        table[cell], lengths[cell] = preference, len(text)
    baseline = [len(text) for text in base["baseline_output"]]
    return names, table, lengths, baseline, published


def published_rates(alpaca, column):
    names, *_, published = alpaca
    return np.array([float(published[name][column]) for name in names])


def differences(alpaca, result):
    """Return length-controlled win rates less the published ones, in points."""
    ours = [100 * estimate.value for estimate in result.estimates]
    return ours - published_rates(alpaca, "length_controlled_winrate")


def test_alpaca_evals_win_rates_are_the_published_ones(alpaca):
    names, table, *_ = alpaca
    assert len(names) == 28
    assert 100 * np.nanmean(table, axis=1) == pytest.approx(
        published_rates(alpaca, "win_rate"), abs=0.1
    )


def test_alpaca_evals_length_controlled_win_rates_agree_with_the_published_ones(alpaca):
    names, table, lengths, baseline, _ = alpaca
    result = length_controlled(table, lengths, baseline, models=names)
    errors = np.abs(differences(alpaca, result))
    complete = ~np.isnan(table).any(1)
    assert errors.mean() <= 0.4
    assert errors.max() <= 1.8
    assert errors[complete].mean() <= 0.35
    assert errors[complete].max() <= 1.65
    theirs = published_rates(alpaca, "length_controlled_winrate")
    ours = [estimate.value for estimate in result.estimates]
    assert spearmanr(ours, theirs).statistic >= 0.99

    # AlpacaEval fits the difficulties to all models, and gives the k-th judgement of a model the
    # difficulty of the k-th instruction, so that a missing judgement shifts those after it.
    by_row = np.tile(result.difficulties, (len(names), 1))
    for row, judged in zip(by_row, ~np.isnan(table), strict=True):
        row[judged] = result.difficulties[: judged.sum()]
    again = length_controlled(
        table, lengths, baseline, models=names, difficulties=by_row,
        length_effect=result.length_effect,
    )  # fmt: skip
    errors = np.abs(differences(alpaca, again))
    assert errors.mean() <= 0.36
    assert errors.max() <= 1.2


def test_without_a_guard_alpaca_evals_concise_models_gain(alpaca):
    names, table, lengths, baseline, _ = alpaca
    result = length_controlled(table, lengths, baseline, models=names, guard=0, ridge=0.14)
    errors = differences(alpaca, result)
    assert np.abs(errors).mean() > 1.0
    assert errors[names.index("gpt4_0613_concise")] > 6

"""Allocation of traffic: the probabilities of the arms, and the draws."""

from collections import Counter

import numpy as np
import pytest
from scipy import integrate, stats

from backtalk.experiments import Allocation, AllocationOption, allocate, stop
from backtalk.experiments.allocation import best_arm_probabilities, duel_probabilities
from backtalk.experiments.interleaving import team_draft
from backtalk.stats import exact_interval
from tests.experiments.conftest import make_trial


def make_rng():
    return np.random.default_rng(0)


def test_thompson_probabilities_are_those_of_the_best_arm():
    """Compared with a numerical integral for the larger of two beta variables."""
    a, b = stats.beta(1 + 7, 1 + 5), stats.beta(1 + 4, 1 + 9)
    truth, _ = integrate.quad(lambda x: a.pdf(x) * b.cdf(x), 0, 1)
    result = best_arm_probabilities(np.array([7.0, 4.0]), np.array([5.0, 9.0]), make_rng())
    assert result.sum() == pytest.approx(1)
    assert result[0] == pytest.approx(truth, abs=0.03)


def test_an_unbeaten_arm_duels_most_and_the_losers_least_with_each_other():
    wins = np.array([[0, 30, 30, 30], [5, 0, 15, 18], [5, 15, 0, 15], [5, 12, 15, 0]], float)
    result = duel_probabilities(wins, make_rng())
    assert np.allclose(result, result.T)
    assert np.triu(result, 1).sum() == pytest.approx(1)
    assert result[0].sum() > 0.95
    assert not np.diag(result).any()


def test_arms_without_data_are_all_compared():
    result = duel_probabilities(np.zeros((3, 3)), make_rng())
    assert result[np.triu_indices(3, 1)].min() > 0.2


@pytest.mark.parametrize("unit", [None, "many"])
def test_draws_have_the_logged_probabilities(unit):
    options = tuple(
        AllocationOption(arms=(arm,), probability=probability)
        for arm, probability in (("a", 0.6), ("b", 0.3), ("c", 0.1))
    )
    shares = Allocation(experiment="x", unit="user", options=options)
    drawn = Counter(shares.draw(unit and f"user:{i}").arms[0] for i in range(3000))
    for option in options:
        assert not exact_interval(drawn[option.arms[0]], 3000, level=0.9999).excludes(
            option.probability
        )


def test_a_unit_changes_its_arm_only_if_the_arm_was_stopped(store):
    trial = make_trial(store, candidates=2, unit="user", shares=(0.5, 0.2, 0.3))
    before = allocate(trial.reader().refresh())
    stopped, remaining = trial.candidates
    stop(store, "trial", arm=stopped, actor="ada")
    after = allocate(trial.reader().refresh())
    assert after.probabilities == {trial.control: 0.625, remaining: pytest.approx(0.375)}
    for user in map(str, range(300)):
        arm = before.draw(user).arms[0]
        assert after.draw(user).arms[0] == arm or arm == stopped


def test_an_adaptive_allocation_respects_its_floor_and_is_reproducible(store):
    trial = make_trial(store, candidates=2, allocation="thompson", floor=0.15)
    trial.traffic(dict(zip(trial.experiment.arms, (0.9, 0.2, 0.2), strict=True)), 200)
    result = allocate(trial.reader().refresh())
    assert result == allocate(trial.reader().refresh())
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert result.probabilities[trial.control] == pytest.approx(0.7, abs=0.02)
    assert min(result.probabilities.values()) >= 0.15


def test_without_candidates_the_control_answers_alone(store):
    trial = make_trial(store, allocation="dueling", outcome="preference")
    assert [option.arms for option in allocate(trial.reader().refresh()).options] == [
        trial.experiment.arms
    ]
    stop(store, "trial", arm=trial.candidates[0], actor="ada")
    assert allocate(trial.reader().refresh()).draw().arms == (trial.control,)


def test_teams_are_first_equally_often_and_have_equal_numbers_of_positions():
    drafts = [team_draft(4) for _ in range(2000)]
    assert {draft.count(0) for draft in drafts} == {2}
    assert not exact_interval(sum(d[0] for d in drafts), 2000, level=0.9999).excludes(0.5)
    assert {draft[:2] for draft in drafts} == {(0, 1), (1, 0)}
    assert len(team_draft(3)) == 3


def test_the_only_pair_of_a_duel_is_certain_and_so_is_the_control_alone(store):
    trial = make_trial(store, allocation="dueling", outcome="preference", floor=0.2)
    (pair,) = allocate(trial.reader().refresh()).options
    assert (pair.arms, pair.probability) == (trial.experiment.arms, 1.0)
    interaction = trial.pair(*trial.experiment.arms)
    store.add(interaction, trial.preference(interaction, "a"))
    shares = allocate(trial.reader().refresh())
    assert shares.options[0].probability == 1.0
    assert shares.probabilities == dict.fromkeys(trial.experiment.arms, 1.0)
    stop(store, "trial", arm=trial.candidates[0], actor="ada")
    alone = allocate(trial.reader().refresh())
    assert alone.probabilities == {trial.control: 1.0}


@pytest.mark.parametrize("floor", [0.01, 0.05, 0.2])
def test_the_pairs_of_a_duel_have_at_least_the_floor_and_sum_to_one(store, floor):
    trial = make_trial(store, allocation="dueling", outcome="preference", candidates=2, floor=floor)
    for _ in range(30):
        interaction = trial.pair(trial.control, trial.candidates[0])
        store.add(interaction, trial.preference(interaction, "a"))
    shares = allocate(trial.reader().refresh())
    assert sum(option.probability for option in shares.options) == pytest.approx(1)
    assert min(option.probability for option in shares.options) >= floor - 1e-12
    assert sum(shares.probabilities.values()) == pytest.approx(2)

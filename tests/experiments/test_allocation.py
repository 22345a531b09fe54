"""Who answers next: the chances, and the draw."""

from collections import Counter

import numpy as np
import pytest
from scipy import integrate, stats

from backtalk.experiments import Allocation, AllocationOption, allocate, stop
from backtalk.experiments.allocation import best_arm_probabilities, duel_probabilities
from backtalk.experiments.interleaving import team_draft
from backtalk.stats import exact_interval
from tests.experiments.conftest import trial_of


def rng():
    return np.random.default_rng(0)


def test_thompson_draws_as_often_as_an_arm_is_the_best():
    """The chance that one Beta variable exceeds another, integrated."""
    one, two = stats.beta(1 + 7, 1 + 5), stats.beta(1 + 4, 1 + 9)
    truth, _ = integrate.quad(lambda x: one.pdf(x) * two.cdf(x), 0, 1)
    result = best_arm_probabilities(np.array([7.0, 4.0]), np.array([5.0, 9.0]), rng())
    assert result.sum() == pytest.approx(1)
    assert result[0] == pytest.approx(truth, abs=0.03)


def test_an_unbeaten_arm_duels_most_and_the_losers_least_with_each_other():
    wins = np.array([[0, 30, 30, 30], [5, 0, 15, 18], [5, 15, 0, 15], [5, 12, 15, 0]], float)
    result = duel_probabilities(wins, rng())
    assert np.allclose(result, result.T)
    assert np.triu(result, 1).sum() == pytest.approx(1)
    assert result[0].sum() > 0.95
    assert not np.diag(result).any()


def test_arms_that_never_met_all_have_a_chance():
    result = duel_probabilities(np.zeros((3, 3)), rng())
    assert result[np.triu_indices(3, 1)].min() > 0.2


@pytest.mark.parametrize("unit", [None, "many"])
def test_draws_have_the_chances_that_they_are_logged_with(unit):
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


def test_a_unit_moves_only_if_its_arm_was_taken_out(store):
    trial = trial_of(store, candidates=2, unit="user", shares=(0.5, 0.2, 0.3))
    before = allocate(trial.follower().refresh())
    gone, left = trial.candidates
    stop(store, "trial", arm=gone, actor="ada")
    after = allocate(trial.follower().refresh())
    assert after.probabilities == {trial.control: 0.625, left: pytest.approx(0.375)}
    for user in map(str, range(300)):
        arm = before.draw(user).arms[0]
        assert after.draw(user).arms[0] == arm or arm == gone


def test_an_adaptive_arm_keeps_its_floor_and_the_same_log_gives_the_same_chances(store):
    trial = trial_of(store, candidates=2, allocation="thompson", floor=0.15)
    trial.traffic(dict(zip(trial.experiment.arms, (0.9, 0.2, 0.2), strict=True)), 200)
    result = allocate(trial.follower().refresh())
    assert result == allocate(trial.follower().refresh())
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert result.probabilities[trial.control] == pytest.approx(0.7, abs=0.02)
    assert min(result.probabilities.values()) >= 0.15


def test_with_all_candidates_gone_the_control_answers_alone(store):
    trial = trial_of(store, allocation="dueling", outcome="preference")
    assert [option.arms for option in allocate(trial.follower().refresh()).options] == [
        trial.experiment.arms
    ]
    stop(store, "trial", arm=trial.candidates[0], actor="ada")
    assert allocate(trial.follower().refresh()).draw().arms == (trial.control,)


def test_neither_team_stands_first_more_often_and_both_get_their_places():
    drafts = [team_draft(4) for _ in range(2000)]
    assert {draft.count(0) for draft in drafts} == {2}
    assert not exact_interval(sum(d[0] for d in drafts), 2000, level=0.9999).excludes(0.5)
    assert {draft[:2] for draft in drafts} == {(0, 1), (1, 0)}
    assert len(team_draft(3)) == 3

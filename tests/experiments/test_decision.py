"""Decisions on arms: the rules, their evidence, and decisions by hand."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.evaluate.result import headline
from backtalk.evaluate.storage import list_evaluations
from backtalk.experiments import (
    DecisionRule,
    Experiment,
    apply_rules,
    decide,
    list_experiments,
    make_evaluation,
    promote_arm,
    read_events,
    running_experiment,
    start,
    stop,
    summarise,
)
from backtalk.experiments.evidence import longer_wins
from backtalk.feedback import Outcome
from backtalk.policy import save_policy
from backtalk.promotion import GateRefused, active_policy, promote, promotion_history
from backtalk.stats.intervals.confidence_sequences import (
    average_confidence_sequence,
    difference_confidence_sequence,
)
from tests.experiments.conftest import ADA, make_trial, policy


def rates(trial, *values):
    return dict(zip(trial.experiment.arms, values, strict=True))


def kinds(store):
    return [event.what.kind for event in read_events(store)]


def test_no_decision_is_made_before_the_minimum_of_judgements(store):
    trial = make_trial(store, rule=DecisionRule(min_judgements=60))
    trial.traffic(rates(trial, 0.0, 1.0), 80)
    state = trial.reader().refresh()
    assert summarise(state).candidates[0].outcome.difference.low > 0
    assert summarise(state).candidates[0].verdict == "open"
    assert decide(state, trial.control) is None


def test_an_arm_within_the_margin_is_not_stopped(store):
    trial = make_trial(store, rule=DecisionRule(margin=0.9, min_judgements=20))
    trial.traffic(rates(trial, 0.9, 0.1), 200)
    assert apply_rules(store, trial.reader()) == []
    assert summarise(trial.reader().refresh()).candidates[0].verdict == "worse"


def test_the_best_of_several_winners_is_promoted_and_the_harmful_one_stopped(store):
    trial = make_trial(store, candidates=3, rule=DecisionRule(min_judgements=20))
    trial.traffic(rates(trial, 0.4, 0.9, 1.0, 0.0), 500)
    events = apply_rules(store, trial.reader())
    assert [event.what.kind for event in events] == ["stopped", "promoted"]
    assert events[0].what.arm == trial.candidates[2]
    assert events[1].what.arm == active_policy(store).id == trial.candidates[1]
    assert apply_rules(store, trial.reader()) == []


def test_no_winner_is_promoted_while_another_arm_is_undecided(store):
    trial = make_trial(
        store, candidates=2, shares=(0.48, 0.48, 0.04), rule=DecisionRule(min_judgements=20)
    )
    trial.traffic(rates(trial, 0.1, 0.8, 1.0), 250)
    early, late = summarise(trial.reader().refresh()).candidates
    assert early.verdict == "better"
    assert late.verdict == "open"
    assert apply_rules(store, trial.reader()) == []
    trial.traffic(rates(trial, 0.1, 0.8, 1.0), 750)
    assert [event.what.kind for event in apply_rules(store, trial.reader())] == ["promoted"]


def test_a_winner_with_a_worse_guard_is_stopped(store):
    trial = make_trial(store, guards=("outcome",), rule=DecisionRule(min_judgements=20))
    for number in range(160):
        arm = trial.experiment.arms[number % 2]
        interaction = trial.interaction(arm)
        wins = arm != trial.control
        passed = Outcome(interaction=interaction.id, annotator=ADA, response="0", passed=not wins)
        store.add(interaction, trial.thumb(interaction, wins), passed)
    state = trial.reader().refresh()
    assert summarise(state).candidates[0].verdict == "better"
    assert any("outcome gets worse" in reason for reason in _gate_reasons(state, trial))
    (stopped, ended) = apply_rules(store, trial.reader())
    assert stopped.what.reason == "worse by outcome"
    assert ended.what.reason == "no candidate is left"


def test_a_verdict_needs_the_interval_and_the_minimum_of_both_arms(store):
    trial = make_trial(store, rule=DecisionRule(min_judgements=30))
    trial.traffic(rates(trial, 0.55, 0.4), 80)
    (candidate,) = summarise(trial.reader().refresh()).candidates
    difference = candidate.outcome.difference
    assert difference.value < 0 < difference.high
    assert candidate.verdict == "open"
    assert decide(trial.reader().refresh(), trial.control) is None


def test_the_control_needs_the_minimum_of_judgements_as_well(store):
    trial = make_trial(store, rule=DecisionRule(min_judgements=30))
    for arm, good, count in ((trial.control, False, 29), (trial.candidates[0], True, 200)):
        for _ in range(count):
            interaction = trial.interaction(arm)
            store.add(interaction, trial.thumb(interaction, good))
    (candidate,) = summarise(trial.reader().refresh()).candidates
    assert candidate.outcome.difference.low > 0
    assert candidate.verdict == "open"
    interaction = trial.interaction(trial.control)
    store.add(interaction, trial.thumb(interaction, False))
    assert summarise(trial.reader().refresh()).candidates[0].verdict == "better"


def add_guarded(store, trial, *, count, loss):
    """Add traffic in which the candidate gains thumbs and fails some of the outcomes."""
    for number in range(count):
        arm = trial.experiment.arms[number % 2]
        interaction = trial.interaction(arm)
        is_candidate = arm != trial.control
        passed = not (is_candidate and (number // 2) % 100 < 100 * loss)
        outcome = Outcome(interaction=interaction.id, annotator=ADA, response="0", passed=passed)
        store.add(interaction, trial.thumb(interaction, is_candidate), outcome)


def test_a_winner_whose_guard_is_worse_within_the_margin_is_not_promoted(store):
    rule = DecisionRule(min_judgements=20, margin=0.5)
    trial = make_trial(store, guards=("outcome",), rule=rule)
    add_guarded(store, trial, count=600, loss=0.3)
    (guard,) = summarise(trial.reader().refresh()).candidates[0].guards
    assert -0.5 < guard.difference.low < guard.difference.high < 0
    assert apply_rules(store, trial.reader()) == []
    assert kinds(store) == ["started"]
    with pytest.raises(GateRefused, match="outcome gets worse"):
        promote_arm(store, "trial", actor="ada")
    assert active_policy(store).id == trial.control


def test_an_evaluation_has_the_guards_of_the_experiment(store):
    trial = make_trial(store, guards=("outcome",))
    add_guarded(store, trial, count=400, loss=0.25)
    state = trial.reader().refresh()
    (guard,) = make_evaluation(state, trial.candidates[0]).guards
    assert (guard.name, guard.candidate.value, guard.baseline.value) == ("outcome", 0.75, 1.0)
    assert guard.difference.value == pytest.approx(-0.25, abs=0.01)


def test_the_interval_of_an_adaptive_experiment_holds_both_sequences(store):
    """With drift, the weighted and the betting sequence differ; the summary has the union."""
    trial = make_trial(store, allocation="thompson", floor=0.1, candidates=1)
    for step in range(4):
        trial.traffic(rates(trial, 0.2 + 0.2 * step, 0.3 + 0.2 * step), 150)
    state = trial.reader().refresh()
    difference = summarise(state).candidates[0].outcome.difference
    counts = [sorted(state.arms[arm].values["thumb"].items()) for arm in trial.experiment.arms]
    (their_values, their_counts), (values, own_counts) = (
        map(np.array, zip(*count, strict=True)) for count in counts
    )
    betting = difference_confidence_sequence(
        values, their_values, counts=(own_counts.astype(float), their_counts.astype(float))
    )
    effects = state.arms[trial.candidates[0]].effects["thumb"]
    weighted = average_confidence_sequence(
        effects.total, effects.squares, effects.n, bound=10, level=0.95
    )
    assert (weighted.low, weighted.high) != pytest.approx((betting.low, betting.high), abs=1e-3)
    assert difference.low == pytest.approx(max(min(weighted.low, betting.low), -1))
    assert difference.high == pytest.approx(min(max(weighted.high, betting.high), 1))


def _gate_reasons(state, trial):
    from backtalk.promotion import Gate

    return Gate().reasons(make_evaluation(state, trial.candidates[0]), served=trial.control)


def test_an_experiment_ends_at_its_horizon(store):
    trial = make_trial(store, rule=DecisionRule(horizon=100))
    trial.traffic(rates(trial, 0.5, 0.5), 99)
    assert apply_rules(store, trial.reader()) == []
    trial.traffic(rates(trial, 0.5, 0.5), 1)
    (ended,) = apply_rules(store, trial.reader())
    assert ended.what.reason == "nothing was decided after 100 judgements"
    assert running_experiment(store) is None
    assert [experiment.name for experiment in list_experiments(store)] == ["trial"]


def test_a_promotion_by_hand_ends_the_experiment(store):
    trial = make_trial(store, rule=DecisionRule(promote=False, min_judgements=20))
    trial.traffic(rates(trial, 0.1, 0.9), 100)
    promote_arm(store, "trial", actor="ada")
    assert kinds(store) == ["started", "promoted"]
    assert promotion_history(store)[-1].actor == "ada"
    with pytest.raises(NotFound, match="has ended"):
        promote_arm(store, "trial", actor="ada")


def test_a_candidate_without_evidence_is_refused_and_nothing_is_stored(store):
    trial = make_trial(store)
    with pytest.raises(GateRefused, match="do not both have judgements"):
        promote_arm(store, "trial", actor="ada")
    trial.traffic(rates(trial, 0.5, 0.5), 60)
    with pytest.raises(GateRefused, match="not shown to be above"):
        promote_arm(store, "trial", actor="ada")
    assert list_evaluations(store) == []
    assert kinds(store) == ["started"]


def test_the_level_is_split_between_candidates(store):
    trial = make_trial(store, candidates=2)
    trial.traffic(rates(trial, 0.5, 0.5, 0.5), 90)
    summary = summarise(trial.reader().refresh())
    assert [arm.outcome.difference.level for arm in summary.candidates] == [0.975, 0.975]
    assert summary.control.outcome.mean.level == 0.95


def test_an_evaluation_has_the_figures_of_the_traffic(store):
    trial = make_trial(store)
    trial.traffic(rates(trial, 0.3, 0.8), 400)
    state = trial.reader().refresh()
    result = make_evaluation(state, trial.candidates[0])
    counts = [state.arms[arm].values["thumb"] for arm in trial.experiment.arms]
    control, candidate = (list(count.elements()) for count in counts)
    better = np.mean([(c > d) + 0.5 * (c == d) for c in candidate for d in control])
    assert result.win_rate.value == pytest.approx(better)
    assert result.value.difference.value == pytest.approx(np.mean(candidate) - np.mean(control))
    assert result.prompts == 400
    assert "of 400 live prompts by traffic:thumb" in headline(result)


def test_the_length_comparison_equals_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 30, 60), rng.integers(5, 35, 80)
    result = longer_wins(Counter(a.tolist()), Counter(b.tolist()))
    expected = stats.mannwhitneyu(a, b).statistic / (60 * 80)
    assert result.value == pytest.approx(expected)
    assert result.low < expected < result.high


def test_duels_are_decided_against_the_control(store):
    trial = make_trial(
        store,
        candidates=2,
        allocation="dueling",
        outcome="preference",
        rule=DecisionRule(min_judgements=20),
    )
    good, bad = trial.candidates
    for number in range(120):
        a, b = ((trial.control, good), (bad, trial.control), (good, bad))[number % 3]
        interaction = trial.pair(a, b)
        best = min((good, trial.control, bad).index(arm) for arm in (a, b))
        verdict = "a" if (good, trial.control, bad)[best] == a else "b"
        store.add(interaction, trial.preference(interaction, verdict))
    summary = summarise(trial.reader().refresh())
    assert [arm.verdict for arm in summary.arms] == ["control", "better", "worse"]
    assert [arm.outcome.mean.value for arm in summary.arms] == [0.5, 1.0, 0.0]
    assert summary.candidates[0].win_rate.value == 1.0
    assert [event.what.kind for event in apply_rules(store, trial.reader())] == [
        "stopped",
        "promoted",
    ]


@pytest.mark.parametrize("allocation", ["fixed", "thompson"])
def test_equal_arms_are_rarely_separated_by_repeated_looks(store, allocation):
    """At most one of eight experiments with ten looks each may err.

    At the nominal level, two errors have a probability below 6 %, and confidence sequences are
    conservative.
    """
    wrong = 0
    for number in range(8):
        trial = make_trial(
            store.in_project(f"{allocation} {number}"),
            allocation=allocation,
            rule=DecisionRule(min_judgements=10),
        )
        trial.rng = np.random.default_rng(number)
        reader = trial.reader()
        for _ in range(10):
            trial.traffic(rates(trial, 0.5, 0.5), 15, state=reader.refresh())
            if apply_rules(trial.store, reader):
                wrong += 1
                break
    assert wrong <= 1


def test_a_project_has_one_experiment_at_a_time_against_its_active_policy(store):
    trial = make_trial(store)
    other = Experiment(name="other", control=trial.control, candidates=trial.candidates)
    with pytest.raises(Conflict, match="'trial' is running"):
        start(store, other, actor="bo")
    stop(store, "trial", actor="ada")
    with pytest.raises(Conflict, match="already had an experiment"):
        start(store, trial.experiment, actor="bo")
    with pytest.raises(BacktalkError, match="has to be the active policy of 'default'"):
        start(store, Experiment(name="x", control="b" * 32, candidates=("c",)), actor="bo")
    with pytest.raises(NotFound):
        start(
            store, Experiment(name="x", control=trial.control, candidates=("c" * 32,)), actor="bo"
        )
    named = policy("named").named("named")
    save_policy(store, named)
    with pytest.raises(BacktalkError, match="not the id"):
        start(store, Experiment(name="x", control=trial.control, candidates=("named",)), actor="bo")
    start(store, other, actor="bo")
    assert [(event.what.kind, event.actor) for event in read_events(store)] == [
        ("started", "ada"),
        ("ended", "ada"),
        ("started", "bo"),
    ]
    with pytest.raises(NotFound, match="no active candidate"):
        stop(store, "other", arm=trial.control, actor="bo")


def test_whoever_looks_second_writes_nothing(store):
    """Both readers have the same log; the journal accepts one event after the last one read."""
    trial = make_trial(store, rule=DecisionRule(min_judgements=20))
    trial.traffic(rates(trial, 0.9, 0.0), 100)
    first, second = trial.reader(), trial.reader()
    first.refresh()
    second.refresh()
    assert len(apply_rules(store, first)) == 2
    assert apply_rules(store, second) == []
    assert kinds(store) == ["started", "stopped", "ended"]


def test_a_rolled_back_winner_can_be_tried_again(store):
    from backtalk.promotion import rollback

    trial = make_trial(store, rule=DecisionRule(min_judgements=20))
    trial.traffic(rates(trial, 0.0, 1.0), 100)
    apply_rules(store, trial.reader())
    rollback(store, actor="ada")
    start(store, trial.experiment.model_copy(update={"name": "again"}), actor="ada")
    third = policy("third")
    with pytest.raises(GateRefused):
        promote(store, third, actor="ada")
    assert running_experiment(store).name == "again"

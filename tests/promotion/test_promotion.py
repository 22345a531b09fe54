"""Promotion needs evidence; every change is recorded and can be undone."""

import pytest

from backtalk.errors import Conflict, NotFound
from backtalk.evaluate.result import Evaluation, Measure
from backtalk.evaluate.storage import save_evaluation
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, list_policies, read_policy, save_policy
from backtalk.policy.storage import name_policy, policy_names
from backtalk.promotion import (
    Gate,
    GateRefused,
    active_policy,
    promote,
    promotion_history,
    rollback,
)
from backtalk.stats import Estimate
from backtalk.store import Store


def policy(number):
    return Policy(model=NamedSpec(name="writer", options={"slips": number / 10}), name=f"p{number}")


def estimate(value, low, high, level=0.95):
    return Estimate(value, low, high, level, 100, None, "by hand")


def evaluation(candidate, baseline, /, **changes):
    fields = {
        "candidate": candidate.id,
        "baseline": baseline.id,
        "judge": "j",
        "split": "held-out",
        "prompts": 100,
        "prompts_digest": "d",
        "seed": 0,
        "win_rate": estimate(0.7, 0.6, 0.8),
        "value": Measure(name="j"),
        "longer_wins": estimate(0.5, 0.4, 0.6),
        "length_ratio": 1.0,
    }
    return Evaluation.model_validate(fields | changes)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        promote(opened, policy(0), actor="ada")
        yield opened


def test_the_first_policy_is_served_without_evidence(store):
    assert active_policy(store) == policy(0)
    (entry,) = promotion_history(store)
    assert (entry.actor, entry.promotion.action, entry.promotion.previous) == (
        "ada",
        "promote",
        None,
    )


def test_a_better_policy_takes_over_and_rollback_undoes_it(store):
    evidence = evaluation(policy(1), policy(0))
    promote(store, policy(1), evidence, actor="bo")
    assert active_policy(store) == policy(1)
    assert promotion_history(store)[-1].promotion.evaluation == evidence.id
    done = rollback(store, actor="chen")
    assert (done.policy, done.previous) == (policy(0).id, policy(1).id)
    assert active_policy(store) == policy(0)
    actions = [(entry.actor, entry.promotion.action) for entry in promotion_history(store)]
    assert actions == [("ada", "promote"), ("bo", "promote"), ("chen", "rollback")]
    assert promotion_history(store)[0].time <= promotion_history(store)[-1].time


def test_rolling_back_twice_goes_back_two_promotions(store):
    promote(store, policy(1), evaluation(policy(1), policy(0)), actor="a")
    promote(store, policy(2), evaluation(policy(2), policy(1)), actor="a")
    rollback(store, actor="a")
    promote(store, policy(3), evaluation(policy(3), policy(1)), actor="a")
    served = []
    for _ in range(3):
        rollback(store, actor="a")
        served.append(active_policy(store))
    assert served == [policy(1), policy(0), None]
    with pytest.raises(NotFound, match="no promotion to roll back"):
        rollback(store, actor="a")


WORSE = Measure(name="safety", difference=estimate(-0.2, -0.3, -0.1))
UNSURE = Measure(name="safety", difference=estimate(-0.1, -0.3, 0.1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"win_rate": estimate(0.6, 0.5, 0.7)}, "not shown to be above 0.5"),
        ({"win_rate": estimate(0.7, 0.6, 0.8, level=0.9)}, "at 0.9, the gate asks 0.95"),
        ({"split": "train"}, "may have learned from"),
        ({"split": "all"}, "may have learned from"),
        ({"baseline": policy(9).id}, "is served"),
        ({"guards": (WORSE,)}, "safety gets worse by 0.200"),
    ],
)
def test_the_gate_refuses(store, changes, reason):
    with pytest.raises(GateRefused, match=reason):
        promote(store, policy(1), evaluation(policy(1), policy(0), **changes), actor="a")
    assert active_policy(store) == policy(0)
    assert len(promotion_history(store)) == 1


def test_all_reasons_are_listed(store):
    result = evaluation(
        policy(1), policy(0), win_rate=estimate(0.4, 0.3, 0.5), split="train", guards=(WORSE,)
    )
    assert len(Gate().reasons(result, served=policy(0).id)) == 3


def test_a_guard_that_may_or_may_not_be_worse_passes_unless_a_tolerance_asks_for_proof(store):
    result = evaluation(policy(1), policy(0), guards=(UNSURE,))
    assert Gate().reasons(result, served=policy(0).id) == []
    assert Gate(tolerance=0.3).reasons(result, served=policy(0).id) == []
    assert Gate(tolerance=0.2).reasons(result, served=policy(0).id) != []


def test_evidence_is_required_and_has_to_be_of_this_policy(store):
    with pytest.raises(GateRefused, match="no evaluation of p1 against the policy that is served"):
        promote(store, policy(1), actor="a")
    with pytest.raises(GateRefused, match="not of p1"):
        promote(store, policy(1), evaluation(policy(2), policy(0)), actor="a")
    with pytest.raises(GateRefused, match="served already"):
        promote(store, policy(0), actor="a")


def test_one_of_two_concurrent_promotions_is_rejected(store, monkeypatch):
    last = store.events.last
    promote(store, policy(1), evaluation(policy(1), policy(0)), actor="first")
    monkeypatch.setattr(store.events, "last", lambda topic: last(topic) - 1)
    with pytest.raises(Conflict, match="at the same time"):
        promote(store, policy(2), evaluation(policy(2), policy(0)), actor="second")
    assert active_policy(store) == policy(1)


def test_policies_are_found_by_name_id_and_prefix(store):
    save_policy(store, policy(1))
    assert read_policy(store, "p1") == policy(1)
    assert read_policy(store, policy(1).id[:10]) == policy(1)
    assert [p.label for p in list_policies(store)] == ["p0", "p1"]
    with pytest.raises(NotFound, match="nobody"):
        read_policy(store, "nobody")


def test_a_recipe_that_is_saved_again_is_found_by_its_further_names(store):
    first = policy(3).named("ft:small:mail::bt1")
    save_policy(store, first)
    name_policy(store, "ft:small:mail::bt2", first)
    assert read_policy(store, "ft:small:mail::bt2") == first.named("ft:small:mail::bt2")
    assert read_policy(store, "ft:small:mail::bt1").name == "ft:small:mail::bt1"
    assert policy_names(store) == {"ft:small:mail::bt2": first.id}
    with pytest.raises(NotFound):
        read_policy(store, "ft:small:mail::bt")


def test_projects_do_not_see_each_other(store):
    other = store.in_project("other")
    assert active_policy(other) is None
    assert list_policies(other) == []
    save_evaluation(store, evaluation(policy(1), policy(0)))
    with pytest.raises(NotFound):
        rollback(other, actor="a")

"""The next step after an evaluation is the promotion only if the gate accepts the evaluation."""

import pytest

from backtalk.evaluate.judges import JudgeInfo
from backtalk.evaluate.result import Evaluation, Measure
from backtalk.models import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import Gate, GateRefused, after_evaluation, promote
from backtalk.stats.estimate import Estimate
from backtalk.store import Store

SERVED = Policy(model=NamedSpec(name="writer"), name="served")
CANDIDATE = Policy(model=NamedSpec(name="writer"), system="Be brief.", name="candidate")
BETTER, UNSHOWN, WORSE = (0.6, 0.55, 0.65), (0.55, 0.45, 0.65), (0.4, 0.35, 0.45)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        promote(opened, SERVED, actor="ada")
        save_policy(opened, CANDIDATE)
        yield opened


def estimate(value, low, high):
    return Estimate(value, low, high, 0.95, 100, None, "test")


def evaluation(rate=BETTER, **changes):
    fields = {
        "candidate": CANDIDATE.id,
        "baseline": SERVED.id,
        "judge": "truth",
        "judge_info": JudgeInfo(name="truth", kind="oracle"),
        "split": "held-out",
        "prompts": 100,
        "prompts_digest": "d",
        "seed": 0,
        "win_rate": estimate(*rate),
        "value": Measure(name="truth"),
        "longer_wins": estimate(0.5, 0.4, 0.6),
        "length_ratio": 1.0,
    }
    return Evaluation(**{**fields, **changes})


def test_a_policy_that_passes_the_gate_is_promoted_by_the_command(store):
    assert after_evaluation(evaluation(), CANDIDATE, store) == [
        "Next: `backtalk promote candidate`"
    ]
    promote(store, CANDIDATE, evaluation(), actor="ada")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": UNSHOWN}, "To show a win rate of 55.0 % takes about 818 prompts"),
        ({"rate": (0.5, 0.4, 0.6)}, "about equally good"),
        ({"rate": (0.45, 0.35, 0.55)}, "more likely to show a loss"),
        ({"rate": WORSE}, "Keep the active policy"),
        ({"split": "train"}, "Next: `backtalk evaluate candidate --judge truth`"),
        ({"split": "all"}, "may have learned from all prompts"),
        ({"baseline": "0" * 32}, "not compared with the active policy, served"),
        (
            {"guards": (Measure(name="safe", difference=estimate(-0.2, -0.3, -0.1)),)},
            "safe gets worse by 0.200",
        ),
    ],
)
def test_a_policy_that_the_gate_refuses_is_not_to_be_promoted(store, changes, words):
    result = evaluation(**changes)
    text = ". ".join(after_evaluation(result, CANDIDATE, store, judge="truth"))
    assert words in text
    assert "backtalk promote" not in text
    assert Gate().reasons(result, served=SERVED.id)
    with pytest.raises(GateRefused):
        promote(store, CANDIDATE, result, actor="ada")


def test_a_judge_that_the_candidate_optimises_is_named_with_others_that_count(store):
    judge = JudgeInfo(name="own reward", kind="reward", artifact="a" * 64)
    chooser = CANDIDATE.derive(
        lineage=CANDIDATE.lineage.model_copy(update={"rewards": (judge,)}), system="Be kind."
    ).named("chooser")
    save_policy(store, chooser)
    result = evaluation(candidate=chooser.id, judge="own reward", judge_info=judge)
    (text,) = after_evaluation(result, chooser, store, judge="reward:own")
    assert "chooser optimises its judge, own reward" in text
    assert "`backtalk evaluate chooser --judge people`" in text
    assert "backtalk promote" not in text


def test_an_incomplete_evaluation_is_completed_first(store):
    (text,) = after_evaluation(evaluation(complete=False), CANDIDATE, store)
    assert "with a larger budget" in text


def test_the_active_policy_is_not_promoted_again(store):
    result = evaluation(candidate=SERVED.id, baseline=CANDIDATE.id)
    assert after_evaluation(result, SERVED, store) == ["served is the active policy already"]


def test_commands_name_a_policy_by_its_id_if_a_later_one_has_its_name(store):
    save_policy(store, CANDIDATE.derive(lineage=CANDIDATE.lineage, system="x").named("candidate"))
    assert after_evaluation(evaluation(), CANDIDATE, store) == [
        f"Next: `backtalk promote {CANDIDATE.id[:8]}`"
    ]


@pytest.mark.parametrize("changes", [{"split": "train"}, {"judge": "own reward"}])
def test_commands_name_the_baseline_if_no_policy_is_active(tmp_path, changes):
    judge = JudgeInfo(name="own reward", kind="reward", artifact="a" * 64)
    with Store(tmp_path / "s.db") as store:
        save_policy(store, SERVED)
        chooser = CANDIDATE.derive(
            lineage=CANDIDATE.lineage.model_copy(update={"rewards": (judge,)}), system="Be kind."
        ).named("chooser")
        save_policy(store, chooser)
        result = evaluation(candidate=chooser.id, **changes)
        if "judge" in changes:
            result = result.model_copy(update={"judge_info": judge})
        (text,) = after_evaluation(result, chooser, store, judge="people")
    assert "`backtalk evaluate chooser --against served --judge people`" in text


def test_other_evidence_names_a_policy_by_its_id_if_a_later_one_has_its_name(store):
    judge = JudgeInfo(name="own reward", kind="reward", artifact="a" * 64)
    lineage = CANDIDATE.lineage.model_copy(update={"rewards": (judge,)})
    chooser = CANDIDATE.derive(lineage=lineage, system="Be kind.").named("chooser")
    save_policy(store, chooser)
    save_policy(store, CANDIDATE.derive(lineage=lineage, system="x").named("chooser"))
    result = evaluation(candidate=chooser.id, judge="own reward", judge_info=judge)
    (text,) = after_evaluation(result, chooser, store, judge="own reward")
    assert f"`backtalk evaluate {chooser.id[:8]} --judge people`" in text

"""A judge that the candidate optimises or learned from is no evidence; another split's reward is.

The policies sample words at random and the preferences are coin tosses: nothing can be learned, and
whatever "improves" is an artefact of the judge.
"""

import asyncio
import shutil
from dataclasses import replace

import numpy as np
import pytest

from backtalk.api import evaluate
from backtalk.decode import BestOfN, Sample
from backtalk.errors import BacktalkError
from backtalk.evaluate.judges import describe_judge, get_judge
from backtalk.evaluate.judges.circular import PolicyOrigin, circularity
from backtalk.evaluate.judges.info import JudgeInfo, judge_from_name
from backtalk.evaluate.result import Evaluation, Measure
from backtalk.feedback import Annotator, Interaction, Preference, as_prompt
from backtalk.feedback.case import prompt_key
from backtalk.feedback.snapshot import Snapshot
from backtalk.feedback.split import split_for
from backtalk.learn import learn
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner
from backtalk.models import NamedSpec, register_model
from backtalk.models.fakes import FunctionModel
from backtalk.policy import Lineage, Policy, policy_origin, save_policy, with_origin
from backtalk.policy.origin import save_prompt_keys
from backtalk.promotion import Gate, GateRefused, circular_judge, promote
from backtalk.rewards import load_reward
from backtalk.rewards.registry import REWARDS
from backtalk.run import Run
from backtalk.stats import Estimate
from backtalk.store import Store

WORDS = ["thanks", "sorry", "maybe", "never", "always", "sure", "fine", "wait", "later", "today"]


@register_model("babble")
def babble() -> FunctionModel:
    """Return a model that answers with random words."""

    def answer(request):
        seed = [request.seed or 0, request.sample_index, *prompt_key(request.messages).encode()]
        return " ".join(np.random.default_rng(seed).choice(WORDS, 6))

    return FunctionModel(answer, name="babble")


PLAIN = Policy(model=NamedSpec(name="babble"), name="plain")
SERVED = Policy(model=NamedSpec(name="babble"), name="served", system="Be brief.")


def fill(store, prompts=250):
    """Add preferences by the toss of a coin."""
    rng = np.random.default_rng(5)
    for number in range(prompts):
        texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(2)]
        interaction = Interaction.of(f"question {number}", *texts)
        a, b = rng.permutation(["0", "1"]).tolist()
        store.add(
            interaction,
            Preference(
                interaction=interaction.id,
                annotator=Annotator.human("ada"),
                a=a,
                b=b,
                verdict="a",
            ),
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("circular") / "s.db") as opened:
        fill(opened)
        save_policy(opened, PLAIN)
        promote(opened, SERVED, actor="ada")
        learn("best-of-n", "plain", opened, name="chooser", n=8)
        yield opened


@pytest.fixture(scope="module")
def chooser(store):
    from backtalk.policy import read_policy

    return read_policy(store, "chooser")


@pytest.mark.parametrize(("prompts", "copied"), [(60, True), (0, False)])
def test_a_reward_of_another_project_with_the_same_prompts_is_refused(
    store, chooser, prompts, copied
):
    other = store.in_project(f"copy of {prompts}")
    fill(other, prompts)
    tossed = np.random.default_rng(9)
    for number in range(30):
        new = Interaction.of(f"another {number}", " ".join(tossed.choice(WORDS, 6)), "no")
        verdict = Preference(
            interaction=new.id, annotator=Annotator.human("bo"), a="0", b="1", verdict="a"
        )
        other.add(new, verdict)
    learned = learn("best-of-n", PLAIN, other, name="other", n=2)
    judge = load_reward(learned.decoder.reward, other.artifacts)
    assert describe_judge(judge).fitted_on.project == other.project
    warning = circular_judge(judge, chooser, store)
    assert (warning is not None and "fitted on the feedback" in warning) == copied
    result = evaluate(chooser, SERVED, store, judge=judge, prompts=PROMPTS[:6])
    assert any("fitted on the feedback" in text for text in _refusals(store, chooser, result)) == (
        copied
    )


def _refusals(store, policy, evaluation):
    with pytest.raises(GateRefused) as refused:
        promote(store, policy, evaluation, actor="ada", gate=Gate(win_rate=0.999))
    return refused.value.what.split(". ")


PROMPTS = [f"new question {number}" for number in range(400)]


@pytest.fixture(scope="module")
def circular(store, chooser):
    return evaluate(chooser, SERVED, store, judge="reward:chooser", prompts=PROMPTS)


def test_a_policy_that_is_judged_by_its_own_reward_seems_better_and_is_refused(
    store, chooser, circular
):
    assert circular.win_rate.value > 0.5
    assert circular.win_rate.method.endswith("posterior of the judge")
    with pytest.raises(GateRefused, match="optimises its judge") as refused:
        promote(store, chooser, circular, actor="ada")
    for way in (
        "backtalk evaluate chooser --judge reward:held-out",
        "--judge people",
        "--judge llm:MODEL",
        "backtalk experiment start NAME --candidate chooser",
    ):
        assert way in refused.value.mend
    lenient = Gate(win_rate=0.0)
    (reason,) = lenient.reasons(circular, served=SERVED.id, origin=policy_origin(chooser, store))
    assert "chooser optimises its judge, Bradley-Terry on" in reason


def test_the_evaluation_itself_carries_the_lineage_of_judge_and_candidate(chooser, circular):
    assert circular.judge_info.artifact == chooser.decoder.reward
    assert circular.judge_info.fitted_on.split == "train"
    assert [reward.artifact for reward in circular.origin.rewards] == [chooser.decoder.reward]
    restored = Evaluation.model_validate_json(circular.to_json())
    assert Gate().reasons(restored, served=SERVED.id) != []


def test_a_cross_fitted_reward_shows_no_difference(store, chooser):
    honest = evaluate(chooser, SERVED, store, judge="reward:held-out", prompts=PROMPTS)
    assert honest.win_rate.low < 0.5 < honest.win_rate.high
    assert honest.judge_info.fitted_on.split == "held-out"
    (reason,) = Gate().reasons(honest, served=SERVED.id)
    assert "not shown to be above" in reason
    assert circular_judge(get_judge("reward:held-out", store), chooser, store) is None


def test_a_reward_object_is_caught_as_well(store, chooser):
    loaded = load_reward(chooser.decoder.reward, store.artifacts)
    renamed = replace(loaded, title="other", artifact=None, fitted_on=None)
    for judge in (loaded, renamed):
        assert "optimises its judge" in circular_judge(judge, chooser, store)


def test_the_same_reward_learned_twice_is_caught_by_its_feedback(store, chooser):
    other = learn("best-of-n", "plain", store, name="second", n=2, seed=7, embedder="hashed")
    judge = get_judge("reward:second", store)
    assert describe_judge(judge).artifact == other.decoder.reward
    fitted_elsewhere = replace(judge, weights=judge.weights + 1, artifact=None)
    assert "was fitted on the feedback that chooser learned from" in circular_judge(
        fitted_elsewhere, chooser, store
    )


def test_a_policy_made_from_the_candidate_inherits_its_reward(store, chooser):
    brief = chooser.derive(
        system="Be kind.",
        decoder=Sample(),
        lineage=Lineage(method="written", parent=chooser.id),
    )
    assert "optimises its judge" in circular_judge(get_judge("reward:chooser", store), brief, store)
    assert circular_judge(get_judge("reward:chooser", store), PLAIN, store) is None


def test_a_policy_with_the_decoder_and_no_lineage_is_caught(store, chooser):
    copied = Policy(model=PLAIN.model, system="x", decoder=chooser.decoder)
    assert "optimises its judge" in circular_judge(
        get_judge("reward:chooser", store), copied, store
    )


def test_an_ancestor_that_is_not_in_the_project_is_unknown_not_clean(store):
    orphan = PLAIN.derive(system="y", lineage=Lineage(method="written", parent="f" * 32))
    warning = circular_judge(get_judge("reward:held-out", store), orphan, store)
    assert "is not in the project" in warning


def test_a_method_that_records_no_rewards_is_unknown_not_clean(store, chooser):
    foreign = PLAIN.derive(
        system="z",
        lineage=Lineage(method="foreign", parent=PLAIN.id, snapshot=chooser.lineage.snapshot),
    )
    judge = get_judge("reward:held-out", store)
    assert "sets no Lineage.rewards" in circular_judge(judge, foreign, store)
    assert circular_judge(judge, foreign.with_rewards([]), store) is None


def test_a_guardrail_may_be_the_reward_that_is_optimised(store, chooser):
    evidence = make_evaluation(
        chooser,
        judge_info=JudgeInfo(name="people", kind="people"),
        guards=(Measure(name=get_judge("reward:chooser", store).name),),
    )
    assert Gate().reasons(evidence, served=SERVED.id, origin=policy_origin(chooser, store)) == []


def make_evaluation(candidate, **changes):
    fields = {
        "candidate": candidate.id,
        "baseline": SERVED.id,
        "judge": "j",
        "split": "held-out",
        "prompts": 100,
        "prompts_digest": "d",
        "seed": 0,
        "win_rate": Estimate(0.7, 0.6, 0.8, 0.95, 100, None, "by hand"),
        "value": Measure(name="j"),
        "longer_wins": Estimate(0.5, 0.4, 0.6, 0.95, 100, None, "by hand"),
        "length_ratio": 1.0,
    }
    return Evaluation.model_validate(fields | changes)


@pytest.mark.parametrize("kind", ["people", "recorded", "llm"])
def test_a_policy_that_learned_from_all_prompts_has_no_held_out_ones(tmp_path, kind):
    with Store(tmp_path / "s.db") as store:
        fill(store, 40)
        promote(store, SERVED, actor="ada")
        learned = learn("best-of-n", PLAIN, store, name="all", n=2, split="all")
        evidence = make_evaluation(learned, judge_info=JudgeInfo(name="judge", kind=kind))
        with pytest.raises(GateRefused, match="held-out prompts are not new to it") as refused:
            promote(store, learned, evidence, actor="ada")
        assert "held-out" not in refused.value.mend
        assert "backtalk experiment start" in refused.value.mend
        promote(store, learned, evidence.model_copy(update={"unseen": True}), actor="ada")


def test_prompts_that_nobody_gave_feedback_on_are_new_to_a_policy_that_learned_from_all(tmp_path):
    held_out = [f"fresh {n}" for n in range(60)]
    with Store(tmp_path / "s.db") as store:
        fill(store, 40)
        learned = learn("best-of-n", PLAIN, store, name="all", n=2, split="all")
        known = [case.interaction.prompt for case in store.cases()]
        judge = Polite()
        fresh = evaluate(learned, SERVED, store, judge=judge, prompts=held_out)
        seen = evaluate(learned, SERVED, store, judge=judge, prompts=known)
        assert (fresh.unseen, seen.unseen) == (True, False)


def learned_from_a_file(store, prompts):
    """Return a saved policy that learned from prompts that are in no store."""
    keys = [prompt_key(as_prompt(prompt)) for prompt in prompts]
    listed = Snapshot(
        project="file-1",
        split="all",
        counts={"demonstration": len(keys)},
        digest="d",
        last=len(keys),
        judges=(),
        prompts=save_prompt_keys(keys, store.artifacts),
    )
    lineage = Lineage(method="sft", parent=PLAIN.id, snapshot=listed, rewards=())
    policy = PLAIN.derive(system="Be polite.", lineage=lineage)
    save_policy(store, PLAIN)
    save_policy(store, policy)
    return policy


def test_held_out_prompts_count_unless_the_file_that_a_policy_learned_from_has_them(tmp_path):
    with Store(tmp_path / "s.db") as store:
        fill(store, 40)
        promote(store, SERVED, actor="ada")
        prompts = [case.interaction.prompt for case in store.cases()]
        held_out = [p for p in prompts if split_for(prompt_key(p)) == "held-out"]
        policy = learned_from_a_file(store, ["Something else.", "Another thing."])
        leaked = learned_from_a_file(store, ["Something else.", held_out[0]])
        leaked = leaked.derive(system="Be very polite.", lineage=leaked.lineage)
        save_policy(store, leaked)
        evidence = [
            with_origin(
                make_evaluation(one, judge_info=JudgeInfo(name="judge", kind="people")),
                one,
                store,
                held_out,
            )
            for one in (policy, leaked)
        ]
        assert [one.unseen for one in evidence] == [True, False]
        with pytest.raises(GateRefused, match="all prompts of file-1"):
            promote(store, leaked, evidence[1], actor="ada")
        promote(store, policy, evidence[0], actor="ada")
        shutil.rmtree(store.artifacts.path(policy.lineage.snapshot.prompts))
        assert with_origin(evidence[0], policy, store, held_out).unseen is None


FEEDBACK = Snapshot(
    project="p", split="train", counts={"label": 3}, digest="d1", last=3, judges=("gpt",)
)


def snapshot(**changes):
    return FEEDBACK.model_copy(update=changes)


def origin(**fields):
    return PolicyOrigin(label="new", **fields)


REWARD = JudgeInfo(name="r", kind="reward", artifact="a1", digest="w1", fitted_on=FEEDBACK)


@pytest.mark.parametrize(
    ("fitted_on", "learned_from", "overlap"),
    [
        ({}, {}, True),
        ({"split": "held-out"}, {}, False),
        ({"split": "all"}, {}, True),
        ({"split": "held-out"}, {"split": "all"}, True),
        ({"project": "q", "digest": "d2"}, {}, False),
        ({"project": "q"}, {}, True),
        ({"digest": "d9", "last": 90}, {}, True),
        ({}, {"counts": {"interaction": 4}}, False),
    ],
)
def test_feedback_overlaps_by_project_and_split_or_by_content(fitted_on, learned_from, overlap):
    judge = REWARD.model_copy(update={"fitted_on": snapshot(**fitted_on)})
    reason = circularity(judge, origin(snapshots=(snapshot(**learned_from),)))
    assert (reason is not None) == overlap


@pytest.mark.parametrize(
    "judge",
    [
        JudgeInfo(name="r", kind="reward"),
        judge_from_name("Bradley-Terry on 16 pairs"),
    ],
)
def test_a_reward_of_unknown_feedback_is_refused_for_a_policy_that_learned(judge):
    assert "not recorded" in circularity(judge, origin(snapshots=(FEEDBACK,)))
    assert circularity(judge, origin()) is None


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (JudgeInfo(name="llm:gpt", kind="llm", model="gpt"), "learned from the verdicts"),
        (JudgeInfo(name="gpt", kind="llm"), "learned from the verdicts"),
        (JudgeInfo(name="llm:other", kind="llm", model="other"), None),
        (JudgeInfo(name="polite", kind="other"), "optimises its judge"),
        (JudgeInfo(name="true utility", kind="oracle"), None),
        (JudgeInfo(name="traffic:thumb", kind="live"), None),
        (JudgeInfo(name="llm:tuned", kind="llm", model="tuned"), "optimises its judge"),
    ],
)
def test_a_judge_whose_verdicts_were_learned_is_refused(judge, reason):
    candidate = origin(
        snapshots=(FEEDBACK,),
        models=("gpt",),
        rewards=(
            JudgeInfo(name="polite", kind="other"),
            JudgeInfo(name="true utility", kind="oracle"),
            JudgeInfo(name="a judge", kind="llm", model="tuned"),
        ),
    )
    found_reason = circularity(judge, candidate)
    assert found_reason is None if reason is None else reason in found_reason


class Polite:
    """Reward of a plug-in."""

    name = "polite"
    bounds = (0.0, 1.0)

    async def score(self, answers):
        from backtalk.rewards import Scores

        return Scores(np.array([text.count("thanks") / 6 for _, text in answers]))


def test_online_learning_records_the_judge_that_it_learned_from(tmp_path):
    REWARDS.register("polite", Polite)
    try:
        with Store(tmp_path / "s.db") as store, Run(tmp_path / "run") as run:
            fill(store, 30)
            judge = get_judge("polite", store)
            config = OnlineConfig(rounds=1, prompts_per_round=10)
            learner = OnlineLearner(
                "best-of-n", store, run, judge=judge, config=config, options={"n": 2}
            )
            (learned,) = asyncio.run(learner.learn(PLAIN)).policies
            names = [reward.name for reward in learned.lineage.rewards]
            assert names[-1] == "polite"
            assert "optimises its judge, polite" in circular_judge(judge, learned, store)
            assert learned.lineage.snapshot.judges == ("polite",)
    finally:
        REWARDS.unregister("polite")


def test_models_that_gave_old_feedback_are_looked_up_in_the_store(tmp_path):
    with Store(tmp_path / "s.db") as store:
        interaction = Interaction.of("q", "a", "b")
        store.add(
            interaction,
            Preference(
                interaction=interaction.id,
                annotator=Annotator.model("gpt"),
                a="0",
                b="1",
                verdict="a",
            ),
        )
        old = PLAIN.derive(
            system="old",
            lineage=Lineage(method="dpo", snapshot=snapshot(judges=None)),
        )
        judge = JudgeInfo(name="llm:gpt", kind="llm", model="gpt")
        assert "learned from the verdicts" in circularity(judge, policy_origin(old, store))


def test_an_old_lineage_names_the_reward_in_the_options_of_its_method(store, chooser):
    reward = chooser.decoder.reward
    old = PLAIN.derive(
        system="old",
        lineage=Lineage(
            method="raft",
            parent=PLAIN.id,
            snapshot=snapshot(judges=None),
            options={"judge": f"reward:{reward}"},
        ),
    )
    assert reward in {info.artifact for info in policy_origin(old, store).rewards}


def test_a_reward_whose_artifact_is_lost_is_still_the_same_reward(store):
    lost = Policy(model=PLAIN.model, system="lost", decoder=BestOfN(n=2, reward="e" * 64))
    judge = JudgeInfo(name="x", kind="reward", artifact="e" * 64, fitted_on=FEEDBACK)
    assert "optimises its judge" in circularity(judge, policy_origin(lost, store))


def test_a_held_out_reward_needs_held_out_feedback(tmp_path):
    train = [f"q{n}" for n in range(40) if split_for(prompt_key_of(f"q{n}")) == "train"]
    with Store(tmp_path / "s.db") as store:
        for prompt in train:
            interaction = Interaction.of(prompt, "a", "b")
            store.add(
                interaction,
                Preference(
                    interaction=interaction.id,
                    annotator=Annotator.human("ada"),
                    a="0",
                    b="1",
                    verdict="a",
                ),
            )
        with pytest.raises(BacktalkError, match="held-out feedback") as error:
            get_judge("reward:held-out", store)
        assert "--judge people" in error.value.mend
        chooser = learn("best-of-n", PLAIN, store, name="chooser", n=2)
        warning = circular_judge(get_judge("reward:chooser", store), chooser, store)
        assert "reward:held-out" not in warning


def prompt_key_of(text):
    from backtalk.feedback import as_prompt

    return prompt_key(as_prompt(text))

"""Online learning: compared pairs, stored interactions, stopping."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk import Policy
from backtalk.decode import Sample
from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Annotator, Interaction, Preference, as_prompt
from backtalk.feedback.case import Case
from backtalk.learn import get_method
from backtalk.learn.online.feedback_sources import HumanFeedback, InMemoryTrainingSet, RewardJudge
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner, needs_scores
from backtalk.learn.online.pair_selection import PAIR_SELECTORS, get_pair_selector
from backtalk.models import Budget, LocalSpec, Sampling
from backtalk.policy import list_policies
from backtalk.rewards.protocol import Scores
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

scores = st.lists(st.integers(0, 5).map(float), min_size=2, max_size=6)


@given(scores, st.sampled_from(sorted(PAIR_SELECTORS)), st.integers(0, 9))
def test_every_rule_compares_unequal_answers_the_right_way(values, name, seed):
    means = np.array(values)
    rng = np.random.default_rng(seed)
    results = get_pair_selector(name)(means, np.full(len(means), 0.5), rng)
    for pair in results:
        assert means[pair.better] > means[pair.worse]
        assert 0.5 < pair.probability <= 1
    if name != "two":
        assert bool(results) == (means.max() > means.min())


def test_each_rule_compares_what_it_says():
    means, std = np.array([0.1, 0.9, 0.5, 0.55]), np.array([0.0, 0.4, 0.01, 0.0])
    rng = np.random.default_rng(0)

    def pairs(name):
        return [(p.better, p.worse) for p in get_pair_selector(name)(means, std, rng)]

    assert pairs("best-worst") == [(1, 0)]
    assert pairs("small-margin") == [(3, 2)]
    assert len(pairs("all")) == 6
    assert pairs("certain") in ([(3, 0)], [(2, 0)], [(3, 2)])
    (sure,) = get_pair_selector("certain")(means[:2], std[:2], rng)
    assert sure.probability == pytest.approx(0.97725, abs=1e-4)  # two standard deviations
    with pytest.raises(UnknownName, match="best-worst"):
        get_pair_selector("best-wurst")


class Longer:
    """Finds the longer answer better."""

    name, bounds = "longer", None

    async def score(self, answers):
        return Scores(np.array([float(len(text)) for _, text in answers]))


PROMPTS = [as_prompt(f"Is shop {i} open today?") for i in range(12)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tiny.save(tmp_path_factory.mktemp("models") / "llama")
    return Policy(
        model=LocalSpec(model=folder),
        decoder=Sample(sampling=Sampling(max_tokens=10)),
        name="plain",
    )


def online(policy, store, run, *, method="dpo", config=None, judge=None, **options):
    chosen = get_method(method)
    reward = judge or Longer()
    options = {"learning_rate": 3e-3, "batch_size": 4, **options}
    default = OnlineConfig(rounds=2, prompts_per_round=8, num_samples=3, until_flat=False)
    learner = OnlineLearner(
        chosen,
        store,
        run,
        feedback_source=RewardJudge(reward, rates=needs_scores(chosen)),
        judge=reward,
        config=config or default,
        options=options,
    )
    return asyncio.run(learner.learn(policy, PROMPTS[:8], PROMPTS[8:]))


def test_rounds_build_on_each_other_and_keep_everything(policy, tmp_path):
    with Store(tmp_path / "s.db") as store, Run(seed=0) as run:
        result = online(policy, store, run)
        assert result.ended == "after 2 rounds"
        one, two = result.policies
        assert (one.lineage.parent, two.lineage.parent) == (policy.id, one.id)
        assert [e.candidate for e in result.evaluations] == [one.id, two.id]
        assert [e.baseline for e in result.evaluations] == [policy.id, one.id]
        cases = list(store.cases())
        assert {case.interaction.policy for case in cases} == {policy.id, one.id}
        assert all(len(case.interaction.responses) == 3 for case in cases)
        for case in cases:
            for preference in case.feedback:
                texts = case.text(preference.a), case.text(preference.b)
                assert len(texts[0]) == max(len(r.text) for r in case.interaction.responses)
                assert len(texts[1]) == min(len(r.text) for r in case.interaction.responses)
        assert {p.id for p in list_policies(store)} == {policy.id, one.id, two.id}
        assert two.lineage.options["reference"] == policy.id


def test_lists_are_rated():
    assert needs_scores(get_method("lipo"))
    interaction = Interaction.of("Is it open?", "a", "bb", "cccc")
    (case,) = asyncio.run(RewardJudge(Longer(), rates=True).give([interaction], seed=0))
    assert [rating.value for rating in case.feedback] == pytest.approx([0, 1 / 3, 1])


def test_a_round_that_is_not_better_is_the_last(policy, tmp_path):
    class Same(Longer):
        async def score(self, answers):
            return Scores(np.array([float(len(text) % 2) for _, text in answers]))

    config = OnlineConfig(rounds=3, prompts_per_round=8, num_samples=3)
    with Store(tmp_path / "s.db") as store, Run(seed=0) as run:
        result = online(policy, store, run, config=config, judge=Same(), learning_rate=1e-9)
    assert len(result.policies) == 1
    assert "not shown to be better" in result.ended
    assert result.best is None


def test_a_spent_budget_ends_it_with_what_there_is(policy, tmp_path):
    with (
        Store(tmp_path / "s.db") as store,
        Run(seed=0, budget=Budget(calls=40)) as run,
    ):
        result = online(policy, store, run)
    assert result.ended == "the budget was spent"
    assert len(result.policies) < 2


def test_finished_rounds_are_not_done_again(policy, tmp_path, monkeypatch):
    with Store(tmp_path / "s.db") as store:
        with Run(tmp_path / "run", seed=0) as run:
            first = online(policy, store, run)
        learned = []
        method = type(get_method("dpo"))
        learn = method.learn

        async def count_calls(self, *arguments, **options):
            learned.append(1)
            return await learn(self, *arguments, **options)

        monkeypatch.setattr(method, "learn", count_calls)
        with Run(tmp_path / "run", seed=0) as run:
            again = online(policy, store, run)
    assert learned == []
    assert [p.id for p in again.policies] == [p.id for p in first.policies]


def test_a_round_waits_for_people_and_goes_on_with_the_same_answers(policy, tmp_path):
    config = OnlineConfig(rounds=1, prompts_per_round=4, num_samples=2)

    def learn(prompts):
        with Run(tmp_path / "run", seed=0) as run:
            made = OnlineLearner(
                get_method("dpo"), store, run, feedback_source=HumanFeedback(store), config=config,
                options={"max_steps": 1},
            )  # fmt: skip
            return asyncio.run(made.learn(policy, prompts, []))

    with Store(tmp_path / "s.db") as store:
        waits = learn(PROMPTS[:8])
        assert waits.policies == ()
        assert "round 1 waits: 0 of 4 interactions have feedback, 4 are needed" in waits.ended
        interactions = [case.interaction for case in store.cases()]
        for interaction in interactions:
            store.add(
                Preference(
                    interaction=interaction.id,
                    annotator=Annotator.human("ada"),
                    a="0",
                    b="1",
                    verdict="b",
                )
            )
        result = learn(PROMPTS)  # more prompts than before: other ones would be drawn now
        assert [case.interaction.id for case in store.cases()] == [
            interaction.id for interaction in interactions
        ]
    (learned,) = result.policies
    assert result.ended == "after 1 round"
    assert result.evaluations == ()
    assert learned.lineage.snapshot.counts["preference"] == 4


def test_no_prompts_is_an_error(policy, tmp_path):
    with Store(tmp_path / "s.db") as store, Run() as run:
        made = OnlineLearner(
            get_method("dpo"), store, run, feedback_source=RewardJudge(Longer()), judge=Longer()
        )
        with pytest.raises(BacktalkError, match="no prompt to learn on"):
            asyncio.run(made.learn(policy, [], PROMPTS))


def test_cases_without_feedback_are_not_learned_from(tmp_path):
    with Store(tmp_path / "s.db") as store:
        assert list(InMemoryTrainingSet(store, [Case(Interaction.of("a", "b"))]).cases()) == []


def test_the_prompts_of_given_cases_are_theirs_and_not_the_stores(tmp_path):
    interaction = Interaction.of("a", "b")
    with Store(tmp_path / "s.db") as store:
        store.add(Interaction.of("of the store", "c"))
        assert InMemoryTrainingSet(store, [Case(interaction)]).prompts() == [interaction.prompt]

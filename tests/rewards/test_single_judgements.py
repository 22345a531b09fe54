"""Rewards learned from judgements of single responses, such as thumbs, alone and with pairs."""

import asyncio

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_expit

from backtalk.embedders.registry import get_embedder
from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Interaction, Label, as_prompt
from backtalk.feedback.views import Pair, ScoreView
from backtalk.learn import TrainingSet
from backtalk.learn.reward_feedback import fit_reward, reward_feedback
from backtalk.models import Request
from backtalk.rewards import learn_reward, load_reward
from backtalk.rewards.reward_data import FEW_JUDGEMENTS, RewardData
from backtalk.stats.paired import davidson
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.annotators import Person, give_feedback
from backtalk.worlds.generator_model import GeneratorModel

MAIL = get_world("mail")


def thumbs(store, count, *, seed=0):
    """Add drafts with one thumb each, from many people."""
    prompts = [
        *MAIL.prompts("train", count - count // 4, seed=seed),
        *MAIL.prompts("held-out", count // 4, seed=seed),
    ]
    drafts = asyncio.run(GeneratorModel().generate([Request(messages=p) for p in prompts]))
    for number, (prompt, draft) in enumerate(zip(prompts, drafts, strict=True)):
        interaction = Interaction.of(prompt, draft.text)
        person = Person(f"person-{number % 60}", temperature=0.05)
        store.add(interaction, *give_feedback(person, "label", interaction))


def auc(scores, good):
    return (scores[good][:, None] > scores[~good][None, :]).mean()


def test_a_reward_of_thumbs_ranks_other_thumbs_better_than_a_coin():
    with Store(":memory:") as store:
        thumbs(store, 400)
        learned_from = TrainingSet(store)
        data = reward_feedback(learned_from)
        assert not data.pairs
        fit = asyncio.run(fit_reward(data, learned_from, "hashed", seed=0))
        held_out = reward_feedback(TrainingSet(store, split="held-out")).points
        good = np.array([point.score > 0.5 for point in held_out])
        assert 10 < good.sum() < len(good) - 10
        scores = asyncio.run(
            fit.reward.score([(point.prompt, point.completion) for point in held_out])
        ).mean
        rng = np.random.default_rng(0)
        draws = [
            auc(scores[rows], good[rows])
            for _ in range(500)
            for rows in [rng.integers(len(good), size=len(good))]
        ]
        assert np.quantile(draws, 0.025) > 0.5
        assert fit.reward.concordance > 0.55
        assert fit.reward.name == f"logistic regression on {len(data.points)} judgements"
        restored = load_reward(store.artifacts.put(fit.reward.to_files()), store.artifacts)
        assert restored.points == len(data.points)
        assert restored.concordance == fit.reward.concordance


def test_the_likelihoods_of_pairs_and_single_responses_add_up():
    rng = np.random.default_rng(3)
    differences, features = rng.normal(size=(30, 2)), rng.normal(size=(40, 2))
    prompt = as_prompt("Name a prime.")
    pairs = [
        Pair(prompt=prompt, chosen="7", rejected="9", probability=p)
        for p in rng.uniform(0.5, 1, 30)
    ]
    points = [ScoreView(prompt=prompt, completion="7", score=s) for s in rng.uniform(size=40)]
    data = RewardData.from_views(pairs, differences, points, features, np.zeros(2, dtype=np.intp))
    fit = data.fit(np.arange(70))

    def loss(weights):
        margin = np.concatenate([differences @ weights[:2], features @ weights[:2] + weights[2]])
        p = np.array([*(pair.probability for pair in pairs), *(point.score for point in points)])
        likelihood = p * log_expit(margin) + (1 - p) * log_expit(-margin)
        precision = fit.precision[[0, 0, 1]]
        return -likelihood.sum() + 0.5 * precision @ weights**2

    best = minimize(loss, np.zeros(3), tol=1e-10).x
    assert fit.weights == pytest.approx(best, abs=1e-4)


def test_ties_of_pairs_are_predicted_beside_single_responses():
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["yes", "no", "maybe", "soon"], 5)) for _ in range(120)]
    pairs = [
        Pair(
            prompt=as_prompt(f"Question {i}?"),
            chosen=max(a, b, key=lambda text: text.count("yes")),
            rejected=min(a, b, key=lambda text: text.count("yes")),
            **({"tie": True, "probability": 0.5} if a.count("yes") == b.count("yes") else {}),
        )
        for i, (a, b) in enumerate(zip(texts[::2], texts[1::2], strict=True))
    ]
    points = [
        ScoreView(prompt=as_prompt(f"Other {i}?"), completion=text, score=float("yes" in text))
        for i, text in enumerate(texts)
    ]
    embedder = get_embedder("hashed", texts, dimension=32)
    fit = asyncio.run(learn_reward(pairs, embedder, points=points))
    reward, ties = fit.reward, sum(pair.tie for pair in pairs)
    assert 0 < ties < len(pairs)
    margin = reward.calibration_slope * fit.margin[: len(pairs)]
    assert davidson.probabilities(margin, reward.nu)[:, 2].sum() == pytest.approx(ties, rel=1e-3)
    assert reward.name == "Bradley-Terry on 60 pairs and 120 judgements"


def test_judgements_that_are_all_good_teach_no_reward():
    points = [ScoreView(prompt=as_prompt("Hello"), completion=str(i), score=1) for i in range(9)]
    with pytest.raises(BacktalkError, match="not both good and bad"):
        asyncio.run(learn_reward([], get_embedder("hashed", ["a"]), points=points))


def test_a_judgement_that_is_part_of_a_pair_does_not_count_again():
    with Store(":memory:") as store:
        interaction = Interaction.of("2 + 2?", "4", "5")
        alone = Interaction.of("Name a prime.", "7")
        ada = Annotator.human("ada")
        store.add(
            interaction,
            Label(interaction=interaction.id, annotator=ada, response="0", good=True),
            Label(interaction=interaction.id, annotator=ada, response="1", good=False),
        )
        store.add(alone, Label(interaction=alone.id, annotator=ada, response="0", good=True))
        data = reward_feedback(TrainingSet(store, split="all"))
        assert [(pair.chosen, pair.rejected) for pair in data.pairs] == [("4", "5")]
        assert [point.completion for point in data.points] == ["7"]


def test_people_of_few_judgements_share_a_reliability():
    prompt = as_prompt("Hello")
    annotators = ["ada"] * 6 + ["bo", "cy"]
    points = [
        ScoreView(
            prompt=prompt, completion=str(i), score=i % 2, annotator=Annotator.human(annotator)
        )
        for i, annotator in enumerate(annotators)
    ]
    data = RewardData.from_views(
        [], np.empty((0, 1)), points, np.ones((8, 1)), np.zeros(1, dtype=np.intp)
    )
    assert data.names == ("ada", FEW_JUDGEMENTS)

"""The Bradley-Terry reward: recovery of the truth, uncertainty, calibration and storage."""

import asyncio

import numpy as np
import pytest

from backtalk.artifacts import Artifacts
from backtalk.embedders.registry import embedder_for_pairs
from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Annotator, as_prompt
from backtalk.feedback.views import Pair
from backtalk.rewards import BradleyTerryReward, learn_reward, load_reward

WORDS = {"thanks": 1.0, "sorry": 0.5, "maybe": 0.0, "no": -0.5, "never": -1.5}


def text(rng):
    return " ".join(rng.choice(list(WORDS), size=6))


def true_score(answer):
    return sum(WORDS[word] for word in answer.split())


def make_pairs(count, *, seed=0, annotator="ada", noise=1.0, tie=0.0, prompts=200):
    """Return pairs whose winner is sampled from the Bradley-Terry model of the words' scores."""
    rng = np.random.default_rng(seed)
    results = []
    for i in range(count):
        a, b = text(rng), text(rng)
        if a == b:
            continue
        wins = rng.random() < 1 / (1 + np.exp((true_score(b) - true_score(a)) / noise))
        chosen, rejected = (a, b) if wins else (b, a)
        is_tie = rng.random() < tie
        results.append(
            Pair(
                prompt=as_prompt(f"question {i % prompts}"),
                chosen=chosen,
                rejected=rejected,
                tie=is_tie,
                probability=0.5 if is_tie else 1.0,
                annotator=Annotator.human(annotator),
            )
        )
    return results


def learn(pairs, **options):
    return asyncio.run(learn_reward(pairs, embedder_for_pairs("hashed", pairs), **options))


def compare(reward, pairs):
    return asyncio.run(
        reward.compare(
            [(p.prompt, p.chosen) for p in pairs], [(p.prompt, p.rejected) for p in pairs]
        )
    )


@pytest.fixture(scope="module")
def fitted():
    return learn(make_pairs(1500))


def test_its_scores_correlate_with_the_truth(fitted):
    rng = np.random.default_rng(1)
    answers = [text(rng) for _ in range(300)]
    prompt = as_prompt("question 1")
    scores = asyncio.run(fitted.reward.score([(prompt, answer) for answer in answers]))
    truth = [true_score(answer) for answer in answers]
    assert np.corrcoef(scores.mean, truth)[0, 1] > 0.95


def test_its_probabilities_are_the_true_ones(fitted):
    fresh = make_pairs(2000, seed=2)
    probabilities = compare(fitted.reward, fresh)
    win_rate = probabilities[:, 0] / (probabilities[:, 0] + probabilities[:, 1])
    true = np.array(
        [1 / (1 + np.exp(true_score(p.rejected) - true_score(p.chosen))) for p in fresh]
    )
    assert np.abs(win_rate - true).mean() < 0.08
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_it_predicts_as_well_as_logistic_regression_on_the_truth(fitted):
    from sklearn.linear_model import LogisticRegression

    def counts(pairs):
        rows = [
            [p.chosen.split().count(w) - p.rejected.split().count(w) for w in WORDS] for p in pairs
        ]
        return np.array(rows, dtype=float)

    train, fresh = make_pairs(1500), make_pairs(2000, seed=3)
    x = counts(train)
    peer = LogisticRegression(fit_intercept=False, C=1e6).fit(
        np.vstack([x, -x]), np.repeat([1, 0], len(x))
    )
    theirs = np.log(peer.predict_proba(counts(fresh))[:, 1]).mean()
    ours = np.log(compare(fitted.reward, fresh)[:, 0]).mean()
    assert ours > theirs - 0.02


def test_swapping_the_answers_swaps_the_probabilities(fitted):
    pairs = make_pairs(50, seed=4)
    original = compare(fitted.reward, pairs)
    swapped = compare(
        fitted.reward,
        [p.model_copy(update={"chosen": p.rejected, "rejected": p.chosen}) for p in pairs],
    )
    np.testing.assert_allclose(original[:, [1, 0, 2]], swapped)


def test_predicted_ties_are_as_frequent_as_observed_ones():
    fresh = make_pairs(1000, seed=6, tie=0.3)
    result = compare(learn(make_pairs(1500, seed=5, tie=0.3)).reward, fresh)
    assert result[:, 2].mean() == pytest.approx(np.mean([p.tie for p in fresh]), abs=0.05)


def test_an_annotator_who_answers_at_random_counts_less():
    careful = make_pairs(700, seed=7, annotator="careful", noise=0.5)
    random = make_pairs(700, seed=8, annotator="random", noise=100.0)
    reliability = learn([*careful, *random]).reward.reliability
    assert reliability["random"] < 0.4 * reliability["careful"]


def test_it_is_less_certain_with_less_feedback_and_on_unusual_responses():
    prompt = as_prompt("question 1")
    answers = [(prompt, "thanks never thanks sorry"), (prompt, "quantum turbine lasagne " * 5)]
    few = asyncio.run(learn(make_pairs(60)).reward.score(answers)).std
    many = asyncio.run(learn(make_pairs(1500)).reward.score(answers)).std
    assert many[0] < few[0]
    assert many[1] > many[0]


def test_position_bias_is_not_part_of_the_reward():
    rng = np.random.default_rng(9)
    pairs = []
    for pair in make_pairs(1200, seed=9):
        first = "chosen" if rng.random() < 0.5 else "rejected"
        if rng.random() < 0.4 and first == "rejected":
            swapped = {"chosen": pair.rejected, "rejected": pair.chosen, "first": "chosen"}
            pairs.append(pair.model_copy(update=swapped))
        else:
            pairs.append(pair.model_copy(update={"first": first}))
    known = learn(pairs).reward
    hidden = learn([p.model_copy(update={"first": None}) for p in pairs]).reward
    fresh = make_pairs(1500, seed=10)

    def likelihood(reward):
        return np.log(compare(reward, fresh)[:, 0]).mean()

    assert likelihood(known) > likelihood(hidden)


def test_it_survives_storage_unchanged(fitted, tmp_path):
    files = fitted.reward.to_files()
    assert set(files) >= {"reward.json", "reward.safetensors"}
    assert not any(content.startswith(b"\x80") for content in files.values())  # no pickle
    artifacts = Artifacts(tmp_path)
    back = load_reward(artifacts.put(files), artifacts)
    assert isinstance(back, BradleyTerryReward)
    assert back.to_files() == files
    pairs = make_pairs(20, seed=11)
    np.testing.assert_allclose(compare(back, pairs), compare(fitted.reward, pairs), atol=1e-5)


def test_the_same_seed_gives_the_same_reward():
    pairs = make_pairs(200)
    assert learn(pairs, seed=3).reward.to_files() == learn(pairs, seed=3).reward.to_files()


def test_margins_are_held_out_by_prompt():
    noise = [
        p.model_copy(update={"prompt": as_prompt(f"only {i}")})
        for i, p in enumerate(make_pairs(300, noise=1e9))
    ]
    result = learn(noise)
    assert np.mean(result.margin > 0) == pytest.approx(0.5, abs=0.1)
    fresh = compare(result.reward, make_pairs(200, seed=12))
    assert np.abs(fresh[:, 0] - 0.5).mean() < 0.1


def test_more_than_max_pairs_are_subsampled(caplog):
    result = learn(make_pairs(200), max_pairs=150)
    assert result.num_dropped == len(make_pairs(200)) - 150
    assert "using 150 of" in caplog.text


def test_pairs_without_a_winner_are_an_error():
    with pytest.raises(BacktalkError, match="none has a winner"):
        learn(make_pairs(20, tie=1.0))


def test_an_unknown_kind_of_reward_is_an_error(tmp_path):
    artifacts = Artifacts(tmp_path)
    with pytest.raises(UnknownName, match="bradley-terry"):
        load_reward(artifacts.put({"reward.json": b'{"kind": "oracle"}'}), artifacts)

"""Checks of judges recover the agreement and the biases that simulated judges have."""

import asyncio
import json

import numpy as np
import pytest
from scipy.special import expit

from backtalk.cli import main
from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.check import (
    LabelledPair,
    check_judge,
    check_language_model,
    describe_check,
    labelled_pairs,
    pairs_for,
    sample_pairs,
)
from backtalk.evaluate.judges.llm import LlmJudge
from backtalk.feedback import Annotator, Interaction, Label, Preference, as_prompt
from backtalk.feedback.split import split_for
from backtalk.models import Budget, FunctionModel
from backtalk.rewards import Scores
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.run import Run
from backtalk.stats.estimate import NotIdentified
from backtalk.stats.judge_bias import length_bias, position_bias
from backtalk.store import Store
from tests.evaluate.test_llm_judge import longer, shown


def pair(number, *labels, a="good", b="bad"):
    return LabelledPair(
        prompt=as_prompt(f"question {number}"),
        a=f"{a} {number}",
        b=f"{b} {number}",
        labels=labels,
        people=tuple(f"person {k}" for k in range(len(labels))),
        held_out=False,
    )


def check(judge, pairs, **budget):
    with Run(budget=Budget(**budget)) as run:
        return asyncio.run(check_judge(judge, pairs, run=run))


def good(request):
    return "A" if shown(request)[0].startswith("good") else "B"


def test_agreement_kappa_and_ceiling_are_those_computed_by_hand():
    pairs = [pair(k, 1.0, 1.0, 0.0) for k in range(6)] + [pair(k, 0.0, 0.5) for k in range(6, 10)]
    result = check(LlmJudge(FunctionModel(good, name="good")), pairs)
    # The judge always prefers a: 2/3 of the people of a pair agree on six pairs, none on four.
    assert result.agreement.value == pytest.approx(6 * (2 / 3) / 10)
    # Six pairs: of the six ordered pairs of people two agree. Four: the tie is half a match.
    assert result.people_agreement.value == pytest.approx((6 * (2 / 6) + 4 * 0.5) / 10)
    assert result.kappa.value == pytest.approx(0)
    assert (result.pairs, result.prompts, result.people) == (10, 10, 3)
    assert result.biases.flips.value == 0


def test_kappa_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    labels = rng.choice([0.0, 0.5, 1.0], 40)
    pairs = [pair(k, label, a=rng.choice(["good", "so"])) for k, label in enumerate(labels)]
    result = check(LlmJudge(FunctionModel(good, name="good")), pairs)
    # The verdict on two answers that are not good changes with their order, and is a tie.
    expected = metrics.cohen_kappa_score(
        ["a" if item.a.startswith("good") else "tie" for item in pairs],
        ["tie" if v == 0.5 else "a" if v == 1 else "b" for v in labels],
    )
    assert result.kappa.value == pytest.approx(expected)


def test_a_judge_of_known_accuracy_and_position_bias_is_measured_as_such():
    accuracy, first = 0.7, 0.3
    rng = np.random.default_rng(11)
    right = {f"{k}": rng.random() < accuracy for k in range(400)}

    def reply(request):
        a, _ = shown(request)
        if rng.random() < first:
            return "A"
        return "A" if a.startswith("good") == right[a.split()[1]] else "B"

    result = check(LlmJudge(FunctionModel(reply, name="m")), [pair(k, 1.0) for k in range(400)])
    # Flips need one random "A" on the side that the judge does not prefer.
    assert result.biases.flips.low <= first <= result.biases.flips.high
    shares = result.biases.prefers_first
    assert shares.low <= first + (1 - first) / 2 <= shares.high
    expected = accuracy * (1 - first) + first / 2
    assert result.agreement.low <= expected <= result.agreement.high


def test_the_biases_cover_their_truth_in_repeated_samples():
    phi, psi, position, covered = 0.8, 1.2, 0.6, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        lengths, others = rng.lognormal(5, 0.5, (2, 120)).round()
        labels = (rng.random(120) < 0.5).astype(float)
        gap = lengths - others
        logit = phi * np.tanh(gap / np.sqrt((gap**2).mean())) + psi * (2 * labels - 1)
        verdicts = (rng.random(120) < expit(logit)).astype(float)
        length = length_bias(verdicts, lengths, others, labels=labels)
        forward, backward = expit(logit + position), expit(logit - position)
        shown_twice = [(rng.random(120) < p).astype(float) for p in (forward, backward)]
        bias = position_bias(*shown_twice)
        truth = (forward * (1 - backward) + backward * (1 - forward)).mean()
        covered.append(
            [
                length.coefficient.low <= phi <= length.coefficient.high,
                bias.flips.low <= truth <= bias.flips.high,
                bias.prefers_first.low
                <= (forward + 1 - backward).mean() / 2
                <= bias.prefers_first.high,
            ]
        )
    assert (np.mean(covered, axis=0) > 0.87).all()


def test_the_effect_of_length_is_none_where_it_is_not_identified():
    lengths, others = np.array([2.0, 3, 4, 5, 6, 7, 8, 9]), np.ones(8)
    assert length_bias(np.ones(8), lengths, others).coefficient is None
    assert length_bias(np.ones(8), lengths, others).longer_wins.value == 1
    with pytest.raises(NotIdentified):
        length_bias(np.ones(8), others, others)


def test_a_judge_that_prefers_length_more_than_people_is_found_out():
    rng = np.random.default_rng(5)
    pairs = [
        pair(k, float(rng.random() < 0.5), a="word " * rng.integers(1, 9), b="word " * 4)
        for k in range(80)
    ]
    biases = check(LlmJudge(FunctionModel(longer, name="longer")), pairs).biases
    assert biases.longer_wins.value == 1
    assert biases.length_excess.low > 0.2


def test_a_budget_that_ends_leaves_the_pairs_judged_until_then():
    judge = LlmJudge(FunctionModel(good, name="good"))
    result = check(judge, [pair(k, 1.0) for k in range(40)], calls=40)
    assert (result.pairs, result.complete) == (16, False)


def test_a_judge_without_readable_replies_or_pairs_is_an_error():
    judge = LlmJudge(FunctionModel(lambda _: "Hm.", name="hm"))
    with pytest.raises(BacktalkError, match="no readable verdict on any of 3 pairs"):
        check(judge, [pair(k, 1.0) for k in range(3)])
    with pytest.raises(BacktalkError, match="compared by people"):
        check(judge, [])


def feedback(number, annotator, verdict="a"):
    interaction = Interaction.of(f"question {number}", f"good {number}", f"bad {number}")
    return interaction, Preference(
        interaction=interaction.id, annotator=annotator, a="0", b="1", verdict=verdict
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        for number in range(30):
            interaction, first = feedback(number, Annotator.human("Ada Lovelace"))
            second = first.model_copy(
                update={"id": f"{first.id}x", "annotator": Annotator.human("bo"), "verdict": "tie"}
            )
            model = first.model_copy(
                update={"id": f"{first.id}y", "annotator": Annotator.model("judge")}
            )
            opened.add(interaction, first, second, model)
        yield opened


def test_pairs_hold_the_verdicts_of_people_only(store):
    pairs = labelled_pairs(store.cases())
    assert len(pairs) == 30
    for item in pairs:
        assert sorted(item.people) == ["Ada Lovelace", "bo"]
        by_person = dict(zip(item.people, item.labels, strict=True))
        assert by_person["bo"] == 0.5
        assert by_person["Ada Lovelace"] == float(item.a.startswith("good"))
    assert {item.a.split()[0] for item in pairs} == {"good", "bad"}


def test_thumbs_on_answers_to_one_prompt_are_pairs_and_simulated_people_stand_in(tmp_path):
    with Store(tmp_path / "s.db") as store:
        for text, is_good in (("yes", True), ("no", False)):
            interaction = Interaction.of("question", text)
            label = Label(
                interaction=interaction.id,
                annotator=Annotator.simulated("s"),
                response="0",
                good=is_good,
            )
            store.add(interaction, label)
        (item,) = labelled_pairs(store.cases())
    assert item.simulated
    assert item.labels == (float(item.a == "yes"),)


def test_a_sample_takes_held_out_prompts_first_and_changes_little_with_more_feedback(store):
    pairs = labelled_pairs(store.cases())
    sample = sample_pairs(pairs, 10)
    held_out = [item.held_out for item in sample]
    assert held_out == sorted(held_out, reverse=True)
    assert sum(held_out) == min(10, sum(item.held_out for item in pairs))
    assert set(sample_pairs(pairs[:-1], 10)) >= set(sample) - {pairs[-1]}
    assert {item.held_out for item in sample_pairs(pairs, split="train")} == {False}
    assert split_for("x") in {"train", "held-out"}


class Fitted:
    name, bounds = "fitted", None
    info = JudgeInfo(name="fitted", kind="reward")

    async def score(self, answers):
        return Scores(np.array([float(text.startswith("good")) for _, text in answers]))


def test_a_learned_reward_is_checked_on_prompts_that_it_was_not_fitted_on(store):
    pairs = pairs_for(Fitted(), store)
    assert pairs
    assert all(item.held_out for item in pairs)
    result = check(Fitted(), pairs)
    assert result.agreement.value == 1
    assert result.biases.flips is None


def test_only_language_models_are_checked_with_an_evaluation(store):
    with Run() as run:
        judge = LlmJudge(FunctionModel(good, name="good"))
        result = asyncio.run(check_language_model(judge, store, run=run, pairs=7))
        assert result.pairs == 7
        assert asyncio.run(check_language_model(judge, store, run=run, pairs=0)) is None
        assert asyncio.run(check_language_model(Fitted(), store, run=run, pairs=7)) is None
    text = " ".join(describe_check(result))
    assert "Agrees with people in 100 %" in text
    assert "Position: 0 %" in text
    assert "is not known" in " ".join(describe_check(None))


def test_the_command_checks_a_judge_by_name(store, tmp_path, capsys, monkeypatch):
    from backtalk.evaluate.judges import by_name

    judge = LlmJudge(FunctionModel(good, name="good"))
    monkeypatch.setattr(by_name, "_language_model", lambda *_: judge)
    location = ["--store", str(tmp_path / "s.db")]
    name = "llm:good@http://localhost:1/v1"
    assert main(["judge", "check", name, "--pairs", "8", "--json", *location]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["pairs"], result["judge"], result["agreement"]["value"]) == (8, "llm:good", 1)
    assert main(["judge", "check", name, *location]) == 0
    assert "Agrees with people in 100 %" in capsys.readouterr().out
    assert main(["judge", "check", "recorded", *location]) == 1

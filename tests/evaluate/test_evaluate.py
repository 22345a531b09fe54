"""Evaluations have the numbers that are computed by hand from the same answers."""

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest

from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError
from backtalk.evaluate.evaluate import choose_best, evaluate
from backtalk.evaluate.examples import select_examples
from backtalk.evaluate.judges.check import judge_lines
from backtalk.evaluate.judges.llm import LlmJudge
from backtalk.evaluate.result import Evaluation, headline
from backtalk.feedback import as_prompt
from backtalk.models import Budget, FunctionModel, Request
from backtalk.rewards import Scores
from backtalk.run import Run
from backtalk.stats import compare_to_baselines, paired_difference, win_rate

PROMPTS = [as_prompt(f"question {i}") for i in range(60)]


def number(*parts):
    return np.random.default_rng(abs(hash(parts)) % 2**32).random()


@dataclass
class FakePolicy:
    """A policy that answers with a number, larger for greater skill: the best of several draws."""

    id: str
    skill: float
    draws: int = 1
    model: object = None

    async def decode(self, prompts, *, seed=0):
        results = []
        for prompt in prompts:
            values = [
                min(self.skill + 0.5 * self._draw(prompt, seed, i), 1) for i in range(self.draws)
            ]
            requests = [
                Request(messages=prompt, sample_index=i, seed=seed) for i in range(self.draws)
            ]
            texts = [f"{value:.6f}" + "x" * (i % 3) for i, value in enumerate(values)]
            model = self.model or FunctionModel(lambda r, t=texts: t[r.sample_index], name="m")
            results.append(
                DecoderOutput(tuple(await model.generate(requests)), int(np.argmax(values)))
            )
        return results

    def _draw(self, prompt, seed, i):
        return np.random.default_rng([len(self.id), seed, i, int(prompt[0].text[9:])]).random()


class Worth:
    """A reward that is the number in the answer."""

    name, bounds = "worth", (0.0, 1.0)

    async def score(self, answers):
        return Scores(np.array([float(text.rstrip("x")) for _, text in answers]))


class Shortness:
    """A reward for short answers."""

    name, bounds = "short", None

    async def score(self, answers):
        return Scores(-np.array([float(len(text)) for _, text in answers]))


BETTER, PLAIN = FakePolicy("better", 0.3), FakePolicy("plain", 0.2)


def run_evaluation(candidate=BETTER, baseline=PLAIN, prompts=PROMPTS, **options):
    run = options.pop("run", None) or Run(seed=options.pop("seed", 1))
    return asyncio.run(evaluate(candidate, baseline, prompts, Worth(), run=run, **options))


def test_an_evaluation_has_the_statistics_of_the_answers():
    result, answer_set = run_evaluation(guards=[Shortness()])
    values = np.array(
        [[float(d.answer.text.rstrip("x")) for d in row] for row in answer_set.answers]
    )
    np.testing.assert_array_equal(values, answer_set.values)
    wins = (np.sign(values[1] - values[0]) + 1) / 2
    assert result.win_rate == win_rate(wins, seed=1).estimate
    assert result.value.difference == paired_difference(values[1], values[0], seed=1)
    assert result.win_rate.value > 0.5
    assert (result.prompts, result.split, result.judge) == (60, "held-out", "worth")
    assert result.guards[0].name == "short"
    assert Evaluation.model_validate_json(result.to_json()) == result


def test_a_choice_among_samples_has_baselines():
    result, answer_set = run_evaluation(FakePolicy("best", 0.2, draws=4))
    texts = [[c.text for c in d.candidates] for d in answer_set.answers[1]]
    values = [[float(text.rstrip("x")) for text in row] for row in texts]
    expected = compare_to_baselines(texts, values, [d.chosen for d in answer_set.answers[1]])
    assert {c.rule: c.difference for c in result.choices} == {
        rule: score.difference for rule, score in expected.baselines.items()
    }
    assert {"longest", "first", "random"} <= {c.rule for c in result.choices}
    assert result.ceiling == expected.ceiling


def test_the_same_seed_gives_the_same_numbers_and_another_another():
    first, second, third = (run_evaluation(seed=seed)[0] for seed in (5, 5, 6))
    assert first.win_rate == second.win_rate
    assert first.value != third.value


def test_a_judge_that_compares_is_asked_to():
    class Compares(Worth):
        async def compare(self, a, b):
            return np.tile([0.7, 0.2, 0.1], (len(a), 1))

    result, _ = asyncio.run(evaluate(BETTER, PLAIN, PROMPTS, Compares(), run=Run()))
    assert result.win_rate.value == pytest.approx(0.75)


class ComparesOnly:
    """A judge that prefers the larger number, and has no scores."""

    name = "comparison"

    def __init__(self):
        self.pairs = 0

    async def compare(self, a, b):
        self.pairs += len(a)
        first, second = ([float(text.rstrip("x")) for _, text in row] for row in (a, b))
        wins = np.array(first) > np.array(second)
        return np.stack([0.8 * wins, 0.8 * ~wins, np.full(len(a), 0.2)], axis=1)


@pytest.mark.parametrize(
    ("judging", "answering", "itself"),
    [
        ("m", ("m", "other"), "candidate"),
        ("m", ("other", "m"), "baseline"),
        ("m", ("m", "m"), "both"),
        ("third", ("m", "other"), None),
    ],
)
def test_a_model_that_judges_its_own_answers_is_recorded(judging, answering, itself):
    policies = []
    for name, value in zip(answering, ("0.5", "0.4"), strict=True):
        model = FunctionModel(lambda _, text=value: text, name=name)
        policies.append(FakePolicy(f"policy {name} {value}", 0.2, model=model))
    judge = LlmJudge(FunctionModel(lambda _: "Verdict: A", name=judging))
    result, _ = asyncio.run(evaluate(*policies, PROMPTS[:2], judge, run=Run()))
    assert result.judges_itself == itself
    shown = [line for line in judge_lines(result) if "prefer their own answers" in line]
    assert len(shown) == (itself in {"candidate", "baseline"})


def test_a_judge_that_only_compares_gives_preferences():
    judge = ComparesOnly()
    candidate = FakePolicy("best", 0.25, draws=4)
    result, answer_set = asyncio.run(
        evaluate(candidate, PLAIN, PROMPTS, judge, run=Run(seed=1), guards=[ComparesOnly()])
    )
    texts = [[d.answer.text.rstrip("x") for d in row] for row in answer_set.answers]
    wins = np.array([float(new) > float(old) for old, new in zip(*texts, strict=True)])
    expected = win_rate(0.1 + 0.8 * wins, seed=1).estimate
    assert result.win_rate == expected
    assert result.value.candidate.value == pytest.approx(expected.value)
    assert result.value.baseline is None
    assert result.value.difference.low == pytest.approx(expected.low - 0.5)
    assert result.guards[0].difference == result.value.difference
    assert result.choices == ()
    assert judge.pairs == len(PROMPTS)
    assert Evaluation.model_validate_json(result.to_json()) == result


def test_the_best_of_several_is_chosen_by_a_judge_that_only_compares():
    candidates = [PLAIN, FakePolicy("good", 0.4), FakePolicy("bad", 0.0)]
    baseline = FakePolicy("base", 0.2)
    result, selection, answer_set = asyncio.run(
        choose_best(candidates, baseline, PROMPTS, ComparesOnly(), run=Run(seed=1))
    )
    assert selection.winner == 1
    assert result.candidate == "good"
    hidden = np.asarray(selection.held_out)
    assert result.win_rate.value == pytest.approx(answer_set.values[2][hidden].mean())
    assert (answer_set.values[0] == 0.5).all()


def test_a_judge_that_needs_all_answers_at_once_has_them_at_once():
    class AtOnce(ComparesOnly):
        batch_size = None

        async def compare(self, a, b):
            assert len(a) == len(PROMPTS)
            return await super().compare(a, b)

    assert asyncio.run(evaluate(BETTER, PLAIN, PROMPTS, AtOnce(), run=Run()))[0].prompts == 60


def test_a_budget_that_ends_leaves_what_was_done():
    run = Run(budget=Budget(calls=100))
    model = run.wrap(FunctionModel(lambda request: "0.5", name="m"))
    candidate, baseline = FakePolicy("a", 0.1, model=model), FakePolicy("b", 0.1, model=model)
    result, answer_set = run_evaluation(candidate, baseline, run=run)
    assert not result.complete
    assert result.prompts == len(answer_set.prompts) == 48
    assert result.calls <= 100


def test_the_best_of_many_is_judged_on_prompts_that_the_choice_never_saw():
    equals = [FakePolicy("x" * (k + 1), 0.2) for k in range(12)]
    apparent, unseen = [], []
    for seed in range(12):
        result, selection, answer_set = asyncio.run(
            choose_best(equals, PLAIN, PROMPTS, Worth(), run=Run(seed=seed))
        )
        hidden = np.asarray(selection.held_out)
        assert result.prompts == hidden.sum()
        assert result.chosen_of == 12
        values = answer_set.values[1 + selection.winner]
        assert result.value.candidate.value == pytest.approx(values[hidden].mean())
        apparent.append(selection.apparent.value)
        unseen.append(result.value.candidate.value)
    truth = 0.2 + 0.25
    assert np.mean(apparent) > truth + 0.02
    assert np.mean(unseen) == pytest.approx(truth, abs=0.02)


def test_two_prompts_are_enough_for_a_choice_by_a_judge_without_bounds():
    class Unbounded(Worth):
        bounds = None

    result, selection, _ = asyncio.run(
        choose_best([BETTER, FakePolicy("c", 0.1)], PLAIN, PROMPTS[:2], Unbounded(), run=Run())
    )
    assert (result.prompts, selection.apparent, result.value.candidate) == (1, None, None)


def test_invalid_arguments_are_rejected():
    with pytest.raises(BacktalkError, match="is the baseline itself"):
        run_evaluation(PLAIN, PLAIN)
    with pytest.raises(BacktalkError, match="no held-out prompt"):
        run_evaluation(prompts=[])
    with pytest.raises(BacktalkError, match="at least two prompts"):
        asyncio.run(choose_best([BETTER], PLAIN, PROMPTS[:1], Worth(), run=Run()))


def test_the_headline_claims_no_more_than_the_interval():
    result, _ = run_evaluation()
    assert headline(result).startswith("The candidate is better")
    worse, _ = run_evaluation(PLAIN, BETTER)
    assert headline(worse).startswith("The candidate is worse")
    unsure, _ = run_evaluation(FakePolicy("other", 0.21))
    assert headline(unsure).startswith("No difference is shown")


def test_examples_span_the_answer_set():
    _, answer_set = run_evaluation()
    shown = select_examples(answer_set, count=5)
    gains = [e.candidate_value - e.baseline_value for e in shown]
    difference = answer_set.values[1] - answer_set.values[0]
    assert gains == sorted(gains, reverse=True)
    assert (gains[0], gains[-1]) == (difference.max(), difference.min())
    assert len(select_examples(answer_set, count=500)) == len(PROMPTS)

"""Decoders: sampling and selection of answers."""

import asyncio
import math

import numpy as np
import pytest
from pydantic import ValidationError

from backtalk.decode import BestOfN, Sample
from backtalk.errors import NotFound
from backtalk.feedback import as_prompt
from backtalk.models import FunctionModel, Sampling
from backtalk.rewards import Scores
from backtalk.testing import DecoderLaws, RewardLaws

PROMPTS = [as_prompt("a"), as_prompt("b")]


class Length:
    """Score by length, with an uncertainty that grows with the length."""

    name, bounds = "length", None

    async def score(self, answers):
        lengths = np.array([float(len(text)) for _, text in answers])
        return Scores(lengths, lengths)


def make_model(requests):
    """Return a model that answers with one to five letters by the sample index."""

    def answer(request):
        requests.append(request)
        return request.messages[-1].text * (1 + request.sample_index % 5)

    return FunctionModel(answer, name="letters")


def decode(decoder, **options):
    requests = []
    result = asyncio.run(decoder.decode(make_model(requests), PROMPTS, **options))
    return result, requests


def test_the_best_sample_by_the_reward_is_selected():
    results, requests = decode(BestOfN(n=7, reward="r"), rewards={"r": Length()}, seed=3)
    assert [d.answer.text for d in results] == ["aaaaa", "bbbbb"]
    assert [len(d.candidates) for d in results] == [7, 7]
    assert [d.chosen for d in results] == [4, 4]
    assert [(r.messages, r.sample_index, r.seed) for r in requests] == [
        (prompt, i, 3) for prompt in PROMPTS for i in range(7)
    ]


class TestSample(DecoderLaws):
    def decoder(self):
        return Sample()


class TestBestOfN(DecoderLaws):
    def decoder(self):
        return BestOfN(n=3, reward="r")

    def rewards(self):
        return {"r": Length()}


class TestLength(RewardLaws):
    def reward(self):
        return Length()


def test_pessimism_avoids_uncertain_answers():
    results, _ = decode(BestOfN(n=5, reward="r", pessimism=2), rewards={"r": Length()})
    assert [d.answer.text for d in results] == ["a", "b"]


def test_the_best_of_one_is_a_sample():
    sampling = Sampling(temperature=0.3)
    best, best_requests = decode(
        BestOfN(n=1, reward="r", sampling=sampling), rewards={"r": Length()}
    )
    plain, plain_requests = decode(Sample(sampling=sampling), rewards={})
    assert [d.answer for d in best] == [d.answer for d in plain]
    assert best_requests == plain_requests


def test_ties_go_to_the_first_sample():
    class Even(Length):
        async def score(self, answers):
            return Scores(np.zeros(len(answers)))

    results, _ = decode(BestOfN(n=4, reward="r"), rewards={"r": Even()})
    assert [d.chosen for d in results] == [0, 0]


def test_the_kl_bound_holds_and_is_tight():
    """Compare with the exact divergence for a reward that ranks equally likely answers."""
    for n in (1, 2, 8):
        answers = 4000
        ranks = np.arange(1, answers + 1) / answers
        chosen = ranks**n - (ranks - 1 / answers) ** n
        exact = np.sum(chosen * np.log(chosen * answers))
        bound = BestOfN(n=n, reward="r").kl_bound
        assert exact <= bound + 1e-9
        assert bound == pytest.approx(exact, abs=0.01)
    assert BestOfN(n=8, reward="r").kl_bound == math.log(8) - 7 / 8


def test_a_missing_reward_is_named():
    with pytest.raises(NotFound, match="abc"):
        decode(BestOfN(n=2, reward="abc"), rewards={})


def test_zero_samples_are_rejected():
    with pytest.raises(ValidationError, match="n"):
        BestOfN(n=0, reward="r")

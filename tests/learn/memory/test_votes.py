"""Votes of principles by a model that computes log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import as_prompt
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.votes import Principle, model_votes
from backtalk.learn.training_set import TrainingSet
from backtalk.models import ContextTooLong, NamedSpec, PromptResponse, register_model
from backtalk.models.fakes import FunctionModel
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store

DEAR, BRIEF = "Begin with Dear.", "Be brief."


class LikelihoodModel(FunctionModel):
    """Model for which answers with "Dear" are likelier under the principle that asks for it."""

    async def score(self, texts: Sequence[PromptResponse]) -> list[NDArray[np.float64]]:
        if any(len(answer) > 100 for _, answer in texts):
            raise ContextTooLong("too long", "shorten it")
        return [np.array([-5.0 + 2 * _follows(prompt[0].text, text)]) for prompt, text in texts]


def _follows(system: str, answer: str) -> float:
    return float(DEAR in system and "Dear" in answer)


@register_model("computes-likelihoods")
def make_model() -> LikelihoodModel:
    return LikelihoodModel(lambda request: "", name="computes-likelihoods")


def pair(chosen: str, rejected: str) -> Pair:
    return Pair(prompt=as_prompt("Write."), chosen=chosen, rejected=rejected)


def test_a_principle_votes_for_the_answer_that_it_makes_more_likely() -> None:
    policy = Policy(model=NamedSpec(name="computes-likelihoods"))
    pairs = [
        pair("Dear Bo.", "Hi Bo."),
        pair("Hi Bo.", "Dear Bo."),
        pair("Hey.", "Hi."),
        pair("Dear Bo.", "Hi." * 50),
    ]
    with Store(":memory:") as store, Run() as run:
        context = MethodContext(policy, TrainingSet(store, split="all"), run)
        votes = run_sync(model_votes(context, [Principle(DEAR), Principle(BRIEF)], pairs, seed=0))
    assert votes.tolist() == [[1, -1, 0, 0], [0, 0, 0, 0]]

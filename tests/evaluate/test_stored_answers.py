"""Evaluations spend nothing before they can work, and pay for no answer twice."""

import asyncio

import numpy as np
import pytest

from backtalk.api import acompare, aevaluate, alearn
from backtalk.errors import BacktalkError
from backtalk.evaluate.storage import list_evaluations
from backtalk.feedback import Annotator, Interaction, Preference, Response, as_prompt
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.split import split_for
from backtalk.models import (
    AuthenticationError,
    Budget,
    BudgetExceeded,
    ConnectionFailed,
    EndpointSpec,
    Price,
    ReplaySpec,
)
from backtalk.models.replay.replay import Replay
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.rewards import Scores
from backtalk.store import Store
from tests.models.server import error, run_server

PROMPTS = 40


class Length:
    """A reward for long answers."""

    name, bounds = "length", None

    async def score(self, answers):
        return Scores(np.array([float(len(text)) for _, text in answers]))


class Alphabet:
    """A judge that only compares: the first in the alphabet wins."""

    name = "alphabet"

    async def compare(self, a, b):
        rows = [
            (0, 0, 1) if x == y else (x < y, x > y, 0) for (_, x), (_, y) in zip(a, b, strict=True)
        ]
        return np.array(rows, dtype=float)


class Broken:
    """A judge that fails."""

    name, bounds = "broken", None

    async def score(self, answers):
        raise BacktalkError("The judge is broken", "Mend it")


@pytest.fixture
def server():
    with run_server() as running:
        yield running


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "app.db") as opened:
        opened.add(*[Interaction.of(f"question {i}", "yes") for i in range(PROMPTS)])
        yield opened


@pytest.fixture
def policies(server, store):
    spec = EndpointSpec(model="small", base_url=server.url, send_seed=True, retries=0)
    plain = Policy(model=spec, name="plain")
    brief = Policy(model=spec, system="Be brief.", name="brief")
    for policy in (plain, brief):
        save_policy(store, policy)
    promote(store, plain, actor="test")
    return plain, brief


def held_out():
    prompts = [Interaction.of(f"question {i}", "yes").prompt for i in range(PROMPTS)]
    return sum(split_for(prompt_key(prompt)) == "held-out" for prompt in prompts)


def run_evaluation(store, candidate="brief", baseline=None, judge=None, **options):
    return asyncio.run(aevaluate(candidate, baseline, store, judge=judge or Length(), **options))


@pytest.mark.usefixtures("policies")
def test_answers_bought_for_one_judge_are_reused_for_another(server, store):
    first = run_evaluation(store)
    assert len(server.requests) == 2 * held_out() == first.calls
    second = run_evaluation(store, judge=Alphabet())
    assert len(server.requests) == 2 * held_out()
    assert (second.calls, second.tokens) == (0, 0)
    assert (first.reused, second.reused) == (0, 2 * held_out())
    assert second.longer_wins == first.longer_wins
    assert second.candidate_cost == first.candidate_cost


@pytest.mark.usefixtures("policies")
def test_compare_and_evaluate_share_answers_in_either_order(server, store):
    run_evaluation(store)
    before = len(server.requests)
    comparison = asyncio.run(acompare(["brief"], "plain", store, judge=Length()))
    assert len(server.requests) == before
    assert comparison.evaluation.reused == before
    run_evaluation(store, candidate="plain", baseline="brief")
    assert len(server.requests) == before
    run_evaluation(store, seed=1)
    assert len(server.requests) == 2 * before


@pytest.mark.usefixtures("policies")
def test_answers_survive_a_judge_that_fails(server, store):
    with pytest.raises(BacktalkError, match="broken"):
        run_evaluation(store, judge=Broken())
    bought = len(server.requests)
    assert bought == 2 * held_out()
    assert run_evaluation(store).calls == 0
    assert len(server.requests) == bought


@pytest.mark.usefixtures("policies")
def test_answers_survive_a_server_that_fails_midway(server, store):
    server.reject = lambda _: error(500) if len(server.requests) > held_out() + 1 else None
    with pytest.raises(ConnectionFailed, match="answers so far are stored"):
        run_evaluation(store)
    server.reject = None
    result = run_evaluation(store)
    assert result.complete
    assert result.reused > 0
    assert result.calls < 2 * held_out()


@pytest.mark.usefixtures("policies")
def test_fresh_answers_are_generated_anew_and_replace_the_stored_ones(server, store):
    run_evaluation(store)
    once = len(server.requests)
    assert run_evaluation(store, fresh=True).reused == 0
    assert len(server.requests) == 2 * once
    assert run_evaluation(store).calls == 0


@pytest.mark.usefixtures("policies")
def test_a_judge_of_recorded_answers_is_refused_before_any_call(server, store):
    with pytest.raises(BacktalkError, match="generates new ones") as refused:
        run_evaluation(store, judge="recorded")
    assert server.requests == []
    assert "--judge people" in refused.value.mend
    with pytest.raises(BacktalkError, match="generates new ones"):
        run_evaluation(store, guards=["recorded"])
    with pytest.raises(BacktalkError, match="generates new ones"):
        asyncio.run(acompare(["brief"], None, store, judge="recorded"))
    assert server.requests == []
    assert list_evaluations(store) == []


def pair(index):
    """Return an interaction with an old and a new answer, of which the new one is preferred."""
    texts = {"old": f"no, not {index}", "new": f"yes, it is {index}"}
    interaction = Interaction(
        prompt=as_prompt(f"question {index}"),
        responses=tuple(
            Response(id=str(i), text=text, model=name)
            for i, (name, text) in enumerate(texts.items())
        ),
    )
    preference = Preference(
        interaction=interaction.id,
        annotator=Annotator.human("ada"),
        a="0",
        b="1",
        verdict="b",
    )
    return Case(interaction, (preference,))


def replay(store, interactions, *models):
    artifact = store.artifacts.put(Replay.from_interactions(interactions).to_files())
    return Policy(model=ReplaySpec(artifact=artifact, models=models), name=models[0])


def test_recorded_answers_are_judged_by_their_feedback_or_not_at_all(store):
    cases = [pair(index) for index in range(PROMPTS)]
    store.add_cases(cases)
    old, new = (
        replay(store, [case.interaction for case in cases], name) for name in ("old", "new")
    )
    result = asyncio.run(aevaluate(new, old, store))
    assert (result.win_rate.value, result.reused, result.prompts) == (1, 0, held_out())
    other = Interaction(
        prompt=as_prompt("question 1"),
        responses=(Response(id="0", text="perhaps", model="third"),),
    )
    third = replay(store, [other], "third")
    with pytest.raises(BacktalkError, match="1 of 1 answers of third have no recorded feedback"):
        asyncio.run(aevaluate(third, old, store, prompts=["question 1"], split="all"))


def test_an_endpoint_that_cannot_be_reached_is_noticed_before_the_other_is_paid(
    server, store, policies
):
    dead = Policy(model=EndpointSpec(model="small", base_url="http://127.0.0.1:9/v1"), name="dead")
    with pytest.raises(ConnectionFailed, match="could not be reached"):
        run_evaluation(store, candidate=dead, baseline=policies[0])
    assert server.requests == []


def test_a_key_that_is_rejected_is_noticed_before_any_call(server, store, policies, monkeypatch):
    from openai import AuthenticationError as Rejected
    from openai.resources.models import AsyncModels

    async def reject(self, **_):
        import httpx2

        request = httpx2.Request("GET", server.url)
        raise Rejected("no", response=httpx2.Response(401, request=request), body=None)

    monkeypatch.setattr(AsyncModels, "list", reject)
    with pytest.raises(AuthenticationError):
        run_evaluation(store)
    assert server.requests == []
    assert policies


@pytest.mark.usefixtures("policies")
def test_a_budget_too_small_for_one_prompt_is_not_touched(server, store):
    with pytest.raises(BudgetExceeded, match="1 calls is too small: 2 may be needed"):
        run_evaluation(store, budget=Budget(calls=1))
    assert server.requests == []


@pytest.mark.usefixtures("policies")
def test_a_budget_counts_new_answers_only(server, store):
    part = run_evaluation(store, budget=Budget(calls=6))
    assert (part.complete, part.prompts, part.calls) == (False, 3, 6)
    rest = run_evaluation(store, budget=Budget(calls=2 * held_out() - 6))
    assert (rest.complete, rest.prompts, rest.reused) == (True, held_out(), 6)
    assert len(server.requests) == 2 * held_out()


def test_the_cost_of_an_answer_counts_all_samples(store, policies):
    plain, _ = policies
    store.add_cases(pair(index) for index in range(PROMPTS))
    best = asyncio.run(alearn("best-of-n", plain, store, name="best", n=4))
    prices = {"small": Price(prompt=1, completion=2)}
    result = run_evaluation(store, candidate=best, baseline="plain", prices=prices)
    new, old = result.candidate_cost, result.baseline_cost
    assert (new.calls, old.calls) == (4, 1)
    assert new.prompt_tokens == 4 * old.prompt_tokens
    assert new.money == pytest.approx((new.prompt_tokens + 2 * new.completion_tokens) / 1e6)
    assert new.seconds >= new.latency > 0
    assert type(result).model_validate_json(result.to_json()) == result
    assert run_evaluation(store, candidate=best, baseline="plain").candidate_cost.money is None

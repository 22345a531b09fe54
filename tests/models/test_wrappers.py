"""Caches, budgets and recordings around any model."""

import asyncio
import json
import threading

import pytest

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Interaction, Response, as_prompt
from backtalk.models import (
    Budget,
    BudgetedModel,
    BudgetExceeded,
    CachedModel,
    FunctionModel,
    Ledger,
    MissingPrice,
    NotRecorded,
    Price,
    Recorder,
    Replay,
    Request,
    ResponseCache,
    Sampling,
    ScriptedModel,
    load_prices,
    register_model,
)
from backtalk.models.protocol import Completion, Usage
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import LocalSpec, ModelSpec, NamedSpec, ReplaySpec, load_model
from backtalk.run import Run
from backtalk.testing import ModelLaws
from backtalk.testing import models as laws


def request(text="open?", sample_index=0, seed=0):
    sampling = Sampling(max_tokens=8)
    return Request(
        messages=as_prompt(text), sample_index=sample_index, seed=seed, sampling=sampling
    )


def answer_text(request):
    return f"{request.messages[-1].text} {request.draw_seed}"


class CountingModel:
    """Model that records its requests."""

    name, identity = "counting", "counting"

    def __init__(self):
        self.requests = []
        self.lock = threading.Lock()

    async def generate(self, requests):
        with self.lock:
            self.requests += requests
        await asyncio.sleep(0.01)
        usage = Usage(calls=1, prompt_tokens=2, completion_tokens=3)
        return [Completion(text=answer_text(r), usage=usage, model=self.name) for r in requests]

    def bound(self, request):
        return Usage(calls=1, prompt_tokens=2, completion_tokens=8)


REQUESTS = [request(f"{i % 4}?", sample_index=i % 3, seed=i % 2) for i in range(12)]
MAKERS = {
    "function": lambda: FunctionModel(answer_text, name="f"),
    "counting": CountingModel,
    "cached": lambda: CachedModel(FunctionModel(answer_text, name="f"), ResponseCache()),
    "budgeted": lambda: BudgetedModel(FunctionModel(answer_text, name="f"), Ledger()),
    "recorder": lambda: Recorder(FunctionModel(answer_text, name="f")),
    "both": lambda: CachedModel(
        BudgetedModel(Recorder(CountingModel()), Ledger()), ResponseCache()
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_law_of_models_holds(name):
    if name not in {"cached", "both"}:
        laws.check_model(MAKERS[name], REQUESTS)
    laws.check_order(MAKERS[name], REQUESTS)
    laws.check_bound(MAKERS[name], REQUESTS)
    laws.check_independent_samples(MAKERS[name], request())


class TestFunctionModel(ModelLaws):
    def model(self):
        return FunctionModel(answer_text, name="f")


def test_no_request_is_sent_twice_even_by_another_process(tmp_path):
    inner = CountingModel()
    first = run_sync(CachedModel(inner, ResponseCache(tmp_path / "c.db")).generate(REQUESTS))
    distinct = {r.key for r in REQUESTS}
    assert len(inner.requests) == len(distinct)
    other = CountingModel()
    again = run_sync(CachedModel(other, ResponseCache(tmp_path / "c.db")).generate(REQUESTS))
    assert other.requests == []
    assert [c.text for c in first] == [c.text for c in again]
    assert all(c.cached and c.usage == Usage() for c in again)


def test_another_sample_index_is_never_served_from_the_cache():
    inner = CountingModel()
    cached = CachedModel(inner, ResponseCache())
    texts = {run_sync(cached.generate([request(sample_index=i)]))[0].text for i in range(20)}
    assert len(texts) == 20
    assert len(inner.requests) == 20


@pytest.mark.parametrize(
    "change",
    [
        {"sample_index": 1},
        {"seed": 1},
        {"sampling": Sampling(max_tokens=9)},
        {"messages": as_prompt("closed?")},
        {"options": {"logit_bias": {}, "x": 1}},
    ],
)
def test_the_key_contains_all_fields_of_the_request(change):
    assert request().key != request().model_copy(update=change).key


def test_the_key_is_that_of_caches_and_recordings_of_earlier_versions():
    defaults = Sampling(temperature=1, top_p=1, max_tokens=512)
    request = Request(messages=as_prompt("hey"), sampling=defaults, sample_index=2, seed=3)
    assert request.key == "7167a2a862ec2ff580d6523bc81cc461"


def test_the_key_contains_the_identity_of_the_model():
    cache = ResponseCache()
    a = CachedModel(FunctionModel(lambda r: "one", name="one"), cache)
    b = CachedModel(FunctionModel(lambda r: "other", name="other"), cache)
    run_sync(a.generate([request()]))
    assert run_sync(b.generate([request()]))[0].text == "other"


def test_equal_requests_at_once_are_paid_once():
    inner = CountingModel()
    cached = CachedModel(inner, ResponseCache())
    threads = [
        threading.Thread(target=lambda: run_sync(cached.generate([request()]))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inner.requests) == 1


def test_a_file_that_is_not_a_cache_is_rejected(tmp_path):
    (tmp_path / "x.db").write_text("something else, and long enough to be looked at" * 40)
    with pytest.raises(BacktalkError, match="not a response cache"):
        ResponseCache(tmp_path / "x.db")


@pytest.mark.parametrize(
    ("budget", "num_calls"), [(Budget(calls=5), 5), (Budget(tokens=47), 4), (Budget(money=0.05), 5)]
)
def test_concurrent_calls_never_exceed_a_limit(budget, num_calls):
    inner = CountingModel()
    prices = {"counting": Price(prompt=1000.0, completion=1000.0)}
    ledger = Ledger(budget, prices=prices)
    model = BudgetedModel(inner, ledger)

    async def many():
        calls = [model.generate([request(f"{i}?")]) for i in range(40)]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(many())
    assert any(isinstance(item, BudgetExceeded) for item in results)
    spent = ledger.spent
    assert spent.usage.calls == len(inner.requests) >= 1
    assert budget.calls is None or spent.usage.calls <= budget.calls
    assert budget.tokens is None or spent.usage.tokens <= budget.tokens
    assert budget.money is None or float(spent.money) <= budget.money
    assert len(inner.requests) >= num_calls


def test_money_needs_a_price():
    with pytest.raises(MissingPrice, match="counting"):
        run_sync(BudgetedModel(CountingModel(), Ledger(Budget(money=1))).generate([request()]))


def test_a_table_of_prices(tmp_path):
    (tmp_path / "p.yaml").write_text("small: {prompt: 0.5, completion: 2}")
    prices = load_prices(tmp_path / "p.yaml")
    usage = Usage(calls=1, prompt_tokens=1_000_000, completion_tokens=500_000)
    assert float(prices["small"].cost(usage)) == 1.5
    (tmp_path / "p.yaml").write_text("small: {prompt: cheap}")
    with pytest.raises(BacktalkError, match="small"):
        load_prices(tmp_path / "p.yaml")


def test_an_interrupted_run_resumes_without_paying_twice(tmp_path):
    inner = CountingModel()
    requests = [request(f"{i}?") for i in range(10)]
    with Run(tmp_path / "run", budget=Budget(calls=6)) as run:
        with pytest.raises(BudgetExceeded):
            run_sync(run.wrap(inner).generate(requests))
        assert run.spent.usage.calls == len(inner.requests) == 6
    with Run(tmp_path / "run", budget=Budget(calls=10)) as run:
        texts = [c.text for c in run_sync(run.wrap(inner).generate(requests))]
        assert run.spent.usage.calls == 10
    assert texts == [answer_text(r) for r in requests]
    assert len(inner.requests) == 10
    assert len({r.key for r in inner.requests}) == 10


def test_recordings_are_replayed_request_by_request(tmp_path):
    recorder = Recorder(FunctionModel(answer_text, name="f"))
    run_sync(recorder.generate(REQUESTS))
    back = Replay.from_files(recorder.replay().to_files())
    laws.check_model(lambda: back, REQUESTS)
    assert [c.text for c in run_sync(back.generate(REQUESTS))] == [answer_text(r) for r in REQUESTS]
    with pytest.raises(NotRecorded, match="This request"):
        run_sync(back.generate([request("never asked?")]))


def interaction(prompt="open?", models=("a", "b", "c")):
    responses = tuple(Response(id=m, text=f"{m}: {prompt}", model=m) for m in models)
    return Interaction(prompt=as_prompt(prompt), responses=responses)


def test_responses_in_interactions_are_replayed_as_samples():
    replay = Replay.from_interactions([interaction(), interaction("closed?", models=("a",))])
    requests = [request(sample_index=i) for i in range(3)]
    texts = [c.text for c in run_sync(replay.generate(requests))]
    assert texts == ["a: open?", "b: open?", "c: open?"]
    with pytest.raises(NotRecorded, match="there are 3"):
        run_sync(replay.generate([request(sample_index=3)]))
    only = Replay.from_interactions([interaction()], models=["b"])
    assert run_sync(only.generate([request()]))[0].text == "b: open?"
    with pytest.raises(UnknownName, match="recorded model"):
        Replay.from_interactions([interaction()], models=["z"])


def test_shuffled_responses_are_a_permutation_by_the_seed():
    replay = Replay.from_interactions([interaction(models="abcdef")], order="shuffled")

    def replayed(seed):
        requests = [request(sample_index=i, seed=seed) for i in range(6)]
        return [c.text for c in run_sync(replay.generate(requests))]

    assert sorted(replayed(1)) == sorted(replayed(2))
    assert len({tuple(replayed(seed)) for seed in range(20)}) > 10


def test_a_script_is_answered_in_order_and_ends():
    model = ScriptedModel(["one", "two"])
    assert [c.text for c in run_sync(model.generate([request(), request()]))] == ["one", "two"]
    with pytest.raises(BacktalkError):
        run_sync(model.generate([request()]))


def test_specs_load_their_models(tmp_path):
    register_model("of-the-spec-test")(lambda: FunctionModel(answer_text, name="f"))
    artifacts = Artifacts(tmp_path)
    artifact = artifacts.put(Replay.from_interactions([interaction()]).to_files())
    for spec in (NamedSpec(name="of-the-spec-test"), ReplaySpec(artifact=artifact, models=("a",))):
        from pydantic import TypeAdapter

        adapter = TypeAdapter(ModelSpec)
        assert adapter.validate_json(json.dumps(spec.to_dict())) == spec
        model = load_model(spec, artifacts)
        assert run_sync(model.generate([request()]))[0].text
    with pytest.raises(UnknownName, match="writer"):
        load_model(NamedSpec(name="nobody"))
    with pytest.raises(ValueError, match="either a model or an artifact"):
        LocalSpec()

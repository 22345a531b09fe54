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
from tests.laws import model as laws


def request(text="open?", sample=0, seed=0):
    sampling = Sampling(max_tokens=8)
    return Request(messages=as_prompt(text), sample_index=sample, seed=seed, sampling=sampling)


def say(asked):
    return f"{asked.messages[-1].text} {asked.draw_seed}"


class Counting:
    """A model that counts what it is asked."""

    name, identity = "counting", "counting"

    def __init__(self):
        self.asked = []
        self.lock = threading.Lock()

    async def generate(self, requests):
        with self.lock:
            self.asked += requests
        await asyncio.sleep(0.01)
        usage = Usage(calls=1, prompt_tokens=2, completion_tokens=3)
        return [Completion(text=say(r), usage=usage, model=self.name) for r in requests]

    def bound(self, request):
        return Usage(calls=1, prompt_tokens=2, completion_tokens=8)


REQUESTS = [request(f"{i % 4}?", sample=i % 3, seed=i % 2) for i in range(12)]
MAKERS = {
    "function": lambda: FunctionModel(say, name="f"),
    "counting": Counting,
    "cached": lambda: CachedModel(FunctionModel(say, name="f"), ResponseCache()),
    "metered": lambda: BudgetedModel(FunctionModel(say, name="f"), Ledger()),
    "recorder": lambda: Recorder(FunctionModel(say, name="f")),
    "both": lambda: CachedModel(BudgetedModel(Recorder(Counting()), Ledger()), ResponseCache()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_law_of_models_holds(name):
    if name not in {"cached", "both"}:
        laws.check_model(MAKERS[name], REQUESTS)
    laws.answers_each_in_order(MAKERS[name], REQUESTS)
    laws.stays_within_its_bound(MAKERS[name], REQUESTS)
    laws.draws_afresh(MAKERS[name], request())


def test_nothing_is_asked_twice_not_even_by_another_process(tmp_path):
    inside = Counting()
    first = run_sync(CachedModel(inside, ResponseCache(tmp_path / "c.db")).generate(REQUESTS))
    distinct = {r.key for r in REQUESTS}
    assert len(inside.asked) == len(distinct)
    other = Counting()
    again = run_sync(CachedModel(other, ResponseCache(tmp_path / "c.db")).generate(REQUESTS))
    assert other.asked == []
    assert [c.text for c in first] == [c.text for c in again]
    assert all(c.cached and c.usage == Usage() for c in again)


def test_another_sample_is_never_a_copy():
    inside = Counting()
    cached = CachedModel(inside, ResponseCache())
    texts = {run_sync(cached.generate([request(sample=i)]))[0].text for i in range(20)}
    assert len(texts) == 20
    assert len(inside.asked) == 20


@pytest.mark.parametrize(
    "change",
    [
        {"sample": 1},
        {"seed": 1},
        {"sampling": Sampling(max_tokens=9)},
        {"messages": as_prompt("closed?")},
        {"options": {"logit_bias": {}, "x": 1}},
    ],
)
def test_the_key_holds_everything_that_is_asked(change):
    assert request().key != request().model_copy(update=change).key


def test_the_key_holds_who_is_asked():
    cache = ResponseCache()
    one = CachedModel(FunctionModel(lambda r: "one", name="one"), cache)
    other = CachedModel(FunctionModel(lambda r: "other", name="other"), cache)
    run_sync(one.generate([request()]))
    assert run_sync(other.generate([request()]))[0].text == "other"


def test_equal_requests_at_once_are_paid_once():
    inside = Counting()
    cached = CachedModel(inside, ResponseCache())
    threads = [
        threading.Thread(target=lambda: run_sync(cached.generate([request()]))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside.asked) == 1


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "x.db").write_text("something else, and long enough to be looked at" * 40)
    with pytest.raises(BacktalkError, match="not a response cache"):
        ResponseCache(tmp_path / "x.db")


@pytest.mark.parametrize(
    ("budget", "most"), [(Budget(calls=5), 5), (Budget(tokens=47), 4), (Budget(money=0.05), 5)]
)
def test_no_limit_is_overrun_however_many_ask_at_once(budget, most):
    inside = Counting()
    prices = {"counting": Price(prompt=1000.0, completion=1000.0)}
    ledger = Ledger(budget, prices=prices)
    model = BudgetedModel(inside, ledger)

    async def many():
        asks = [model.generate([request(f"{i}?")]) for i in range(40)]
        return await asyncio.gather(*asks, return_exceptions=True)

    results = asyncio.run(many())
    assert any(isinstance(item, BudgetExceeded) for item in results)
    spent = ledger.spent
    assert spent.usage.calls == len(inside.asked) >= 1
    assert budget.calls is None or spent.usage.calls <= budget.calls
    assert budget.tokens is None or spent.usage.tokens <= budget.tokens
    assert budget.money is None or float(spent.money) <= budget.money
    assert len(inside.asked) >= most


def test_money_needs_a_price():
    with pytest.raises(MissingPrice, match="counting"):
        run_sync(BudgetedModel(Counting(), Ledger(Budget(money=1))).generate([request()]))


def test_a_table_of_prices(tmp_path):
    (tmp_path / "p.yaml").write_text("small: {prompt: 0.5, completion: 2}")
    prices = load_prices(tmp_path / "p.yaml")
    usage = Usage(calls=1, prompt_tokens=1_000_000, completion_tokens=500_000)
    assert float(prices["small"].of(usage)) == 1.5
    (tmp_path / "p.yaml").write_text("small: {prompt: cheap}")
    with pytest.raises(BacktalkError, match="small"):
        load_prices(tmp_path / "p.yaml")


def test_a_run_that_was_cut_short_goes_on_without_paying_twice(tmp_path):
    inside = Counting()
    wanted = [request(f"{i}?") for i in range(10)]
    with Run(tmp_path / "run", budget=Budget(calls=6)) as run:
        with pytest.raises(BudgetExceeded):
            run_sync(run.wrap(inside).generate(wanted))
        assert run.spent.usage.calls == len(inside.asked) == 6
    with Run(tmp_path / "run", budget=Budget(calls=10)) as run:
        texts = [c.text for c in run_sync(run.wrap(inside).generate(wanted))]
        assert run.spent.usage.calls == 10
    assert texts == [say(r) for r in wanted]
    assert len(inside.asked) == 10
    assert len({r.key for r in inside.asked}) == 10


def test_what_is_recorded_is_replayed_request_by_request(tmp_path):
    recorder = Recorder(FunctionModel(say, name="f"))
    run_sync(recorder.generate(REQUESTS))
    back = Replay.from_files(recorder.replay().to_files())
    laws.check_model(lambda: back, REQUESTS)
    assert [c.text for c in run_sync(back.generate(REQUESTS))] == [say(r) for r in REQUESTS]
    with pytest.raises(NotRecorded, match="This request"):
        run_sync(back.generate([request("never asked?")]))


def interaction(prompt="open?", models=("a", "b", "c")):
    responses = tuple(Response(id=m, text=f"{m}: {prompt}", model=m) for m in models)
    return Interaction(prompt=as_prompt(prompt), responses=responses)


def test_answers_in_interactions_make_a_model_to_choose_from():
    replay = Replay.from_interactions([interaction(), interaction("closed?", models=("a",))])
    asked = [request(sample=i) for i in range(3)]
    texts = [c.text for c in run_sync(replay.generate(asked))]
    assert texts == ["a: open?", "b: open?", "c: open?"]
    with pytest.raises(NotRecorded, match="there are 3"):
        run_sync(replay.generate([request(sample=3)]))
    only = Replay.from_interactions([interaction()], models=["b"])
    assert run_sync(only.generate([request()]))[0].text == "b: open?"
    with pytest.raises(UnknownName, match="recorded model"):
        Replay.from_interactions([interaction()], models=["z"])


def test_shuffled_answers_are_all_dealt_once_in_an_order_of_the_seed():
    replay = Replay.from_interactions([interaction(models="abcdef")], order="shuffled")

    def dealt(seed):
        requests = [request(sample=i, seed=seed) for i in range(6)]
        return [c.text for c in run_sync(replay.generate(requests))]

    assert sorted(dealt(1)) == sorted(dealt(2))
    assert len({tuple(dealt(seed)) for seed in range(20)}) > 10


def test_a_script_is_read_in_order_and_ends():
    model = ScriptedModel(["one", "two"])
    assert [c.text for c in run_sync(model.generate([request(), request()]))] == ["one", "two"]
    with pytest.raises(BacktalkError):
        run_sync(model.generate([request()]))


def test_specs_load_what_they_name(tmp_path):
    register_model("of-the-spec-test")(lambda: FunctionModel(say, name="f"))
    artifacts = Artifacts(tmp_path)
    kept = artifacts.put(Replay.from_interactions([interaction()]).to_files())
    for spec in (NamedSpec(name="of-the-spec-test"), ReplaySpec(artifact=kept, models=("a",))):
        from pydantic import TypeAdapter

        adapter = TypeAdapter(ModelSpec)
        assert adapter.validate_json(json.dumps(spec.to_dict())) == spec
        model = load_model(spec, artifacts)
        assert run_sync(model.generate([request()]))[0].text
    with pytest.raises(UnknownName, match="writer"):
        load_model(NamedSpec(name="nobody"))
    with pytest.raises(ValueError, match="either a model or an artifact"):
        LocalSpec()

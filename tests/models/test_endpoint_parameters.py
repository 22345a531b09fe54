"""Endpoints: an address that somebody named, and only parameters that the server takes."""

import asyncio

import pytest

from backtalk.decode import Sample
from backtalk.feedback import as_prompt
from backtalk.models import (
    BadRequest,
    Budget,
    Endpoint,
    EndpointSpec,
    FunctionModel,
    MissingAddress,
    NamedSpec,
    Request,
    Sampling,
    UnlimitedAnswer,
    default_address,
    register_model,
)
from backtalk.models.endpoint.dialect import rejected_parameters, server_message
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, load_policy
from backtalk.run import Run
from tests.models.server import ScriptedResponse, error

OPENAI_LIMIT = {
    "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "unsupported_parameter",
    }
}


def extra_forbidden(field):
    item = {
        "type": "extra_forbidden",
        "loc": ["body", field],
        "msg": "Extra inputs are not permitted",
    }
    return [
        {"detail": [item]},
        {"object": "error", "message": {"detail": [item]}, "type": "invalid_request_error"},
        {"object": "Error", "detail": [item], "message": [item], "code": 3001},
    ]


def limit_errors(field):
    """Bodies of errors by which servers reject a limit of the answer's tokens."""
    return [
        *extra_forbidden(field),
        {"error": {"message": f"Unrecognized request argument supplied: {field}", "code": None}},
        {
            "error": {
                "message": f"property '{field}' is unsupported",
                "type": "invalid_request_error",
            }
        },
        [{"error": {"code": 400, "message": f'Unknown name "{field}": Cannot find field.'}}],
        {"error": f"{field}: unknown field"},
        f"Unsupported parameter: {field}",
    ]


def requests(count=1, **sampling):
    return [
        Request(messages=as_prompt(f"day {i}?"), sampling=Sampling(**sampling))
        for i in range(count)
    ]


def rejecting(field, body, status=400):
    return lambda sent: ScriptedResponse(status, body) if field in sent else None


def test_an_endpoint_without_an_address_is_an_error_although_a_key_is_set(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with pytest.raises(MissingAddress, match="base_url") as raised:
        Endpoint("small")
    assert "OPENAI_BASE_URL" in str(raised.value)
    with pytest.raises(MissingAddress, match="small"):
        load_policy(Policy(model=EndpointSpec(model="small")))


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_names_no_address(monkeypatch, value):
    monkeypatch.setenv("OPENAI_BASE_URL", value)
    with pytest.raises(MissingAddress):
        Endpoint("small")


def test_the_spec_comes_before_the_agreed_address_and_that_before_the_variable(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://variable/v1")
    assert Endpoint("small").base_url == "http://variable/v1"
    with default_address("http://agreed/v1/"):
        assert Endpoint("small").base_url == "http://agreed/v1"
        assert Endpoint("small", base_url="http://spec/v1").base_url == "http://spec/v1"
    assert Endpoint("small").base_url == "http://variable/v1"


def test_only_sampling_fields_that_are_set_are_sent(server):
    run_sync(Endpoint("small", base_url=server.url).generate(requests()))
    assert set(server.requests[0]) == {"model", "messages", "seed"}
    run_sync(Endpoint("small", base_url=server.url).generate(requests(top_p=1.0, max_tokens=3)))
    assert set(server.requests[1]) == {"model", "messages", "seed", "top_p", "max_tokens"}


def test_an_answer_without_a_limit_is_not_cut(server):
    (completion,) = run_sync(Endpoint("small", base_url=server.url).generate(requests()))
    assert completion.finish_reason == "stop"


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("body", [OPENAI_LIMIT, *limit_errors("max_tokens")])
def test_a_model_that_takes_another_limit_is_found_out_once(server, body, status):
    server.reject = rejecting("max_tokens", body, status)
    with Run(budget=Budget(calls=7, tokens=5_000)) as run:
        model = run.wrap(Endpoint("reasoning", base_url=server.url))
        completions = run_sync(model.generate(requests(6, max_tokens=5)))
        spent = run.spent.usage
    assert [sent.get("max_completion_tokens") for sent in server.requests] == [None, *[5] * 6]
    assert spent.calls == 6
    assert spent.completion_tokens == sum(c.usage.completion_tokens for c in completions)
    again = Endpoint("reasoning", base_url=server.url)
    run_sync(again.generate(requests(1, max_tokens=6)))
    assert len(server.requests) == 8


def test_a_server_without_the_new_limit_gets_the_old_one(server):
    server.reject = rejecting(
        "max_completion_tokens", limit_errors("max_completion_tokens")[0], 422
    )
    server.reject, newer = rejecting("max_tokens", OPENAI_LIMIT), server.reject
    model = Endpoint("changing", base_url=server.url)
    run_sync(model.generate(requests(1, max_tokens=5)))
    server.reject = newer
    with pytest.raises(BadRequest, match="max_completion_tokens"):
        run_sync(model.generate(requests(1, max_tokens=5)))


@pytest.mark.parametrize("body", limit_errors("seed"))
def test_a_rejected_seed_is_left_out_from_then_on(server, body):
    server.reject = rejecting("seed", body)
    model = Endpoint("seedless", base_url=server.url)
    assert len(run_sync(model.generate(requests(5)))) == 5
    assert ["seed" in sent for sent in server.requests] == [True, *[False] * 5]


def test_seed_and_limit_rejected_one_after_the_other_are_both_found_out(server):
    def reject(sent):
        if "seed" in sent:
            return error(400, message="Unknown name 'seed': Cannot find field.")
        return ScriptedResponse(400, OPENAI_LIMIT) if "max_tokens" in sent else None

    server.reject = reject
    run_sync(Endpoint("both", base_url=server.url).generate(requests(3, max_tokens=4)))
    assert len(server.requests) == 5


def test_a_stream_finds_out_what_the_server_takes(server):
    server.reject = rejecting("stream_options", extra_forbidden("stream_options")[1], 422)

    async def pieces():
        model = Endpoint("streaming", base_url=server.url)
        return [piece async for piece in model.stream(requests()[0])]

    *texts, completion = asyncio.run(pieces())
    assert "".join(texts) == completion.text
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("options", "field"),
    [({"limit_field": "max_tokens"}, "max_tokens"), ({"send_seed": True}, "seed")],
)
def test_a_field_that_the_recipe_names_is_not_replaced(server, options, field):
    server.reject = rejecting(field, limit_errors(field)[3])
    with pytest.raises(BadRequest, match=field):
        run_sync(
            Endpoint("strict", base_url=server.url, **options).generate(requests(1, max_tokens=4))
        )
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "temperature",
            0.2,
            (
                "Unsupported value: 'temperature' does not support 0.2 with this model. Only the "
                "default (1) value is supported."
            ),
        ),
        ("top_p", 0.5, "`temperature` and `top_p` cannot both be specified for this model."),
        ("stop", ("END",), "Unsupported parameter: 'stop' is not supported with this model."),
        ("max_tokens", 9, "max_tokens is too large: 9. This model supports at most 4."),
    ],
)
def test_a_rejected_field_of_the_recipe_is_named_with_its_place(server, field, value, message):
    server.reject = rejecting(field, {"error": {"message": message, "code": "unsupported_value"}})
    with pytest.raises(BadRequest, match=r"under `sampling` in the policy's decoder") as raised:
        run_sync(Endpoint("strict", base_url=server.url).generate(requests(1, **{field: value})))
    assert message[:40] in str(raised.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("budget", [Budget(tokens=1_000), Budget(money=1.0)])
def test_a_budget_of_tokens_needs_a_limit_before_anything_is_sent(server, budget):
    spec = EndpointSpec(model="small", base_url=server.url)
    prices = {"small": {"prompt": 1, "completion": 1}}
    with (
        Run(budget=budget, prices=prices) as run,
        pytest.raises(UnlimitedAnswer, match="max_tokens"),
    ):
        load_policy(Policy(model=spec), wrap=run.wrap)
    assert server.requests == []


def test_a_budget_of_calls_needs_no_limit(server):
    spec = EndpointSpec(model="small", base_url=server.url)
    with Run(budget=Budget(calls=1)) as run:
        assert load_policy(Policy(model=spec), wrap=run.wrap).respond("open?").text
        assert run.spent.usage.calls == 1


@pytest.mark.parametrize(
    ("body", "sent", "expected"),
    [
        (
            {"message": "max_tokens is too large: 9. This model supports at most 4"},
            ["max_tokens"],
            [],
        ),
        ({"message": "Unsupported parameter: 'seed'. It is unknown"}, ["seed", "stop"], ["seed"]),
        ({"message": "unsupported: seedling"}, ["seed"], []),
        (
            {"message": '{"detail":[{"type":"extra_forbidden","loc":["body","seed"]}]}'},
            ["seed"],
            ["seed"],
        ),
        ({"param": "seed", "code": "unsupported_parameter", "message": "no"}, ["seed"], ["seed"]),
        (None, ["seed"], []),
    ],
)
def test_rejected_parameters_are_those_that_the_error_refuses(body, sent, expected):
    assert rejected_parameters(body, sent) == expected


def test_the_message_of_an_error_is_found_at_any_depth():
    assert server_message(extra_forbidden("n")[1]) == "n: Extra inputs are not permitted"
    assert server_message([{"error": {"message": "too\nlong"}}]) == "too long"
    assert server_message({"error": "no such model"}) is None


def test_cut_answers_are_counted_and_said(caplog):
    @register_model("long-winded")
    def long_winded():
        return FunctionModel(lambda request: "word " * 600, name="long-winded")

    policy = Policy(model=NamedSpec(name="long-winded"), name="long")
    assert len(load_policy(policy).respond("open?").text.split()) == 512
    assert "1 of 1 answers of the policy long were cut at the token limit" in caplog.text
    caplog.clear()
    enough = Sample(sampling=Sampling(max_tokens=700))
    whole = policy.derive(decoder=enough, lineage=policy.lineage)
    assert len(load_policy(whole).respond("open?").text.split()) == 600
    assert not caplog.text

"""Endpoints: requests, parsing of responses, retries and errors."""

import asyncio

import pytest

from backtalk.feedback import Message, as_prompt
from backtalk.models import (
    AuthenticationError,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    Endpoint,
    InvalidResponse,
    OfflineError,
    RateLimited,
    Request,
    RequestTimeout,
    Sampling,
    UnknownModel,
)
from backtalk.models.run_sync import run_sync
from backtalk.testing import models as laws
from tests.models.server import ScriptedResponse, default_text, error


def request(text="open?", **fields):
    sampling = Sampling(max_tokens=8, **fields.pop("sampling", {}))
    return Request(messages=as_prompt(text), sampling=sampling, **fields)


@pytest.fixture
def endpoint(server):
    return lambda **options: Endpoint("small", base_url=server.url, **options)


def generate(model, *requests):
    return run_sync(model.generate(requests or [request()]))


def test_every_law_of_models_holds(endpoint):
    requests = [request(f"open on day {i}?", sample_index=i % 3, seed=i % 2) for i in range(9)]
    laws.check_model(endpoint, requests)
    laws.check_independent_samples(endpoint, request())


def test_requests_are_sent_and_responses_parsed(endpoint, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-key")
    messages = (Message.system("Be brief."), Message.user("open?"))
    sampling = Sampling(temperature=0.3, top_p=0.9, max_tokens=7, stop=("END",))
    expected = Request(messages=messages, sampling=sampling, sample_index=2, seed=5)
    (completion,) = generate(endpoint(api_key_env="MY_KEY", log_probabilities=True), expected)
    sent = server.requests[0]
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.3, 0.9, 7)
    assert (sent["stop"], sent["seed"], sent["model"]) == (
        ["END"],
        expected.sample_seed,
        "small",
    ) or (sent["seed"] == expected.draw_seed)
    assert server.headers[0]["authorization"] == "Bearer secret-key"
    assert completion.text == default_text(sent)
    assert completion.usage.completion_tokens == len(completion.text.split())
    assert completion.usage.prompt_tokens == 3
    assert completion.log_probability == pytest.approx(-0.5 * len(completion.text.split()))


def test_tools_are_sent_and_calls_returned(endpoint):
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    (completion,) = generate(endpoint(), request(options={"tools": [tool]}))
    assert completion.finish_reason == "tool_calls"
    assert completion.message is not None


@pytest.mark.parametrize(
    "failure", [error(429), error(500), error(503), ScriptedResponse(drop=True)]
)
def test_transient_failures_are_retried(endpoint, server, failure):
    server.next.extend([failure, failure])
    (completion,) = generate(endpoint(retries=3))
    assert completion.text == default_text(server.requests[-1])
    assert len(server.requests) == 3
    waits = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert all(wait > 0.2 for wait in waits)


def test_retries_respect_retry_after(endpoint, server):
    server.next.append(error(429, retry_after="1.5"))
    generate(endpoint(retries=1))
    assert server.times[1] - server.times[0] >= 1.4


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (error(401), AuthenticationError, "OPENAI_API_KEY"),
        (error(404), UnknownModel, "often ends in /v1"),
        (error(429, message="slow down"), RateLimited, "slow down"),
        (error(500), ConnectionFailed, "tried 1 times"),
        (error(400, "context_length_exceeded"), ContextTooLong, "Shorten the prompt"),
        (error(400, message="no such field"), BadRequest, "no such field"),
        (ScriptedResponse(body={"odd": 1}), InvalidResponse, "OpenAI-compatible"),
        (ScriptedResponse(body=b"<html>"), InvalidResponse, "OpenAI-compatible"),
        (ScriptedResponse(drop=True), ConnectionFailed, "Check that the server runs"),
        (ScriptedResponse(delay=1.0), RequestTimeout, "longer timeout"),
    ],
)
def test_permanent_failures_are_translated(endpoint, server, failure, kind, words):
    server.always = failure
    with pytest.raises(kind, match=words) as raised:
        generate(endpoint(retries=0, timeout=0.3))
    assert "small" in str(raised.value) or server.url in str(raised.value)


def test_error_messages_never_contain_the_key(endpoint, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.always = error(401, message="wrong key sk-very-secret")
    with pytest.raises(AuthenticationError) as raised:
        generate(endpoint(retries=0))
    assert "sk-very-secret" not in str(raised.value)


def test_other_requests_are_answered_if_one_fails_by_itself(server):
    def make():
        return Endpoint("small", base_url=server.url, retries=0, concurrency=1)

    good = [request(f"day {i}?") for i in range(3)]
    expected = run_sync(make().generate(good))
    server.next.extend(
        [ScriptedResponse(), error(400, message="no"), ScriptedResponse(), ScriptedResponse()]
    )
    with pytest.raises(BadRequest) as raised:
        run_sync(make().generate([good[0], request("Sunday?"), *good[1:]]))
    completions = list(raised.value.completions)
    assert completions[1] is None
    assert [completions[i].text for i in (0, 2, 3)] == [c.text for c in expected]


def test_concurrency_limits_the_calls_in_flight(endpoint, server):
    server.always = ScriptedResponse(delay=0.05)
    generate(endpoint(concurrency=3), *[request(f"{i}?") for i in range(12)])
    assert server.max_in_flight == 3


def test_the_identity_contains_address_model_and_revision(endpoint, server):
    base = endpoint().identity
    assert server.url in base
    assert len({base, endpoint(revision="2").identity, endpoint(send_seed=False).identity}) == 3
    assert Endpoint("small", base_url="http://localhost:1/v1").identity != base


def test_the_seed_is_not_sent_if_send_seed_is_false(endpoint, server):
    generate(endpoint(send_seed=False))
    assert "seed" not in server.requests[0]


def test_offline_mode_forbids_remote_endpoints():
    with pytest.raises(OfflineError, match=r"api\.example\.com"):
        generate(Endpoint("small", base_url="https://api.example.com/v1"))


def test_many_event_loops_may_use_one_endpoint(endpoint):
    model = endpoint()
    first = asyncio.run(model.generate([request()]))
    second = asyncio.run(model.generate([request()]))
    assert first[0].text == second[0].text

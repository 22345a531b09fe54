"""Endpoints: what is sent, what is made of the reply, what happens when things go wrong."""

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
from tests.laws import model as laws
from tests.models.server import Answer, error, usual_text


def request(text="open?", **fields):
    sampling = Sampling(max_tokens=8, **fields.pop("sampling", {}))
    return Request(messages=as_prompt(text), sampling=sampling, **fields)


@pytest.fixture
def endpoint(server):
    return lambda **options: Endpoint("small", base_url=server.url, **options)


def ask(model, *requests):
    return run_sync(model.generate(requests or [request()]))


def test_every_law_of_models_holds(endpoint):
    requests = [request(f"open on day {i}?", sample=i % 3, seed=i % 2) for i in range(9)]
    laws.check_model(endpoint, requests)
    laws.draws_afresh(endpoint, request())


def test_what_is_asked_is_sent_and_what_is_answered_comes_back(endpoint, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-key")
    told = (Message.system("Be brief."), Message.user("open?"))
    sampling = Sampling(temperature=0.3, top_p=0.9, max_tokens=7, stop=("END",))
    asked = Request(messages=told, sampling=sampling, sample_index=2, seed=5)
    (completion,) = ask(endpoint(api_key_env="MY_KEY", log_probabilities=True), asked)
    sent = server.asked[0]
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.3, 0.9, 7)
    assert (sent["stop"], sent["seed"], sent["model"]) == (["END"], asked.sample_seed, "small") or (
        sent["seed"] == asked.draw_seed
    )
    assert server.headers[0]["authorization"] == "Bearer secret-key"
    assert completion.text == usual_text(sent)
    assert completion.usage.completion_tokens == len(completion.text.split())
    assert completion.usage.prompt_tokens == 3
    assert completion.log_probability == pytest.approx(-0.5 * len(completion.text.split()))


def test_tools_are_handed_over_and_calls_come_back(endpoint):
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    (completion,) = ask(endpoint(), request(options={"tools": [tool]}))
    assert completion.finish_reason == "tool_calls"
    assert completion.message is not None


@pytest.mark.parametrize("failure", [error(429), error(500), error(503), Answer(drop=True)])
def test_what_may_pass_is_tried_again(endpoint, server, failure):
    server.next.extend([failure, failure])
    (completion,) = ask(endpoint(retries=3))
    assert completion.text == usual_text(server.asked[-1])
    assert len(server.asked) == 3
    waits = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert all(wait > 0.2 for wait in waits)


def test_it_waits_as_long_as_the_server_says(endpoint, server):
    server.next.append(error(429, retry_after="1.5"))
    ask(endpoint(retries=1))
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
        (Answer(body={"odd": 1}), InvalidResponse, "OpenAI-compatible"),
        (Answer(body=b"<html>"), InvalidResponse, "OpenAI-compatible"),
        (Answer(drop=True), ConnectionFailed, "Check that the server runs"),
        (Answer(wait=1.0), RequestTimeout, "longer timeout"),
    ],
)
def test_what_does_not_pass_is_told_in_plain_words(endpoint, server, failure, kind, words):
    server.always = failure
    with pytest.raises(kind, match=words) as raised:
        ask(endpoint(retries=0, timeout=0.3))
    assert "small" in str(raised.value) or server.url in str(raised.value)


def test_a_key_is_never_shown(endpoint, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.always = error(401, message="wrong key sk-very-secret")
    with pytest.raises(AuthenticationError) as raised:
        ask(endpoint(retries=0))
    assert "sk-very-secret" not in str(raised.value)


def test_what_fails_by_itself_leaves_the_others_answered(server):
    class Choosy:
        """The usual endpoint; the server refuses a request about Sunday."""

    def make():
        return Endpoint("small", base_url=server.url, retries=0, concurrency=1)

    good = [request(f"day {i}?") for i in range(3)]
    expected = run_sync(make().generate(good))
    server.next.extend([Answer(), error(400, message="no"), Answer(), Answer()])
    with pytest.raises(BadRequest) as raised:
        run_sync(make().generate([good[0], request("Sunday?"), *good[1:]]))
    kept = list(raised.value.completions)
    assert kept[1] is None
    assert [kept[i].text for i in (0, 2, 3)] == [c.text for c in expected]


def test_no_more_calls_are_in_flight_than_allowed(endpoint, server):
    server.always = Answer(wait=0.05)
    ask(endpoint(concurrency=3), *[request(f"{i}?") for i in range(12)])
    assert server.most_in_flight == 3


def test_the_identity_holds_address_model_and_revision(endpoint, server):
    base = endpoint().identity
    assert server.url in base
    assert len({base, endpoint(revision="2").identity, endpoint(send_seed=False).identity}) == 3
    assert Endpoint("small", base_url="http://localhost:1/v1").identity != base


def test_a_seed_that_the_server_refuses_is_not_sent(endpoint, server):
    ask(endpoint(send_seed=False))
    assert "seed" not in server.asked[0]


def test_no_endpoint_but_loopback_is_called_where_they_are_forbidden():
    with pytest.raises(OfflineError, match=r"api\.example\.com"):
        ask(Endpoint("small", base_url="https://api.example.com/v1"))


def test_many_event_loops_may_use_one_endpoint(endpoint):
    model = endpoint()
    first = asyncio.run(model.generate([request()]))
    second = asyncio.run(model.generate([request()]))
    assert first[0].text == second[0].text

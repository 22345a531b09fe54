"""Streams of a model on this machine, its parameters, and its tool calls."""

import json
import time

import httpx2
import openai
import pytest

from backtalk.cli.commands import serve as serve_command
from backtalk.models import Completion
from backtalk.models.local.model import LocalModel
from backtalk.serve import Settings
from backtalk.serve.backends import tool_calls
from backtalk.serve.backends.tool_calls import (
    text_before_tool_calls,
    with_tool_calls,
)
from tests.models import tiny
from tests.serve.conftest import running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    model = tiny.save(folder / "tiny")
    settings = serve_command._serve_model(
        Settings(store=str(folder / "f.db"), keys="never"), str(model)
    )
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


QUESTION = [{"role": "user", "content": "Is the shop open?"}]


def test_models_chat_stream_completions_responses_and_feedback(client, gateway):
    assert "tiny" in [model.id for model in client.models.list()]
    fields = {"model": "tiny", "seed": 3, "max_tokens": 40}
    whole = client.chat.completions.create(messages=QUESTION, **fields)
    chunks = list(
        client.chat.completions.create(
            messages=QUESTION, stream=True, stream_options={"include_usage": True}, **fields
        )
    )
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) > 5
    assert "".join(texts) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == (
        whole.choices[0].finish_reason
    )
    assert len({c.id for c in chunks}) == 1
    stored = gateway.feedback({"interaction": chunks[0].id, "thumb": "up"})
    assert stored.is_success

    counts = []
    for prompt in ("The shop is", "Dear customer,", "Yes, we"):
        text = client.completions.create(prompt=prompt, **fields)
        parts = list(client.completions.create(prompt=prompt, stream=True, **fields))
        assert "".join(part.choices[0].text for part in parts) == text.choices[0].text
        counts.append(len(parts))
    assert max(counts) > 5

    body = {"model": "tiny", "input": QUESTION, "max_output_tokens": 40, "temperature": 0}
    response = client.responses.create(**body)
    events = list(client.responses.create(stream=True, **body))
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == response.output_text
    assert len(deltas) > 5


def test_messages_stream_in_pieces(gateway):
    body = {"model": "tiny", "messages": QUESTION, "max_tokens": 40, "temperature": 0}
    whole = gateway.http.post("/v1/messages", json=body).json()["content"][0]["text"]
    events = gateway.http.post("/v1/messages", json={**body, "stream": True}).text
    deltas = [
        json.loads(line[6:])["delta"]["text"]
        for line in events.splitlines()
        if line.startswith("data: ") and '"text_delta"' in line
    ]
    assert "".join(deltas) == whole
    assert len(deltas) > 5


def test_several_samples_stream_as_without_streaming(client):
    fields = {"model": "tiny", "seed": 5, "max_tokens": 16, "n": 3}
    whole = client.chat.completions.create(messages=QUESTION, **fields)
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(messages=QUESTION, stream=True, **fields):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert len(set(texts)) > 1


def test_a_stop_text_ends_a_stream_without_a_part_of_it(client):
    fields = {"model": "tiny", "seed": 7, "max_tokens": 40}
    text = client.chat.completions.create(messages=QUESTION, **fields).choices[0].message.content
    stop = text[10:14]
    parts = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(
            messages=QUESTION, stream=True, stop=[stop], **fields
        )
    ]
    assert "".join(parts) == text[: text.index(stop)]


def test_an_error_before_the_first_text_is_no_stream(client):
    with pytest.raises(openai.BadRequestError, match="context window"):
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "x " * 500}], stream=True
        )


def test_the_interaction_of_a_stream_is_stored(gateway, client):
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=QUESTION, seed=3, max_tokens=9, stream=True
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    with gateway.store as store:
        interactions = {case.interaction.id: case.interaction for case in store.cases()}
    response = interactions[chunks[0].id].responses[0]
    assert response.text == text
    assert response.log_probability is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", True),
        ("top_logprobs", 3),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -0.5),
        ("logit_bias", {"5": 10}),
        ("response_format", {"type": "json_object"}),
        ("tool_choice", "required"),
        ("min_p", 0.1),
        ("top_k", 40),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_honoured_is_refused_by_name(gateway, name, value, stream):
    response = gateway.chat("Hello", model="tiny", max_tokens=2, stream=stream, **{name: value})
    assert response.status_code == 400
    assert name in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}},
        {"logprobs": False, "top_logprobs": None, "tools": [], "tool_choice": "auto"},
        {"response_format": {"type": "text"}, "parallel_tool_calls": True, "n": 1},
        {"max_completion_tokens": 3, "stop": None, "seed": None},
    ],
)
def test_what_changes_nothing_is_accepted(gateway, fields):
    response = gateway.chat("Hello", model="tiny", **{"max_tokens": 2, **fields})
    assert response.status_code == 200, response.text


CALL = '{"name": "add", "arguments": {"a": 1}}'


@pytest.mark.parametrize(
    ("text", "content", "count"),
    [
        (f"<tool_call>{CALL}</tool_call>", "", 1),
        (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>", "", 2),
        (f"I add.\n<tool_call>{CALL}</tool_call>", "I add.", 1),
        (f"<tool_call>{CALL}", "", 1),
        (f"[TOOL_CALLS] [{CALL}, {CALL}]", "", 2),
        (f"[{CALL}]", "", 1),
        ('{"name": "add", "parameters": {"a": 1}}', "", 1),
        (f"<|python_tag|>{CALL}; {CALL}", "", 2),
        ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', "", 1),
    ],
)
def test_tool_calls_are_parsed(text, content, count):
    completion = with_tool_calls(Completion(text=text), {"add"})
    assert completion.finish_reason == "tool_calls"
    assert completion.text == content
    calls = completion.message.tool_calls
    assert len({call["id"] for call in calls}) == len(calls) == count
    assert all(json.loads(call["function"]["arguments"]) == {"a": 1} for call in calls)
    for end in range(len(text) + 1):
        assert content.startswith(text_before_tool_calls(text[:end]))


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "",
        "<tool_call>add(1)</tool_call>",
        '<tool_call>{"name": "add", "arguments": {"a": 1}</tool_call>',
        '<tool_call>{"name": "add"}</tool_call>',
        '<tool_call>{"name": "subtract", "arguments": {}}</tool_call>',
        f"<tool_call>{CALL}</tool_call> and then",
        f"<tool_call>{CALL}</tool_call><tool_call>oops</tool_call>",
        "[TOOL_CALLS] []",
        "[1, 2]",
        "{}",
        '{"name": "add", "arguments": [1]}',
        f"{CALL} is my answer",
    ],
)
def test_malformed_calls_stay_text(text):
    completion = Completion(text=text)
    assert with_tool_calls(completion, {"add"}) == completion
    for end in range(len(text) + 1):
        assert text.startswith(text_before_tool_calls(text[:end]))


def test_tool_calls_of_the_model_are_in_chats_and_streams(client, gateway, monkeypatch):
    """The random model writes no calls; its text counts as one here."""

    def parse(text):
        return ("", [("add", {"length": len(text)})])

    monkeypatch.setattr(tool_calls, "parse_tool_calls", parse)
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    fields = {"model": "tiny", "seed": 3, "max_tokens": 1, "tools": tools, "messages": QUESTION}
    monkeypatch.setattr(
        "backtalk.serve.gateway.policy_streams.text_before_tool_calls", lambda _: ""
    )
    choice = client.chat.completions.create(**fields).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    chunks = list(client.chat.completions.create(stream=True, **fields))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    (call,) = [call for delta in deltas for call in delta.tool_calls or ()]
    assert call.function == type(call.function)(**choice.message.tool_calls[0].function.to_dict())
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.fixture
def lengths(monkeypatch):
    """Numbers of tokens after each step of the model, which is slow."""
    lengths, report = [], LocalModel._report

    def slow_report(self, stream, sequence):
        lengths.append(len(sequence.tokens))
        time.sleep(0.02)
        return report(self, stream, sequence)

    monkeypatch.setattr(LocalModel, "_report", slow_report)
    return lengths


def wait_for_the_end(lengths):
    count = -1
    while count != len(lengths):
        count = len(lengths)
        time.sleep(0.2)


def test_a_caller_who_leaves_without_a_stream_stops_the_generation(gateway, lengths):
    body = {"model": "tiny", "messages": QUESTION, "seed": 3, "max_tokens": 70}
    with pytest.raises(httpx2.ReadTimeout):
        gateway.http.post("/v1/chat/completions", json=body, timeout=0.3)
    wait_for_the_end(lengths)
    assert 0 < max(lengths) < 60


def test_a_caller_who_disconnects_stops_the_generation(gateway, lengths):
    body = {"model": "tiny", "messages": QUESTION, "seed": 3, "max_tokens": 70, "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        id_ = response.headers["x-backtalk-interaction"]
        for _ in zip(range(6), response.iter_lines(), strict=False):
            pass
    wait_for_the_end(lengths)
    assert max(lengths) < 60
    with gateway.store as store:
        interactions = {case.interaction.id: case.interaction for case in store.cases()}
    assert interactions[id_].metadata["gateway"]["cut"] == "by the caller"


def test_the_real_model_answers_an_openai_client(smollm2, tmp_path):
    settings = serve_command._serve_model(
        Settings(store=str(tmp_path / "f.db"), keys="never"), smollm2
    )
    with running_gateway(settings) as gateway:
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
        assert smollm2 in [model.id for model in client.models.list()]
        fields = {"model": smollm2, "temperature": 0, "max_tokens": 12}
        whole = client.chat.completions.create(messages=QUESTION, **fields)
        chunks = list(client.chat.completions.create(messages=QUESTION, stream=True, **fields))
        texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert "".join(texts) == whole.choices[0].message.content
        assert sum(map(bool, texts)) > 5
        parts = list(client.completions.create(prompt="The sky is", stream=True, **fields))
        text = client.completions.create(prompt="The sky is", **fields).choices[0].text
        assert "".join(part.choices[0].text for part in parts) == text
        body = {"model": smollm2, "input": "Is it open?", "temperature": 0}
        response = client.responses.create(max_output_tokens=16, **body)
        assert response.output_text
        assert gateway.feedback({"interaction": chunks[0].id, "thumb": "up"}).is_success
        assert gateway.feedback({"interaction": response.id, "thumb": "down"}).is_success

"""Answers of servers that an endpoint reads: lists of parts, reasoning, continuations, streams."""

from __future__ import annotations

import json

import pytest

from backtalk.feedback import Message, as_prompt
from backtalk.models import Completion, Endpoint, InvalidResponse, Request, Sampling
from backtalk.models.run_sync import run_sync
from tests.models.server import ScriptedResponse

PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Six times seven."}]},
    {"type": "text", "text": "4"},
    {"type": "text", "text": "2"},
]


def ask(server, *, messages="6 * 7?", **sampling):
    endpoint = Endpoint("small", base_url=server.url, retries=0, log_probabilities=True)
    request = Request(messages=as_prompt(messages), sampling=Sampling(max_tokens=8, **sampling))
    (completion,) = run_sync(endpoint.generate([request]))
    return completion


def stream(server, events):
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    server.always = ScriptedResponse(
        body="".join([*lines, "data: [DONE]\n\n"]).encode(),
        headers={"content-type": "text/event-stream"},
    )
    endpoint = Endpoint("small", base_url=server.url, retries=0)

    async def collect():
        return [piece async for piece in endpoint.stream(Request(messages=as_prompt("6 * 7?")))]

    *pieces, completion = run_sync(collect())
    assert isinstance(completion, Completion)
    return "".join(pieces), completion


def reply(message, *, tokens=2, logprobs=None):
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return ScriptedResponse(body={**body, "choices": [choice], "usage": usage})


def chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**body, "choices": [choice]}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": PARTS},
        {"role": "assistant", "content": "42", "reasoning_content": "Six times seven."},
        {"role": "assistant", "content": "42", "reasoning": "Six times seven."},
    ],
)
def test_reasoning_and_parts_are_read(server, message) -> None:
    server.next.append(reply(message))
    completion = ask(server)
    assert (completion.text, completion.reasoning) == ("42", "Six times seven.")
    assert completion.message is None


def test_a_stream_of_parts_is_read(server) -> None:
    deltas = [{"role": "assistant", "content": ""}, *({"content": [part]} for part in PARTS)]
    text, completion = stream(server, [*map(chunk, deltas), chunk({}, "stop")])
    assert text == completion.text == "42"
    assert completion.reasoning == "Six times seven."


def test_a_streamed_tool_call_whose_id_and_name_are_repeated_is_whole(server) -> None:
    pieces = [
        {"index": 1, "id": "a", "type": "function", "function": {"name": "w", "arguments": part}}
        for part in ('{"city"', ': "Bern"}')
    ]
    events = [chunk({"tool_calls": [piece]}) for piece in pieces]
    _, completion = stream(server, [*events, chunk({}, "tool_calls")])
    (call,) = completion.message.tool_calls
    assert (call["id"], call["function"]) == ("a", {"name": "w", "arguments": '{"city": "Bern"}'})
    assert completion.finish_reason == "tool_calls"


@pytest.mark.parametrize("event", [{"choices": 3}, [1], {"choices": [{"delta": 3}]}])
def test_a_malformed_stream_is_an_error_of_the_model(server, event) -> None:
    with pytest.raises(InvalidResponse):
        stream(server, [event])


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ([], "without a finish reason"),
        ([{"error": {"message": "The GPU is lost"}}], "GPU is lost"),
        ([{"object": "error", "message": "The GPU is lost"}], "by an error event: The GPU is lost"),
        (
            [{"choices": [{"index": 0, "delta": {}, "finish_reason": "error",
                           "error": {"message": "The GPU is lost"}}]}],
            "by an error event: The GPU is lost",
        ),
    ],
)  # fmt: skip
def test_a_stream_that_is_cut_is_an_error_of_the_model(server, last, words) -> None:
    with pytest.raises(InvalidResponse, match=words):
        stream(server, [chunk({"content": "42"}), *last])


def test_an_answer_whose_choice_has_an_error_is_an_error_of_the_model(server) -> None:
    answer = reply({"role": "assistant", "content": "4"})
    answer.body["choices"][0] |= {
        "finish_reason": "error",
        "error": {"message": "The GPU is lost", "code": 502},
    }
    server.always = answer
    with pytest.raises(InvalidResponse, match="has an error: The GPU is lost") as raised:
        ask(server)
    assert raised.value.may_have_cost


@pytest.mark.parametrize("text", ["Sure: blue.", "blue."])
def test_the_answer_to_a_begun_answer_is_the_continuation(server, text) -> None:
    server.next.append(reply({"role": "assistant", "content": text}))
    messages = [Message.user("Colours?"), Message.assistant("Sure: ")]
    assert ask(server, messages=messages).text == "blue."


@pytest.mark.parametrize(("count", "expected"), [(1, None), (2, -1.0), (3, None)])
def test_a_log_probability_needs_an_entry_for_each_token(server, count, expected) -> None:
    entries = [{"token": "x", "logprob": -0.5, "top_logprobs": []}] * count
    message = {"role": "assistant", "content": "42"}
    server.next.append(reply(message, logprobs={"content": entries}))
    assert ask(server, stop=("END",)).log_probability == expected


def test_reasoning_of_earlier_messages_is_not_sent(server) -> None:
    earlier = Message(role="assistant", content="Yes.", reasoning="They open at nine.")
    ask(server, messages=[Message.user("Open?"), earlier, Message.user("Sure?")])
    assert "nine" not in json.dumps(server.requests[0]["messages"])

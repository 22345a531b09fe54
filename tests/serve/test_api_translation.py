"""Translation of streams, piece by piece, against the clients' own reading of them."""

import json

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from backtalk.models.endpoint.stream_assembler import StreamAssembler
from backtalk.serve.gateway.messages.events import MessageEvents
from backtalk.serve.gateway.messages.output import MessageContext, to_message
from backtalk.serve.gateway.responses.events import ResponseEvents
from backtalk.serve.gateway.responses.history import input_items
from backtalk.serve.gateway.responses.input import chat_messages
from backtalk.serve.gateway.responses.output import (
    ResponseContext,
    response_id_of_item,
    to_response,
)
from backtalk.serve.gateway.responses.replay import replay_events
from backtalk.serve.gateway.translation.json_ids import replace_strings

READ_EVENT = TypeAdapter(ResponseStreamEvent)
ID = "resp_mail:" + 32 * "a"


def chunk(delta, reason=None, **fields):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"model": "m-1", "choices": [choice], **fields}


def call(index, id_=None, name=None, arguments=""):
    function = {"arguments": arguments, **({"name": name} if name else {})}
    piece = {} if index is None else {"index": index}
    return {"tool_calls": [{**piece, **({"id": id_} if id_ else {}), "function": function}]}


STREAMS = {
    "text": [chunk({"role": "assistant", "content": ""}), chunk({"content": "At "}),
             chunk({"content": "nine."}, "stop")],
    "nothing": [chunk({"content": ""}, "stop")],
    "reasoning": [chunk({"reasoning_content": "Six "}), chunk({"reasoning": "times."}),
                  chunk({"content": "42"}, "stop")],
    "parts": [chunk({"content": [{"type": "thinking", "thinking": "Six."}]}),
              chunk({"content": [{"type": "text", "text": "42"}]}, "stop")],
    "calls": [chunk({"content": "Look."}), chunk(call(0, "a", "f")),
              chunk(call(0, arguments='{"a"')),
              chunk(call(0, arguments=": 1}")), chunk(call(1, "b", "g", "{}")),
              chunk({}, "tool_calls")],
    "calls from 1, without arguments": [chunk(call(1, "a", "f")), chunk({}, "tool_calls")],
    "interleaved calls": [chunk(call(0, "a", "f", '{"a"')), chunk(call(1, "b", "g", '{"b"')),
                          chunk(call(0, arguments=": 1}")), chunk(call(1, arguments=": 2}")),
                          chunk({}, "tool_calls")],
    "a call that is cut": [chunk(call(0, "a", "f", '{"a": 1, "b": "')), chunk({}, "length")],
    "the length": [chunk({"content": "At"}, "length")],
    "refusal": [chunk({"refusal": "I can"}), chunk({"refusal": "not."}, "stop")],
}  # fmt: skip
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}


def translated(translator, chunks):
    events = list(translator.start())
    for one in [*chunks, USAGE]:
        events += translator.feed(one)
    return json.loads(json.dumps([*events, *translator.finish()]))


def completion_of(chunks):
    assembler = StreamAssembler()
    for one in [*chunks, USAGE]:
        assembler.feed(one)
    return assembler.completion()


def read_by_client(events):
    """Return the response that the ``openai`` client assembles from events."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(READ_EVENT.validate_python(event))
    return events[-1]["response"]


def without_times(response):
    return {k: v for k, v in response.items() if k not in {"created_at", "completed_at"}}


@pytest.mark.parametrize("name", STREAMS)
def test_a_streamed_response_is_that_which_is_not_streamed(name):
    context = ResponseContext(ID, {"model": "m", "input": "x"})
    events = translated(ResponseEvents(context), STREAMS[name])
    streamed = read_by_client(events)
    whole = to_response(completion_of(STREAMS[name]), context)
    Response.model_validate(whole)
    assert without_times(streamed) == without_times(whole)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    open_items = [e["item"]["id"] for e in events if e["type"] == "response.output_item.added"]
    closed_items = [e["item"]["id"] for e in events if e["type"] == "response.output_item.done"]
    assert sorted(open_items) == sorted(closed_items)
    assert len(set(open_items)) == len(open_items)
    assert {response_id_of_item(id_) for id_ in open_items} == {ID}


@pytest.mark.parametrize("name", STREAMS)
def test_a_replayed_response_is_the_response(name):
    context = ResponseContext(ID, {"model": "m", "input": "x"})
    whole = to_response(completion_of(STREAMS[name]), context)
    events = list(replay_events(whole))
    assert read_by_client(events) == whole
    assert list(replay_events(whole, starting_after=1)) == events[2:]


@pytest.mark.parametrize("name", STREAMS)
def test_a_streamed_message_is_that_which_is_not_streamed(name):
    body = {"model": "m", "thinking": {"type": "adaptive"}}
    context = MessageContext("msg_1", body)
    events = translated(MessageEvents(context), STREAMS[name])
    read = TypeAdapter(RawMessageStreamEvent)
    snapshot, buffers = None, {}
    for event in events:
        parsed = read.validate_python(event)
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    whole = to_message(completion_of(STREAMS[name]), context)
    expected = Message.model_validate(whole)
    assert snapshot.model_dump(exclude={"content"}) == expected.model_dump(exclude={"content"})
    for block, own in zip(snapshot.content, whole["content"], strict=True):
        assert {**own, **block.model_dump(exclude_none=True, include=set(own))} == own


def test_chat_messages_become_items_and_messages_again():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "See"},
            {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}]},
        {"role": "assistant", "content": "Look.", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ]  # fmt: skip
    assert chat_messages(input_items(messages)) == messages


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.booleans(),
)
def test_only_the_id_of_json_is_replaced(value, indented):
    document = {"x": value, "response": {"y": value, "id": "old", "z": {"id": "old"}}, "id": "old"}
    text = json.dumps(document, indent=2 if indented else None)
    changed = replace_strings(text, {"id": "new", "missing": "x"}, within="response")
    assert json.loads(changed) == {
        **document,
        "response": {"y": value, "id": "new", "z": {"id": "old"}},
    }
    assert len(changed) == len(text)

"""Streams are assembled into the completion that would not have been streamed."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.models.endpoint.answer_checks import (
    begun_text,
    count_completion_tokens,
    log_probabilities,
    without_begun_text,
)
from backtalk.models.endpoint.stream_assembler import StreamAssembler
from backtalk.models.endpoint.tool_calls import ToolCallAssembler

W, T = '{"city": "Bern"}', '{"zone": "CET"}'
TWO = [("a", "w", W), ("b", "t", T)]
NAMELESS = [(None, "w", W), (None, "t", T)]


def assembled(pieces):
    calls = ToolCallAssembler()
    for piece in pieces:
        calls.add(piece)
    return [
        (call.get("id"), call["function"]["name"], call["function"]["arguments"])
        for call in calls.calls()
    ]


def piece(index=None, id_=None, name=None, arguments=None):
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id_}
    return {key: value for key, value in fields.items() if value is not None} | {
        "function": {key: value for key, value in function.items() if value is not None}
    }


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            [
                piece(1, "a", "w", ""), piece(1, None, None, W[:8]), piece(1, None, None, W[8:]),
                piece(2, "b", "t", T),
            ],
            TWO,
        ),
        ([piece(0, "a", "w", W), piece(0, "b", "t", T)], TWO),
        (
            [
                piece(0, "a", "w", ""), piece(0, None, None, W), piece(0, "b", "t", ""),
                piece(0, None, None, T[:3]), piece(0, None, None, T[3:]),
            ],
            TWO,
        ),
        (
            [
                piece(None, "a", "w", W[:5]), piece(None, None, None, W[5:]),
                piece(None, "b", "t", T),
            ],
            TWO,
        ),
        (
            [
                piece(0, "a", "w", ""), piece(1, "b", "t", ""), piece(1, None, None, T[:4]),
                piece(0, None, None, W), piece(1, None, None, T[4:]),
            ],
            TWO,
        ),
        ([piece(1, "b", "t", T), piece(0, "a", "w", W)], TWO),
        (
            [
                piece(0, "a", "w", W[:5]), piece(0, "a", "w", W[5:]), piece(1, "b", "t", T[:5]),
                piece(1, "b", "t", T[5:]),
            ],
            TWO,
        ),
        (
            [
                piece(None, "a", "w", W[:5]), piece(None, "b", "t", T[:5]),
                piece(None, "a", None, W[5:]), piece(None, "b", None, T[5:]),
            ],
            TWO,
        ),
        ([piece(0, "", "w", W), piece(0, "", "t", T)], NAMELESS),
        ([piece(None, None, "w", W), piece(None, None, "w", W)], [(None, "w", W)] * 2),
        ([piece(None, None, "w", ""), piece(None, None, "t", T)], [(None, "w", ""), NAMELESS[1]]),
        ([piece(0, None, "w", W[:5]), piece(0, None, "w", W[5:]), piece(0, None, "w", "")],
         [(None, "w", W)]),
        ([piece(0, "a", "get_", ""), piece(0, None, "weather", W)], [("a", "get_weather", W)]),
        ([piece(0, None, "w", W[:5]), piece(0, "a", None, W[5:])], [("a", "w", W)]),
        ([piece(5, "a", "w", {"city": "Bern"})], [("a", "w", W)]),
        ([piece(0, "a", "w"), piece(0, "b", "t")], [("a", "w", ""), ("b", "t", "")]),
    ],
    ids=[
        "indices from 1", "one index, whole calls", "one index, in pieces", "no index",
        "interleaved", "second call first", "id and name repeated", "interleaved by id",
        "no ids", "two equal calls", "no index, another name", "name repeated without id",
        "name in pieces", "late id", "arguments as an object", "no arguments",
    ],
)  # fmt: skip
def test_pieces_of_tool_calls_are_told_apart(pieces, expected) -> None:
    assert assembled(pieces) == expected


@given(
    cuts=st.lists(st.integers(0, 16), min_size=1, max_size=4),
    start=st.integers(0, 3),
    has_index=st.booleans(),
    repeats=st.booleans(),
)
def test_arguments_are_whole_however_they_are_cut(cuts, start, has_index, repeats) -> None:
    pieces = []
    for number, (id_, name, arguments) in enumerate(TWO):
        bounds = [0, *sorted(min(cut, len(arguments)) for cut in cuts), len(arguments)]
        for position, (begin, end) in enumerate(pairwise(bounds)):
            named = position == 0 or repeats
            pieces.append(
                piece(
                    start + number if has_index else None,
                    id_ if named else None,
                    name if named else None,
                    arguments[begin:end],
                )
            )
    assert assembled(pieces) == TWO


def test_arguments_that_are_nested_too_deeply_to_parse_are_assembled() -> None:
    deep = '{"a":' * 100_000 + "{}" + "}" * 100_000
    pieces = [piece(0, None, "w", deep), piece(0, None, "w", " ")]
    assert assembled([*pieces, piece(0, None, "w", "x")]) == [(None, "w", deep + " x")]


def stream(*choices, **top):
    assembler = StreamAssembler()
    for choice in choices:
        assembler.feed({"id": "up", "choices": [{"index": 0, **choice}], **top})
    return assembler


def delta(**fields):
    return {"delta": fields}


STOP = {"delta": {}, "finish_reason": "stop"}


def message(*choices):
    return stream(*choices, STOP).completion()["choices"][0]["message"]


@pytest.mark.parametrize(
    "pieces",
    [
        [delta(reasoning_content="Think"), delta(reasoning_content="ing."), delta(content="42")],
        [delta(reasoning="Think"), delta(reasoning="ing."), delta(content="42")],
        [
            delta(reasoning="Think", reasoning_content="Think"),
            delta(reasoning="ing.", reasoning_content="ing."),
            delta(content="4"),
            delta(content="2"),
        ],
        [
            delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Think"}]}]),
            delta(content=[{"type": "thinking", "thinking": "ing."}]),
            delta(content=[{"type": "text", "text": "4"}]),
            delta(content="2"),
        ],
        [
            delta(reasoning_details=[{"type": "reasoning.text", "text": "Thinking."}]),
            delta(content="42"),
        ],
    ],
)
def test_reasoning_is_assembled_apart_from_the_text(pieces) -> None:
    assembled_message = message(*pieces)
    assert assembled_message["content"] == "42"
    assert assembled_message["reasoning_content"] == "Thinking."


def test_a_function_call_of_the_older_form_is_assembled() -> None:
    call = message(
        delta(content=None, function_call={"name": "w", "arguments": ""}),
        delta(function_call={"name": "w", "arguments": W[:4]}),
        delta(function_call={"arguments": W[4:]}),
    )["function_call"]
    assert call == {"name": "w", "arguments": W}


def test_a_refusal_and_a_transcript_are_assembled() -> None:
    assert message(delta(refusal="I "), delta(refusal="cannot."))["refusal"] == "I cannot."
    spoken = message(
        delta(audio={"id": "x", "transcript": "Hel"}),
        delta(audio={"data": "QUJD"}),
        delta(audio={"transcript": "lo."}),
    )
    assert spoken["audio"]["transcript"] == "Hello."


@pytest.mark.parametrize(
    ("last", "cut"),
    [
        (STOP, None),
        (delta(content="."), "without a finish reason"),
        ({"delta": {}, "finish_reason": None}, "without a finish reason"),
    ],
)
def test_a_stream_that_ends_without_a_finish_reason_is_marked(last, cut) -> None:
    assert stream(delta(content="Hi"), last).completion().get("cut") == cut


def test_one_of_two_choices_without_a_finish_reason_is_marked() -> None:
    assembler = stream(delta(content="Hi"), STOP)
    assembler.feed({"choices": [{"index": 1, "delta": {"content": "Ho"}}]})
    assert assembler.completion()["cut"] == "without a finish reason"


def test_fewer_choices_than_expected_are_marked() -> None:
    assembler = stream(delta(content="Hi"), STOP)
    assert "cut" not in assembler.completion(expected=1)
    assert assembler.completion(expected=2)["cut"] == "without a finish reason"


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "overloaded", "code": 502}},
        {"error": "overloaded"},
        {"object": "error", "message": "overloaded", "code": 500},
        {"error": {"message": "overloaded"}, "choices": [{"index": 0, **STOP}]},
    ],
)
def test_a_stream_that_tells_of_an_error_is_marked(event) -> None:
    assembler = stream(delta(content="The answer is"))
    assembler.feed(event)
    completion = assembler.completion()
    assert completion["cut"] == "by an error event"
    assert "overloaded" in json.dumps(completion["error"])
    assert completion["choices"][0]["message"]["content"] == "The answer is"


def entries(*values):
    return {"logprobs": {"content": [{"token": "x", "logprob": value} for value in values]}}


@pytest.mark.parametrize(
    ("choices", "tokens", "has_stop", "expected"),
    [
        ([entries(-0.5, -1.0)], 2, False, [-1.5]),
        ([entries(-0.5, -1.0)], 2, True, [-1.5]),
        ([entries(-0.5)], 2, True, [None]),
        ([entries(-0.5, -1.0, -1.0)], 2, True, [None]),
        ([entries(-0.5, -1.0)], None, False, [-1.5]),
        ([entries(-0.5, -1.0)], None, True, [None]),
        ([entries(-0.5), entries(-1.0, -2.0)], 3, False, [-0.5, -3.0]),
        ([entries(-0.5), entries(-1.0, -2.0)], 1, False, [None, None]),
        ([{"logprobs": None}], 2, False, [None]),
        ([{}], 0, False, [None]),
        ([entries(float("nan"), -1.0)], 2, False, [None]),
        ([{"logprobs": {"content": [{"token": "x"}]}}], 1, False, [None]),
        ([{"logprobs": {"content": None, "refusal": [{"logprob": -2.0}]}}], 1, False, [-2.0]),
    ],
)
def test_a_log_probability_is_known_only_if_each_token_has_one(
    choices, tokens, has_stop, expected
) -> None:
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    assert log_probabilities({"choices": choices, **usage}, has_stop=has_stop) == expected


@pytest.mark.parametrize(
    ("choices", "reported", "counted"),
    [
        ([entries(-1.0, -1.0), entries(-1.0)], 2, 3),
        ([entries(-1.0, -1.0), entries(-1.0)], 3, 3),
        ([{}, {}, {}], 2, 3),
        ([{"pieces": 4}, {"pieces": 5}], 5, 9),
        ([{"pieces": 9}], 5, 5),
        ([{}, {}], None, None),
    ],
)
def test_tokens_of_several_choices_are_counted_if_only_one_is_reported(
    choices, reported, counted
) -> None:
    usage = {} if reported is None else {"usage": {"completion_tokens": reported}}
    assert count_completion_tokens({"choices": choices, **usage}) == counted


def test_empty_pieces_of_a_stream_are_no_tokens() -> None:
    assembler = StreamAssembler()
    for text in ("", "Yes", ".", ""):
        for index in range(2):
            assembler.feed({"choices": [{"index": index, "delta": {"content": text}}]})
    assembler.feed({"choices": [], "usage": {"completion_tokens": 4}})
    completion = assembler.completion()
    assert [choice["pieces"] for choice in completion["choices"]] == [2, 2]
    assert count_completion_tokens(completion) == 4


@pytest.mark.parametrize(
    ("last", "text", "expected"),
    [
        ({"role": "assistant", "content": "Sure: "}, "Sure: blue.", "blue."),
        ({"role": "assistant", "content": "Sure: "}, "blue.", "blue."),
        ({"role": "user", "content": "Sure: "}, "Sure: blue.", "Sure: blue."),
        ({"role": "assistant", "content": [{"type": "text", "text": "Su"}]}, "Sure.", "re."),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "Sure.", "Sure."),
    ],
)
def test_an_answer_to_a_begun_answer_is_its_continuation(last, text, expected) -> None:
    completion = {"choices": [{"message": {"content": text}}, {"message": {"content": None}}]}
    messages = [{"role": "user", "content": "Colours?"}, last]
    choices = without_begun_text(completion, messages)["choices"]
    assert choices[0]["message"]["content"] == expected
    assert choices[1]["message"]["content"] is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "Sure: blue."}], [{"type": "text", "text": "blue."}]),
        (["Su", "re: blue.", "Red."], [{"type": "text", "text": "blue."}, "Red."]),
        (
            [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Sure: "}, "blue."],
            [{"type": "thinking", "thinking": "Hm"}, "blue."],
        ),
        ([{"type": "text", "text": "Sure"}, {"type": ["x"]}], None),
        ([3, "Sure: "], [3]),
    ],
)
def test_the_begun_text_is_left_out_of_a_list_of_parts(content, expected) -> None:
    messages = [{"role": "assistant", "content": "Sure: "}]
    completion = {"choices": [{"message": {"content": content}}]}
    (choice,) = without_begun_text(completion, messages)["choices"]
    assert choice["message"]["content"] == (content if expected is None else expected)


@pytest.mark.parametrize("messages", [None, [], "text", [3], [{"role": "assistant"}]])
def test_messages_that_begin_no_answer_have_no_begun_text(messages) -> None:
    assert begun_text(messages) == ""

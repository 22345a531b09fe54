"""Reasoning of a model is apart from its text, wherever a server puts it."""

from __future__ import annotations

import json

import pytest

from backtalk.feedback import Interaction, Message, Response, as_prompt, parse_interaction
from backtalk.feedback.answers import answer_key, is_plain
from backtalk.feedback.case import prompt_key
from backtalk.feedback.chat_answer import answer_reasoning, answer_text, other_parts

THOUGHT = "Six times seven."
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    "message",
    [
        {"content": "42", "reasoning_content": THOUGHT},
        {"content": "42", "reasoning": THOUGHT},
        {"content": "42", "thinking": THOUGHT},
        {"content": "42", "reasoning": THOUGHT, "reasoning_content": THOUGHT},
        {"content": "42", "reasoning": None, "reasoning_content": THOUGHT},
        {"content": "42", "reasoning": {"content": THOUGHT}},
        {"content": "42", "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
        {"content": "42", "reasoning_details": [{"type": "reasoning.summary", "summary": THOUGHT}]},
        {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": "42"}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Six times "}]},
                {"type": "thinking", "thinking": [{"type": "text", "text": "seven."}]},
                {"type": "text", "text": "4"},
                {"type": "text", "text": "2"},
            ]
        },
        {
            "content": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
                {"type": "output_text", "text": "42"},
            ]
        },
    ],
)
def test_reasoning_is_read_from_every_layout_and_is_not_in_the_text(message) -> None:
    assert answer_text(message) == "42"
    assert answer_reasoning(message) == THOUGHT
    assert other_parts(message) == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({"content": "", "refusal": "I cannot."}, "I cannot."),
        ({"content": [{"type": "refusal", "refusal": "I cannot."}]}, "I cannot."),
        ({"content": None, "audio": {"data": "QUJD", "transcript": "Hello."}}, "Hello."),
        ({"content": ["Hel", "lo."]}, "Hello."),
    ],
)
def test_the_text_is_the_content_the_refusal_or_the_transcript(message, text: str) -> None:
    assert answer_text(message) == text
    assert answer_reasoning(message) == ""


def test_encrypted_reasoning_has_no_text() -> None:
    message = {
        "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "42"}],
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}],
    }
    assert (answer_text(message), answer_reasoning(message)) == ("42", "")


@pytest.mark.parametrize("type_", [["text"], {"is": "text"}, 3, None])
def test_a_part_whose_type_is_no_text_is_read_by_its_fields(type_) -> None:
    assert answer_text({"content": [{"type": type_, "text": "42"}]}) == "42"
    assert other_parts({"content": [{"type": type_, "text": "42"}]}) == []
    unknown = {"type": type_, "data": "x"}
    assert other_parts({"content": [unknown]}) == other_parts({"images": [unknown]}) == [unknown]
    assert answer_reasoning({"content": [unknown]}) == ""
    assert Message(role="assistant", content=({"type": type_, "text": "42"},)).text == "42"
    is_plain((Message(role="assistant", content=({"type": type_, "text": "42"},)),))


def test_reasoning_that_is_nested_without_end_has_no_text() -> None:
    nested = json.loads("[" * 600 + "]" * 600)
    assert answer_reasoning({"reasoning": nested}) == ""
    assert answer_reasoning({"reasoning": nested, "thinking": THOUGHT}) == THOUGHT


def test_an_image_is_another_part_of_an_answer() -> None:
    assert other_parts({"content": [{"type": "text", "text": "Look:"}, IMAGE]}) == [IMAGE]
    assert other_parts({"content": "Look:", "images": [IMAGE]}) == [IMAGE]


def test_reasoning_of_a_response_is_stored_and_omitted_where_there_is_none() -> None:
    response = Response(id="0", text="42", reasoning=THOUGHT)
    interaction = Interaction(prompt=as_prompt("6 * 7?"), responses=(response,))
    assert parse_interaction(interaction.to_json()).responses[0].reasoning == THOUGHT
    assert "reasoning" not in Response(id="0", text="42").to_dict()


def test_reasoning_makes_no_other_answer_and_no_other_prompt() -> None:
    call = Message(role="assistant", content=None, tool_calls=({"id": "c"},))
    for message in (Message.assistant("42"), call):
        thought = message.model_copy(update={"reasoning": THOUGHT})
        assert answer_key("42", (message,)) == answer_key("42", (thought,))
        assert prompt_key((Message.user("hi"), message)) == prompt_key(
            (Message.user("hi"), thought)
        )
    assert is_plain((Message(role="assistant", content="42", reasoning=THOUGHT),))

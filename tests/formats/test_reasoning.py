"""Formats hold reasoning apart from what was said: imported as such, exported if asked for."""

from __future__ import annotations

import json

import pytest

from backtalk.feedback import Annotator, Interaction, Label, Message, Preference, Response
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair, SFTExample
from backtalk.formats import export, read
from backtalk.formats.chat import as_messages
from tests.formats.samples import write_rows

ADA = Annotator.human("ada")
THOUGHT = "Six times seven."


def case():
    prompt = (
        Message.user("Hi"),
        Message(role="assistant", content="Hello.", reasoning="A greeting."),
        Message.user("6 * 7?"),
    )
    call = {"id": "c", "type": "function", "function": {"name": "multiply", "arguments": "{}"}}
    answers = (
        Response(id="0", text="42", reasoning=THOUGHT),
        Response(
            id="1",
            text="",
            reasoning="A tool.",
            messages=(Message(role="assistant", content=None, tool_calls=(call,)),),
        ),
    )
    talk = Interaction(id="i", prompt=prompt, responses=answers)
    good = Label(interaction="i", annotator=ADA, response="0", good=True)
    better = Preference(interaction="i", annotator=ADA, a="0", b="1", verdict="a")
    return Case(talk, (good, better))


def exported(tmp_path, layout, **options):
    path = tmp_path / "rows.jsonl"
    result = export([case()], path, layout, **options)
    return path.read_text(), [json.loads(line) for line in path.read_text().splitlines()], result


@pytest.mark.parametrize("layout", ["trl-preference", "trl-unpaired", "trl-prompt-completion"])
def test_reasoning_is_exported_only_if_asked_for(tmp_path, layout) -> None:
    text, _, result = exported(tmp_path, layout)
    assert "greeting" not in text
    assert THOUGHT not in text
    assert "reasoning" not in text
    assert any("reasoning" in reason for reason in result.dropped)
    _, rows, result = exported(tmp_path, layout, reasoning=True)
    prompt = rows[0]["prompt"]
    assert prompt[1] == {
        "role": "assistant",
        "content": "Hello.",
        "reasoning_content": "A greeting.",
    }
    answer = rows[0].get("chosen") or rows[0]["completion"]
    assert answer == [{"role": "assistant", "content": "42", "reasoning_content": THOUGHT}]
    assert not result.dropped


@pytest.mark.parametrize("layout", ["openai-chat", "openai-preference"])
def test_layouts_without_a_field_for_reasoning_leave_it_out(tmp_path, layout) -> None:
    text, rows, result = exported(tmp_path, layout, reasoning=True)
    assert rows
    assert "reasoning" not in text
    assert sum(result.dropped.values()) >= 2


SIGNED = {"type": "thinking", "thinking": "A greeting.", "signature": "x"}
REDACTED = {"type": "redacted_thinking", "data": "x"}


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([SIGNED, {"type": "text", "text": "Hello."}], "Hello."),
        ([SIGNED, REDACTED, {"type": "input_audio"}], [{"type": "input_audio"}]),
    ],
)
def test_signed_reasoning_in_the_content_is_exported_only_if_asked_for(
    tmp_path, parts, content
) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": parts},
        {"role": "user", "content": "6 * 7?"},
    ]
    talk = Interaction(id="i", prompt=as_messages(messages, "messages"),
                       responses=(Response(id="0", text="42"),))  # fmt: skip
    signed = Case(talk, (Label(interaction="i", annotator=ADA, response="0", good=True),))
    path = tmp_path / "rows.jsonl"
    result = export([signed], path, "trl-unpaired")
    assert json.loads(path.read_text())["prompt"][1] == {"role": "assistant", "content": content}
    assert sum(result.dropped.values()) == 1
    result = export([signed], path, "trl-unpaired", reasoning=True)
    assert json.loads(path.read_text())["prompt"][1] == {
        "role": "assistant",
        "content": content,
        "reasoning_content": "A greeting.",
    }
    assert not result.dropped


@pytest.mark.parametrize("reasoning", [False, True])
def test_a_tool_with_a_parameter_reasoning_is_exported_whole(tmp_path, reasoning) -> None:
    properties = {"role": {"type": "string"}, "reasoning": {"type": "string"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}
    talk = case().interaction.model_copy(update={"metadata": {"tools": [tool]}})
    path = tmp_path / "rows.jsonl"
    export([Case(talk, case().feedback)], path, "openai-chat", reasoning=reasoning)
    assert json.loads(path.read_text().splitlines()[0])["tools"] == [tool]


def test_the_own_layout_holds_reasoning(tmp_path) -> None:
    exported(tmp_path, "backtalk")
    (row,) = read(tmp_path / "rows.jsonl", format="backtalk")
    read_back, original = row.cases[0].interaction, case().interaction
    assert (read_back.prompt, read_back.responses) == (original.prompt, original.responses)


def test_views_carry_reasoning_and_come_back_with_it() -> None:
    (pair,) = [pair for pair in views(case(), Pair) if pair.chosen == "42"]
    assert (pair.chosen_reasoning, pair.rejected_reasoning) == (THOUGHT, "A tool.")
    (again,) = views(pair.records(), Pair)
    assert (again.chosen_reasoning, again.rejected_reasoning) == (THOUGHT, "A tool.")
    (example,) = [view for view in views(case(), SFTExample) if view.completion == "42"]
    assert views(example.records(), SFTExample)[0].reasoning == THOUGHT
    assert example.is_plain


@pytest.mark.parametrize(
    "message",
    [
        {"content": "42", "reasoning_content": THOUGHT},
        {"content": "42", "thinking": THOUGHT},
        {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": "42"}]},
    ],
)
def test_reasoning_in_imported_messages_is_no_part_of_the_answer(tmp_path, message) -> None:
    row = {
        "prompt": [{"role": "user", "content": "6 * 7?"}],
        "chosen": [{"role": "assistant", **message}],
        "rejected": [{"role": "assistant", "content": "41"}],
    }
    (read_row,) = read(write_rows(tmp_path / "rows.jsonl", row))
    texts = {r.text: (r.reasoning, r.messages) for r in read_row.cases[0].interaction.responses}
    assert texts == {"42": (THOUGHT, ()), "41": (None, ())}


def test_signed_reasoning_stays_in_the_content_of_a_message() -> None:
    parts = [{"type": "thinking", "thinking": THOUGHT, "signature": "x"},
             {"type": "text", "text": "42"}]  # fmt: skip
    (message,) = as_messages([{"role": "assistant", "content": parts}], "messages")
    assert (message.text, message.reasoning) == ("42", THOUGHT)
    assert message.content == tuple(parts)

"""Exports tell answers apart by all of their messages, and read back as the same answers."""

import json

import pytest

from backtalk.feedback import (
    Annotator,
    Interaction,
    Label,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
)
from backtalk.feedback.answers import answer_key, is_plain
from backtalk.feedback.case import Case, merge_by_prompt
from backtalk.feedback.conversions import views
from backtalk.feedback.views import VIEWS, LabelView, Pair, RankingView, SFTExample
from backtalk.formats import export, read
from backtalk.rewards import RecordedReward
from tests.formats.samples import write_rows

ADA = Annotator.human("ada")


def weather(city, content, *, id_="c"):
    """Return an assistant message that asks for the weather of a city, as JSON."""
    arguments = json.dumps({"city": city})
    call = {"id": id_, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


def preference_row(content):
    """Return a row of an OpenAI preference of Lyon over Paris, as tool calls."""
    return {
        "input": {"messages": [{"role": "user", "content": "Weather in Lyon?"}], "tools": [{}]},
        "preferred_output": [weather("Lyon", content)],
        "non_preferred_output": [weather("Paris", content)],
    }


def cities(messages):
    """Return the cities that messages as JSON ask about."""
    return [
        json.loads(call["function"]["arguments"])["city"]
        for message in messages
        for call in message.get("tool_calls", ())
    ]


def read_cases(path, **options):
    return [case for row in read(path, **options) for case in row.cases]


def exported(cases, path, layout):
    result = export(cases, path, layout)
    return [json.loads(line) for line in path.read_text().splitlines()], result


CONTENTS = {"null": None, "equal text": "Let me look.", "empty": "", "parts": [
    {"type": "text", "text": "Let me look."}
]}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_answers_that_differ_in_tool_calls_are_one_pair_one_good_and_one_bad(content, tmp_path):
    cases = read_cases(write_rows(tmp_path / "in.jsonl", preference_row(content)))

    rows, result = exported(cases, tmp_path / "pairs.jsonl", "trl-preference")
    assert [(cities(row["chosen"]), cities(row["rejected"])) for row in rows] == [
        (["Lyon"], ["Paris"])
    ]
    assert not result.dropped

    rows, _ = exported(cases, tmp_path / "labels.jsonl", "trl-unpaired")
    assert [(cities(row["completion"]), row["label"]) for row in rows] == [
        (["Lyon"], True),
        (["Paris"], False),
    ]

    rows, _ = exported(cases, tmp_path / "openai.jsonl", "openai-preference")
    assert [
        (cities(row["preferred_output"]), cities(row["non_preferred_output"])) for row in rows
    ] == [(["Lyon"], ["Paris"])]


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize(
    ("layout", "view"),
    [("trl-preference", Pair), ("openai-preference", Pair), ("trl-unpaired", LabelView)],
)
def test_answers_with_tool_calls_come_back_as_they_were(layout, view, content, tmp_path):
    cases = read_cases(write_rows(tmp_path / "in.jsonl", preference_row(content)))
    export(cases, tmp_path / "out.jsonl", layout)
    back = read_cases(tmp_path / "out.jsonl", format=layout)

    def comparable(cases):
        return [
            view.model_dump(exclude={"interaction", "feedback", "annotator"})
            for case in cases
            for view in views(case, view_type)
        ]

    view_type = view
    assert comparable(back) == comparable(cases)


TURNS = (
    Message(role="assistant", content=None, tool_calls=({"id": "c", "type": "function"},)),
    Message(role="tool", content="18", tool_call_id="c"),
    Message.assistant("It is 18 degrees."),
)


def several_messages():
    """Return a good answer of a call, its result and a text."""
    interaction = Interaction(
        prompt=(Message.user("Weather?"),),
        responses=(Response(id="0", text="It is 18 degrees.", messages=TURNS),),
    )
    label = Label(interaction=interaction.id, annotator=ADA, response="0", good=True)
    return Case(interaction, (label,))


@pytest.mark.parametrize("layout", ["trl-unpaired", "trl-prompt-completion", "openai-chat"])
def test_a_completion_of_several_messages_is_written_as_messages(layout, tmp_path):
    ((row,), _) = exported([several_messages()], tmp_path / "out.jsonl", layout)
    messages = row.get("completion") or row["messages"][1:]
    assert [message["role"] for message in messages] == ["assistant", "tool", "assistant"]
    assert messages == [message.to_dict() for message in TURNS]


def test_two_answers_with_one_text_are_each_written_with_their_own_messages(tmp_path):
    """A response is not looked up by its text."""
    interaction = Interaction(
        prompt=(Message.user("Weather?"),),
        responses=(
            Response(id="0", text="It is 18 degrees."),
            Response(id="1", text="It is 18 degrees.", messages=TURNS),
        ),
    )
    about = {"interaction": interaction.id, "annotator": ADA}
    item = Preference(**about, a="0", b="1", verdict="b")
    rows, _ = exported([Case(interaction, (item,))], tmp_path / "out.jsonl", "trl-preference")
    assert [(len(row["chosen"]), len(row["rejected"])) for row in rows] == [(3, 1)]


@pytest.mark.parametrize(
    "messages",
    [(), (Message.assistant("Yes."),), (Message(role="assistant", content=({"type": "text",
     "text": "Yes."},)),)],
)  # fmt: skip
@pytest.mark.parametrize("verdict", ["a", "b"])
def test_a_preference_between_equal_answers_is_counted_and_labels_none(messages, verdict, tmp_path):
    interaction = Interaction(
        prompt=(Message.user("Open?"),),
        responses=(Response(id="0", text="Yes."), Response(id="1", text="Yes.", messages=messages)),
    )
    item = Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict=verdict)
    case = Case(interaction, (item,))
    rows, result = exported([case], tmp_path / "out.jsonl", "trl-preference")
    assert (rows, result.dropped) == ([], {"a preference between two equal answers": 1})
    rows, result = exported([case], tmp_path / "out.jsonl", "trl-unpaired")
    assert (rows, result.left_out) == ([], 1)
    assert "not between equal answers" in next(iter(result.reasons))


def with_calls(*calls):
    """Return an interaction whose responses have one text and these calls."""
    return Interaction(
        prompt=(Message.user("Weather?"),),
        responses=tuple(
            Response(
                id=str(i),
                text="Looking.",
                messages=(
                    ()
                    if call is None
                    else (Message(role="assistant", content="Looking.", tool_calls=(call,)),)
                ),
            )
            for i, call in enumerate(calls)
        ),
    )


LYON, PARIS = {"id": "c", "city": "Lyon"}, {"id": "c", "city": "Paris"}


def test_merging_prompts_joins_the_same_answers_only():
    first, second = with_calls(LYON, PARIS), with_calls(PARIS, None)
    about = {"annotator": ADA, "a": "0", "b": "1", "verdict": "a"}
    cases = [Case(item, (Preference(interaction=item.id, **about),)) for item in (first, second)]
    (merged,) = merge_by_prompt(cases)
    assert len(merged.interaction.responses) == 3
    pairs = views(merged, Pair)
    assert [(bool(pair.chosen_messages), bool(pair.rejected_messages)) for pair in pairs] == [
        (True, True),
        (True, False),
    ]
    assert pairs[0].rejected_messages == pairs[1].chosen_messages


def test_every_view_of_an_answer_carries_its_messages():
    interaction = with_calls(LYON, PARIS)
    about = {"interaction": interaction.id, "annotator": ADA}
    case = Case(
        interaction,
        (
            Rating(**about, response="0", value=5),
            Rating(**about, response="1", value=2),
            Label(**about, response="0", good=True),
            Outcome(**about, response="0", passed=True, text="fine"),
            Ranking(**about, tiers=(("0",), ("1",))),
        ),
    )
    seen = set()
    for name, view_type in VIEWS.items():
        for view in views(case, view_type):
            seen.add(name)
            assert not view.is_plain, view
            (again, *_) = views(view.records(), view_type)
            assert again.model_copy(update={"feedback": view.feedback}) == view
    assert seen >= {"pair", "example", "label", "score", "ranking", "critique"}
    assert not Pair(prompt=interaction.prompt, chosen="a", rejected="a").chosen_messages


def test_plain_views_have_no_further_fields():
    interaction = Interaction.of("Open?", "Yes.", "No.")
    about = {"interaction": interaction.id, "annotator": ADA}
    case = Case(interaction, (Ranking(**about, tiers=(("0",), ("1",))),))
    for view in (*views(case, Pair), *views(case, RankingView)):
        assert view.is_plain
        assert "messages" not in view.to_json()


def test_the_key_of_an_answer_is_all_of_it():
    text = (Message.assistant("Yes."),)
    parts = (Message(role="assistant", content=({"type": "text", "text": "Yes."},)),)
    image = (Message(role="assistant", content=({"type": "image_url", "image_url": {}},)),)
    assert answer_key("Yes.") == answer_key("Yes.", text) == answer_key("Yes.", parts)
    others = [image, (*text, *text), (text[0].model_copy(update={"tool_calls": (LYON,)}),)]
    others += [(text[0].model_copy(update={"tool_calls": (PARIS,)}),)]
    keys = {answer_key("Yes.", messages) for messages in ((), *others)}
    assert len(keys) == 5
    assert [is_plain(messages) for messages in ((), text, parts, *others)] == [True] * 3 + [
        False
    ] * 4


def test_recorded_feedback_does_not_mix_answers_that_share_a_text(caplog):
    interaction = with_calls(LYON, PARIS)
    about = {"interaction": interaction.id, "annotator": ADA}
    case = Case(interaction, (Preference(**about, a="0", b="1", verdict="a"),))
    assert RecordedReward.from_cases([case]).values == {}
    assert "differ in the ids of tool calls or in media" in caplog.text


def test_a_good_answer_with_a_call_is_an_example_to_imitate(tmp_path):
    interaction = with_calls(LYON)
    label = Label(interaction=interaction.id, annotator=ADA, response="0", good=True)
    (example,) = views(Case(interaction, (label,)), SFTExample)
    assert example.messages[0].tool_calls == (LYON,)
    rows, _ = exported([Case(interaction, (label,))], tmp_path / "x.jsonl", "openai-chat")
    assert rows[0]["messages"][-1]["tool_calls"] == [LYON]

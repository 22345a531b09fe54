"""Chatbot Arena, MT-Bench and Kaggle's competitions: votes between two conversations."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtalk.feedback import Preference
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.testing import check_format
from tests.formats.samples import answer, read_case, write_rows


def user(text):
    return {"role": "user", "content": text}


A = [user("Is it open?"), answer("No."), user("On Sunday?"), answer("No idea.")]
B = [user("Is it open?"), answer("Yes."), user("On Sunday?"), answer("From nine.")]

ARENA = {
    "question_id": "58210e39b3fd4441a2bd4a518bb44c2d",
    "model_a": "chatglm-6b",
    "model_b": "koala-13b",
    "winner": "model_b",
    "judge": "arena_user_973",
    "conversation_a": A[:2],
    "conversation_b": B[:2],
    "turn": 1,
    "anony": True,
    "language": "English",
    "tstamp": 1682351591.1322,
    "openai_moderation": {"categories": {"hate": False}, "flagged": False},
    "toxic_chat_tag": {"roberta-large": {"flagged": False, "probability": 0.01}},
}
MT_BENCH = {
    "question_id": 81,
    "model_a": "alpaca-13b",
    "model_b": "gpt-4",
    "winner": "model_b",
    "judge": "expert_17",
    "conversation_a": A,
    "conversation_b": B,
    "turn": 2,
}


def parts(role, text):
    """Return a message of arena-human-preference-140k, with the empty fields that Parquet adds."""
    part = {"type": "text", "text": text, "image": None, "mimeType": None}
    return {"role": role, "content": [part]}


def turn(question, a, b):
    return {
        "user": parts("user", question),
        "model_side_a": parts("assistant", a),
        "model_side_b": parts("assistant", b),
    }


ARENA_140K = {
    "id": "6d3489d5-4a52-4d5d-bd0c-9a5e0b1c3b3f",
    "model_a": "m",
    "model_b": "n",
    "winner": "both_bad",
    "evaluation_session_id": "session-1",
    "evaluation_order": 1,
    "conversation_a": [parts("user", "Is it open?"), parts("assistant", "No.")],
    "conversation_b": [parts("user", "Is it open?"), parts("assistant", "Yes.")],
    "full_conversation": [turn("Is it open?", "No.", "Yes.")],
    "conv_metadata": {"sum_assistant_a_tokens": 2, "bold_count_a": {"**": 0, "__": 0}},
    "category_tag": {"math_v0.1": {"math": False}},
    "language": "en",
    "is_code": False,
    "timestamp": "2025-05-31T12:00:00",
}
KAGGLE = {
    "id": "30192",
    "model_a": "gpt-4-1106-preview",
    "model_b": "gpt-4-0613",
    "prompt": '["Is it open?","On Sunday?"]',
    "response_a": '["No.","No idea."]',
    "response_b": '["Yes.","From nine."]',
    "winner_model_a": "0",
    "winner_model_b": "1",
    "winner_tie": "0",
}
WSDM = {
    "id": "w",
    "prompt": "Is it open?",
    "response_a": "No.",
    "response_b": "Yes.",
    "winner": "model_a",
    "model_a": "m",
    "model_b": "n",
    "language": "French",
}


def parse(tmp_path, row, **changes):
    return read_case(write_rows(tmp_path / "rows.jsonl", {**row, **changes}))


def reason(tmp_path, row, **changes):
    """Return the reason for which the second of two rows is rejected."""
    path = write_rows(tmp_path / "rows.jsonl", row, {**row, **changes})
    good, bad = read(path)
    assert isinstance(good, ParsedRow)
    assert isinstance(bad, RejectedRow)
    assert bad.line == 2
    return bad.reason


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("chatbot-arena", [ARENA, MT_BENCH, {**MT_BENCH, "turn": 1}, ARENA_140K]),
        ("kaggle-arena", [KAGGLE, WSDM]),
    ],
)
def test_laws_of_the_formats(name, rows):
    check_format(FORMATS.get(name), rows)


def test_a_vote_of_the_arena(tmp_path):
    case = parse(tmp_path, ARENA)
    interaction = case.interaction
    assert [message.text for message in interaction.prompt] == ["Is it open?"]
    assert [(item.text, item.model) for item in interaction.responses] == [
        ("No.", "chatglm-6b"),
        ("Yes.", "koala-13b"),
    ]
    assert interaction.metadata == {"language": "English", "turn": 1}
    (vote,) = case.of(Preference)
    assert (vote.verdict, vote.annotator.id, vote.annotator.kind) == (
        "b",
        "arena_user_973",
        "human",
    )
    assert vote.time.isoformat() == "2023-04-24T15:53:11.132200+00:00"
    assert vote.metadata == {"question_id": ARENA["question_id"], "anony": True}


@pytest.mark.parametrize(
    ("winner", "verdict"),
    [
        ("model_a", "a"),
        ("model_b", "b"),
        ("tie", "tie"),
        ("tie (bothbad)", "both_bad"),
        ("both_bad", "both_bad"),
        ("Tie (BothBad)", "both_bad"),
        ("tie (inconsistent)", "tie"),
        ("koala-13b", "b"),
    ],
)
def test_a_tie_is_not_both_bad(winner, verdict, tmp_path):
    (vote,) = parse(tmp_path, ARENA, winner=winner).of(Preference)
    assert vote.verdict == verdict


def test_a_tie_between_equal_conversations_is_read(tmp_path):
    case = parse(tmp_path, ARENA, winner="tie", conversation_b=A[:2])
    assert [item.text for item in case.interaction.responses] == ["No.", "No."]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"winner": None}, "winner: missing"),
        ({"winner": "left"}, "winner: expected one of"),
        ({"winner": "m", "model_a": "m", "model_b": "m"}, "winner: expected one of"),
        ({"conversation_a": None}, "conversation_a: expected a list of messages"),
        ({"conversation_a": "Is it open?"}, "conversation_a: expected a list of messages"),
        ({"conversation_b": [user("When?"), answer("At nine.")]}, "conversation_b: "),
        ({"conversation_b": A[:2]}, "the preferred response is the same"),
        ({"conversation_b": [A[0], answer(" ")]}, "the preferred response is empty"),
        ({"conversation_b": [A[0], {"role": "bot", "content": "Yes."}]}, "conversation_b.1.role: "),
        ({"turn": 2}, "turn: 2, but conversation_a has 1 turns"),
        ({"turn": 0}, "turn: 0, but"),
        ({"turn": "some"}, "turn: expected a number"),
    ],
)
def test_a_spoiled_vote_is_set_aside(changes, path, tmp_path):
    assert reason(tmp_path, ARENA, **changes).startswith(path)


def test_the_judged_turn_of_mt_bench_ends_the_conversation(tmp_path):
    first = parse(tmp_path, MT_BENCH, turn=1).interaction
    assert [item.text for item in first.responses] == ["No.", "Yes."]
    second = parse(tmp_path, MT_BENCH).interaction
    assert [message.text for message in second.prompt] == ["Is it open?"]
    assert [[message.text for message in item.messages] for item in second.responses] == [
        ["No.", "On Sunday?", "No idea."],
        ["Yes.", "On Sunday?", "From nine."],
    ]


def test_turns_with_the_same_answers_belong_to_the_prompt(tmp_path):
    case = parse(tmp_path, MT_BENCH, conversation_b=[*A[:3], answer("From nine.")])
    assert [message.role for message in case.interaction.prompt] == ["user", "assistant", "user"]
    assert [item.text for item in case.interaction.responses] == ["No idea.", "From nine."]


@pytest.mark.parametrize(
    ("judge", "kind", "id_", "revision"),
    [
        ("expert_17", "human", "expert_17", None),
        ("author_2", "human", "author_2", None),
        ("gpt4_pair", "model", "gpt4_pair", None),
        (["gpt-4", "pair-v2"], "model", "gpt-4", "pair-v2"),
        (None, "human", "unknown", None),
    ],
)
def test_judges_are_people_or_models(judge, kind, id_, revision, tmp_path):
    (vote,) = parse(tmp_path, MT_BENCH, judge=judge).of(Preference)
    annotator = vote.annotator
    assert (annotator.kind, annotator.id, annotator.revision) == (kind, id_, revision)


def test_votes_of_several_judges_are_about_one_interaction(tmp_path):
    rows = [MT_BENCH, {**MT_BENCH, "judge": "expert_2", "winner": "tie"}]
    cases = [row.cases[0] for row in read(write_rows(tmp_path / "rows.jsonl", *rows))]
    assert len({case.interaction.id for case in cases}) == 1
    assert len({item.id for case in cases for item in case.feedback}) == 2


def test_equal_votes_of_unknown_people_are_told_apart_by_the_id_of_the_row(tmp_path):
    rows = [ARENA_140K, {**ARENA_140K, "id": "another"}, ARENA_140K]
    cases = [row.cases[0] for row in read(write_rows(tmp_path / "rows.jsonl", *rows))]
    assert len({case.interaction.id for case in cases}) == 1
    assert len({item.id for case in cases for item in case.feedback}) == 2


def test_parts_of_a_message_with_empty_fields_are_its_text(tmp_path):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([ARENA_140K]), path)
    case = read_case(path)
    assert case == parse(tmp_path, ARENA_140K)
    assert [message.content for message in case.interaction.prompt] == ["Is it open?"]
    assert [item.messages for item in case.interaction.responses] == [(), ()]
    assert case.interaction.session == "session-1"
    assert case.interaction.metadata == {
        "category_tag": {"math_v0.1": {"math": False}},
        "language": "en",
        "is_code": False,
    }
    (vote,) = case.of(Preference)
    assert (vote.verdict, vote.annotator.id) == ("both_bad", "unknown")


def test_an_image_is_a_part_of_its_message(tmp_path):
    image = {"type": "image", "text": None, "image": "a.png", "mimeType": "image/png"}
    question = parts("user", "Is it open?")
    question["content"].append(image)
    changes = {
        name: [question, *ARENA_140K[name][1:]] for name in ("conversation_a", "conversation_b")
    }
    (message,) = parse(tmp_path, ARENA_140K, **changes).interaction.prompt
    assert message.text == "Is it open?"
    assert message.content[1] == {"type": "image", "image": "a.png", "mimeType": "image/png"}


def test_earlier_turns_of_a_session_are_in_the_prompt_if_both_sides_had_them(tmp_path):
    last = ARENA_140K["full_conversation"]
    same = [turn("Hello?", "Good day.", "Good day."), *last]
    case = parse(tmp_path, ARENA_140K, evaluation_order=2, full_conversation=same)
    assert [message.text for message in case.interaction.prompt] == [
        "Hello?",
        "Good day.",
        "Is it open?",
    ]
    different = [turn("Hello?", "Good day.", "Yes?"), *last]
    case = parse(tmp_path, ARENA_140K, evaluation_order=2, full_conversation=different)
    assert [message.text for message in case.interaction.prompt] == ["Is it open?"]
    assert case.interaction.metadata["earlier_turns"] == different[:1]


def test_conversations_as_json_in_cells(tmp_path):
    row = {**MT_BENCH, "conversation_a": json.dumps(A), "conversation_b": json.dumps(B)}
    path = tmp_path / "votes.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
        writer.writerow({**row, "conversation_b": json.dumps(B)[:40]})
    good, bad = read(path)
    assert good.cases[0].interaction.id == parse(tmp_path, MT_BENCH).interaction.id
    assert bad.reason.startswith("conversation_b: neither JSON nor a Python literal")


def write_csv(path, *rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_lists_in_cells_are_the_turns_of_a_kaggle_vote(tmp_path):
    case = read_case(write_csv(tmp_path / "train.csv", KAGGLE))
    assert [message.text for message in case.interaction.prompt] == ["Is it open?"]
    assert [[message.text for message in item.messages] for item in case.interaction.responses] == [
        ["No.", "On Sunday?", "No idea."],
        ["Yes.", "On Sunday?", "From nine."],
    ]
    assert [item.model for item in case.interaction.responses] == [
        "gpt-4-1106-preview",
        "gpt-4-0613",
    ]
    (vote,) = case.of(Preference)
    assert (vote.verdict, vote.annotator.kind) == ("b", "human")


@pytest.mark.parametrize(
    "texts",
    [
        ["['Is it open?', 'On Sunday?']", "['No.', 'No idea.']", "['Yes.', \"From nine.\"]"],
        [["Is it open?", "On Sunday?"], ["No.", "No idea."], ["Yes.", "From nine."]],
    ],
    ids=["Python", "lists"],
)
def test_other_notations_of_the_lists_give_the_same_records(texts, tmp_path):
    changes = dict(zip(("prompt", "response_a", "response_b"), texts, strict=True))
    assert parse(tmp_path, KAGGLE, **changes) == parse(tmp_path, KAGGLE)


@pytest.mark.parametrize(
    ("flags", "verdict"), [("100", "a"), ("010", "b"), ("001", "tie")], ids=["a", "b", "tie"]
)
def test_one_of_three_columns_is_the_winner(flags, verdict, tmp_path):
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    for kind in (str, int, float):
        changes = {name: kind(flag) for name, flag in zip(names, flags, strict=True)}
        (vote,) = parse(tmp_path, KAGGLE, **changes).of(Preference)
        assert vote.verdict == verdict


@pytest.mark.parametrize("winner", ["model_a", "model_b", "tie"])
def test_plain_texts_and_one_column_of_the_winner(winner, tmp_path):
    case = parse(tmp_path, WSDM, winner=winner)
    (vote,) = case.of(Preference)
    assert vote.verdict == winner.removeprefix("model_")
    assert [item.text for item in case.interaction.responses] == ["No.", "Yes."]
    assert case.interaction.metadata == {"language": "French"}


def test_a_text_that_looks_like_a_list_beside_plain_texts_is_a_text(tmp_path):
    case = parse(tmp_path, WSDM, prompt='["b", "a"] Sort this.')
    assert case.interaction.prompt[0].text == '["b", "a"] Sort this.'
    case = parse(tmp_path, WSDM, response_a='["a", "b"]')
    assert case.interaction.responses[0].text == '["a", "b"]'


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"response_a": '["No.",null]'}, "response_a.1: missing"),
        ({"response_a": '["No."]'}, "response_a: 1 responses for 2 prompts"),
        ({"response_a": '["No.","No id'}, "response_a: neither JSON nor a Python literal"),
        ({"response_a": "No."}, "response_a: neither JSON nor a Python literal"),
        ({"response_a": "['No.' 'No idea.']"}, "response_a: neither JSON nor a Python literal"),
        ({"prompt": '["Is it open?","\\ud83d"]'}, "prompt: neither JSON nor a Python literal"),
        ({"winner_model_b": "0"}, "winner_model_a: exactly one of"),
        ({"winner_tie": "1"}, "winner_model_a: exactly one of"),
        ({"winner_tie": "0.33"}, "winner_tie: expected true or false"),
        ({"winner_tie": None}, "winner_tie: missing"),
        ({"response_b": '["No.","No idea."]'}, "the preferred response is the same"),
    ],
)
def test_a_spoiled_kaggle_row_is_set_aside(changes, path, tmp_path):
    assert reason(tmp_path, KAGGLE, **changes).startswith(path)


def test_rows_without_a_verdict_are_not_recognised(tmp_path):
    row = {name: KAGGLE[name] for name in ("id", "prompt", "response_a", "response_b")}
    assert not any(item.matches(row) for item in FORMATS.values())

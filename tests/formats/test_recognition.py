"""A layout is recognised only if every column with a meaning is read; nothing is guessed."""

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Demonstration, Label, Preference
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.formats.columns import meaning_of
from tests.formats.samples import CHAT, all_samples, answer, read_case, write_rows

PAIR = {"prompt": "Is it open?", "chosen": "Yes.", "rejected": "No."}
COMPLETION = {"prompt": "Is it open?", "completion": "Go away."}
SYSTEM = {"role": "system", "content": "You are terse."}
USER = {"role": "user", "content": "Is it open?"}


def read_reason(path, **options):
    """Return the reason for which the only row is rejected."""
    (row,) = read(path, **options)
    assert isinstance(row, RejectedRow), row
    return row.reason


@pytest.mark.parametrize(
    ("names", "meaning"),
    [
        ("prompt question system_prompt inputs query history raw_prompt userMessage", "prompt"),
        ("completion_b modelResponse final_answer", "answer"),
        ("label user_rating thumbsUp is_correct KTO_tag score_1 winner_model margin", "verdict"),
        ("better_response_id preferred_index overall-preference ranks", "verdict"),
        ("is_tie resolved csat sentiment desirable toxicity faithfulness is_safe", "verdict"),
        ("problem passages document article", "prompt"),
        ("user user_id annotatorId rated_by worker reviewer-name judge", "person"),
        ("id prompt_id conversation_id score_type prompt_tokens num_turns model source", None),
        ("title created_at language split chosen_model 2 _ system_fingerprint", None),
        ("source category topic user_turns_count response_length", None),
    ],
)
def test_the_meaning_of_a_column_follows_from_the_words_of_its_name(names, meaning):
    assert {name: meaning_of(name) for name in names.split()} == dict.fromkeys(
        names.split(), meaning
    )


@pytest.mark.parametrize(
    "column",
    [
        "reward",
        "rating",
        "thumbs",
        "score",
        "rank",
        "winner",
        "feedback",
        "user_score",
        "stars",
        "is_good",
    ],
)
@pytest.mark.parametrize("row", [PAIR, COMPLETION], ids=["pair", "completion"])
def test_a_verdict_that_a_layout_does_not_read_makes_recognition_fail(row, column, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**row, column: -3.2})
    with pytest.raises(BacktalkError) as error:
        list(read(path))
    assert repr(column) in error.value.what
    assert column in error.value.mend


@pytest.mark.parametrize("column", ["messages", "conversations", "trajectory", "dialogue"])
def test_a_prompt_that_a_layout_does_not_read_makes_recognition_fail(column, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**COMPLETION, column: [USER]})
    with pytest.raises(BacktalkError, match=column):
        list(read(path))


def test_an_unread_column_is_noticed_in_any_of_the_first_rows(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", PAIR, {**PAIR, "prompt": "When?", "rating": 4})
    with pytest.raises(BacktalkError, match="rating"):
        list(read(path))


def test_an_unread_column_in_a_later_row_rejects_that_row(tmp_path):
    rows = [{**PAIR, "prompt": f"Open on day {day}?"} for day in range(40)]
    rows[30]["rating"] = 4
    parsed = list(read(write_rows(tmp_path / "rows.jsonl", *rows)))
    (rejected,) = [row for row in parsed if isinstance(row, RejectedRow)]
    assert rejected.line == 31
    assert "rating" in rejected.reason


def test_empty_columns_and_numbers_in_place_of_texts_do_not_matter(tmp_path):
    row = {**COMPLETION, "rating": None, "feedback": "", "messages": [], "turn": 1}
    assert read_case(write_rows(tmp_path / "rows.jsonl", row)).of(Demonstration)


def test_a_named_format_keeps_unread_columns_as_metadata(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**COMPLETION, "reward": -3.2})
    case = read_case(path, format="trl-prompt-completion")
    assert case.interaction.metadata == {"reward": -3.2}


@pytest.mark.parametrize(("name", "row"), all_samples())
def test_every_sample_has_a_verdict_more_than_its_layout_reads(name, row, tmp_path):
    if FORMATS.get(name).columns is None:
        return
    path = write_rows(tmp_path / "rows.jsonl", {**row, "thumbs_of_ada": "up"})
    with pytest.raises(BacktalkError, match="thumbs_of_ada"):
        list(read(path))


# Prompts in several columns


@pytest.mark.parametrize("column", ["question", "instruction", "input", "query", "prompt"])
def test_system_and_question_are_the_prompt(column, tmp_path):
    row = {
        "system": "You are terse.",
        column: "Is it open on Sunday?",
        "chosen": "Yes, from nine to five.",
        "rejected": "Yes.",
    }
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    roles = [(message.role, message.text) for message in case.interaction.prompt]
    assert roles == [("system", "You are terse."), ("user", "Is it open on Sunday?")]
    assert [item.text for item in case.interaction.responses] == [
        "Yes, from nine to five.",
        "Yes.",
    ]
    assert case.interaction.metadata == {}


@pytest.mark.parametrize("column", ["system_prompt", "system_message"])
def test_a_system_prompt_may_have_a_longer_name(column, tmp_path):
    case = read_case(write_rows(tmp_path / "rows.jsonl", {column: "Be brief.", **PAIR}))
    assert [message.role for message in case.interaction.prompt] == ["system", "user"]


@pytest.mark.parametrize("column", ["completion", "label"])
def test_a_completion_has_the_system_prompt_too(column, tmp_path):
    row = {"system": "Be brief.", **COMPLETION} | ({"label": 1} if column == "label" else {})
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [message.role for message in case.interaction.prompt] == ["system", "user"]


def test_a_system_prompt_beside_messages_precedes_them(tmp_path):
    row = {"system": "Be brief.", "messages": [*CHAT, answer("4")]}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [message.role for message in case.interaction.prompt] == ["system", "user"]


def test_input_and_context_follow_the_instruction(tmp_path):
    row = {
        "instruction": "Translate.",
        "input": "Guten Tag",
        "history": [["Hi", "Hello"]],
        "chosen": "Good day",
        "rejected": "Good tag",
    }
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [message.text for message in case.interaction.prompt] == [
        "Hi",
        "Hello",
        "Translate.\nGuten Tag",
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**PAIR, "prompt": None}, "prompt: missing"),
        ({"system": "A", "system_prompt": "B", **PAIR}, "system: differs from system_prompt"),
        ({"chosen": "The sky is blue.", "rejected": "The sky is black."}, "prompt: missing"),
        ({**PAIR, "question": "When?"}, "both prompt and question"),
        ({**PAIR, "chosen": None}, "chosen: missing"),
        ({**PAIR, "annotator": "ada", "reviewer": "bo"}, "name a person"),
        ({**PAIR, "history": ["Hi"]}, "history.0"),
        ({**PAIR, "score_chosen": 1, "score_rejected": 2}, "score_rejected: 2 is above"),
        (
            {"system": "Be nice.", "messages": [SYSTEM, *CHAT, answer("4")]},
            "system: differs",
        ),
    ],
)
def test_a_row_without_one_clear_meaning_is_rejected(row, reason, tmp_path):
    assert reason in read_reason(write_rows(tmp_path / "rows.jsonl", row))


# Conversations that contain their prompt


@pytest.mark.parametrize("prompt", ["Is it open?", "Is it open?\n", "Is it open?\r\n", [USER]])
@pytest.mark.parametrize("form", ["text", "parts"])
@pytest.mark.parametrize("earlier", [[], [{"role": "user", "content": "Hi"}, answer("Hello")]])
def test_a_prompt_beside_whole_conversations_is_not_part_of_the_answers(
    prompt, form, earlier, tmp_path
):
    def content(text):
        return text if form == "text" else [{"type": "text", "text": text}]

    start = [SYSTEM, *earlier, {"role": "user", "content": content("Is it open?")}]
    row = {
        "prompt": prompt,
        "chosen": [*start, {"role": "assistant", "content": content("Yes.")}],
        "rejected": [*start, {"role": "assistant", "content": content("No.")}],
    }
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [message.role for message in case.interaction.prompt] == [
        message["role"] for message in start
    ]
    assert case.interaction.prompt[-1].text == "Is it open?"
    assert [item.text for item in case.interaction.responses] == ["Yes.", "No."]


def test_conversations_with_another_prompt_are_rejected(tmp_path):
    row = {
        "prompt": "When?",
        "chosen": [USER, answer("Yes.")],
        "rejected": [USER, answer("No.")],
    }
    assert "prompt: it is not in" in read_reason(write_rows(tmp_path / "rows.jsonl", row))


def test_an_answer_ends_with_the_assistants_turn(tmp_path):
    row = {"prompt": "Is it open?", "chosen": [answer("Yes."), USER], "rejected": [answer("No.")]}
    reason = read_reason(write_rows(tmp_path / "rows.jsonl", row))
    assert reason.startswith("chosen: it ends with a turn of the user")


@pytest.mark.parametrize("label", [{}, {"label": True}, {"kto_tag": True}])
@pytest.mark.parametrize("start", [[], [USER], [SYSTEM, USER]])
def test_a_completion_may_repeat_its_prompt(start, label, tmp_path):
    row = {"prompt": "Is it open?", "completion": [*start, answer("Yes.")], **label}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [message.role for message in case.interaction.prompt][-1:] == ["user"]
    assert len(case.interaction.prompt) == max(len(start), 1)
    texts = [item.text for item in (*case.interaction.responses, *case.of(Demonstration))]
    assert texts == ["Yes."]


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ([{"role": "user", "content": "When?"}, answer("At two.")], "completion: it begins with a"),
        ([SYSTEM, answer("Yes.")], "completion: it begins with a turn of the system"),
        ([answer("Yes."), USER], "completion: it ends with a turn of the user"),
        ([USER], "completion: it ends with a turn of the user"),
    ],
)
@pytest.mark.parametrize("label", [{}, {"label": True}])
def test_turns_of_others_are_no_completion(completion, reason, label, tmp_path):
    row = {"prompt": "Is it open?", "completion": completion, **label}
    assert read_reason(write_rows(tmp_path / "rows.jsonl", row)).startswith(reason)


@pytest.mark.parametrize("prompt", [None, "\n\nHuman: Is it open?\n\nAssistant:"])
@pytest.mark.parametrize("extra", [{}, {"response": "{0} Yes."}, {"system": "Be brief."}])
def test_transcripts_may_have_their_prompt_in_a_column(prompt, extra, tmp_path):
    start = "" if prompt else "\n\nHuman: Is it open?\n\nAssistant:"
    extra = {name: value.format(start) for name, value in extra.items()}
    row = {"prompt": prompt, "chosen": f"{start} Yes.", "rejected": f"{start} No.", **extra}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    roles = ["system", "user"] if "system" in extra else ["user"]
    assert [message.role for message in case.interaction.prompt] == roles
    assert case.interaction.prompt[-1].text == "Is it open?"
    assert [item.text for item in case.interaction.responses] == ["Yes.", "No."]


def test_whole_transcripts_beside_their_prompt_do_not_repeat_it_in_the_answers(tmp_path):
    prompt = "\n\nHuman: Is it open?\n\nAssistant:"
    row = {"prompt": prompt, "chosen": f"{prompt} Yes.", "rejected": f"{prompt} No."}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [item.text for item in case.interaction.responses] == ["Yes.", "No."]
    other = {**row, "prompt": "\n\nHuman: When?\n\nAssistant:"}
    reason = read_reason(write_rows(tmp_path / "other.jsonl", other))
    assert reason == "chosen: it does not begin with the prompt"


# Conversations to imitate


@pytest.mark.parametrize("field", ["rating", "feedback", "label", "thumbs_up"])
@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_a_message_with_a_verdict_is_not_imitated(column, field, tmp_path):
    row = {column: [USER, {**answer("Go away."), field: 1}]}
    reason = read_reason(write_rows(tmp_path / "rows.jsonl", row))
    assert reason.startswith(f"{column}.1.{field}: a verdict about a message")


@pytest.mark.parametrize("field", ["train", "training"])
def test_a_message_that_is_not_trained_on_is_not_imitated(field, tmp_path):
    row = {"messages": [USER, answer("Yes."), USER, {**answer("Go away."), field: False}]}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert case.of(Demonstration)[0].text == "Yes."


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "user", "text": "Is it open?"}, "messages.0.content: missing"),
        ({"role": "user", "content": None}, "messages.0.content: missing"),
        ({"from": "human", "content": "Is it open?"}, "messages.0.value: missing"),
    ],
)
def test_a_message_needs_its_content(message, reason, tmp_path):
    row = {"messages": [message, answer("Yes.")]}
    assert read_reason(write_rows(tmp_path / "rows.jsonl", row)).startswith(reason)


def test_an_empty_message_is_not_imitated(tmp_path):
    row = {"messages": [USER, answer(" \n")]}
    assert "needs text" in read_reason(write_rows(tmp_path / "rows.jsonl", row))


@pytest.mark.parametrize("prompt", ["Is it open?", "Is it open?\n", None, ""])
def test_a_prompt_beside_messages_repeats_their_question(prompt, tmp_path):
    row = {"prompt": prompt, "prompt_id": "7", "messages": [USER, answer("Yes.")]}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert [message.text for message in case.interaction.prompt] == ["Is it open?"]
    assert case.interaction.metadata == {"prompt_id": "7"}


def test_another_prompt_beside_messages_is_not_lost(tmp_path):
    row = {"prompt": "Is it open?", "messages": [USER, answer("Yes.")]}
    path = write_rows(tmp_path / "rows.jsonl", row, {**row, "prompt": "When?"})
    first, second = read(path)
    assert isinstance(first, ParsedRow)
    assert second.reason == "prompt: it is not the first question in messages"


@pytest.mark.parametrize("name", ["kto", "trl-unpaired", "openai-chat", "hh-rlhf"])
def test_a_named_format_rejects_a_row_without_its_columns(name, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {"label": True})
    assert "missing" in read_reason(path, format=name)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "{0}", "{0}{0}"])
def test_transcripts_are_read_with_any_line_ends_and_beginning(end, start, tmp_path):
    start = start.format(end)
    row = {
        name: f"{start}Human: Is it open?{end}{end}Assistant: {text}"
        for name, text in (("chosen", "Yes."), ("rejected", "No."))
    }
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert case.interaction.prompt[0].text == "Is it open?"
    assert [item.text for item in case.interaction.responses] == ["Yes.", "No."]
    assert case.of(Preference)[0].verdict == "a"


# Values


def test_the_text_of_a_message_leaves_out_parts_without_text(tmp_path):
    image = {"type": "image", "text": None, "image_url": {"url": "data:,"}}
    prompt = [{"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}]
    row = {**PAIR, "prompt": prompt}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert case.interaction.prompt[0].text == "What is it?"


@pytest.mark.parametrize(
    ("flag", "good"), [(1.0, True), (0.0, False), ("1.0", True), (" 0", False)]
)
def test_flags_may_be_written_as_decimals(flag, good, tmp_path):
    case = read_case(write_rows(tmp_path / "rows.jsonl", {**COMPLETION, "label": flag}))
    assert case.of(Label)[0].good is good


def test_each_persons_vote_on_equal_rows_counts(tmp_path):
    votes = {"ada": True, "bo": True, "cy": True, "di": False}
    rows = [{**COMPLETION, "label": good, "user": name} for name, good in votes.items()]
    parsed = list(read(write_rows(tmp_path / "rows.jsonl", *rows)))
    assert all(isinstance(row, ParsedRow) for row in parsed)
    labels = [label for row in parsed for case in row.cases for label in case.of(Label)]
    assert {label.annotator.id: label.good for label in labels} == votes
    assert len({label.id for label in labels}) == 4
    assert len({label.interaction for label in labels}) == 1


@pytest.mark.parametrize("user", ["user", "user_id", "username"])
def test_a_user_beside_an_annotator_put_the_question(user, tmp_path):
    row = {**PAIR, user: "u7", "annotator": "ada"}
    case = read_case(write_rows(tmp_path / "rows.jsonl", row))
    assert case.of(Preference)[0].annotator.id == "ada"
    assert case.interaction.metadata[user] == "u7"


@pytest.mark.parametrize(
    "row",
    [
        COMPLETION,
        {"messages": [USER, answer("Yes.")]},
        {"conversations": [USER, answer("Yes.")]},
        {"instruction": "Is it open?", "output": "Yes."},
    ],
)
def test_the_user_of_a_system_did_not_write_its_answer(row, tmp_path):
    case = read_case(write_rows(tmp_path / "user.jsonl", {**row, "user_id": "u7"}))
    assert case.of(Demonstration)[0].annotator.id == "unknown"
    assert case.interaction.metadata["user_id"] == "u7"
    case = read_case(write_rows(tmp_path / "labeler.jsonl", {**row, "labeler": "ada"}))
    assert case.of(Demonstration)[0].annotator.id == "ada"


def test_a_model_that_generated_an_answer_is_no_person(tmp_path):
    case = read_case(write_rows(tmp_path / "rows.jsonl", {**PAIR, "generated_by": "gpt-4"}))
    assert case.of(Preference)[0].annotator.id == "unknown"


def test_a_completion_of_several_messages_is_not_flattened(tmp_path):
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    completion = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "18"},
        answer("It is 18."),
    ]
    row = {"prompt": CHAT, "completion": completion}
    assert "completion: a demonstration is one message" in read_reason(
        write_rows(tmp_path / "rows.jsonl", row)
    )
    labelled = read_case(write_rows(tmp_path / "label.jsonl", {**row, "label": True}))
    assert len(labelled.interaction.responses[0].messages) == 3

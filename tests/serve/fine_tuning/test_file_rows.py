"""Checks of training files: every invalid line is named with its number and its reason."""

import json

import pytest

from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn import TrainingSet
from backtalk.serve.files.file_store import TRAINING, FileStore
from backtalk.serve.fine_tuning.events import list_events
from backtalk.serve.fine_tuning.job import JobSpec
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.fine_tuning.training_data import InvalidFile, TrainingData, check_files
from backtalk.serve.fine_tuning.validation import check_job
from backtalk.store import Store
from tests.serve.fine_tuning.jobs import conversation, jsonl, preference


def make_spec(training, kind="supervised", **fields):
    method = {"supervised": "sft", "dpo": "dpo"}.get(kind, "kto")
    base = {"model": "small", "base": "0", "seed": 0, "model_id": "bt00000000"}
    return JobSpec(training_file=training, type=kind, method=method, **base, **fields)


@pytest.fixture
def files(tmp_path):
    return FileStore(tmp_path / "files")


def upload(files, rows, name="train.jsonl"):
    return files.add_text("default", jsonl(rows), filename=name, purpose=TRAINING).id


def reason(files, rows, kind="supervised", **options):
    with pytest.raises(InvalidFile) as raised:
        check_files(make_spec(upload(files, rows), kind, **options), files, minimum=1)
    assert raised.value.param == "training_file"
    return str(raised.value)


def message(role="user", content="Hello", **fields):
    return {"role": role, "content": content, **fields}


def talk(*messages, **fields):
    return {"messages": list(messages), **fields}


GOOD = conversation(1)
ANSWER = message("assistant", "Yes.")

INVALID = {
    "no JSON": ('{"messages": [', "not a JSON object"),
    "a list": ("[1, 2]", "not a JSON object"),
    "half a character": (r'{"messages": [{"role": "user", "content": "Hi \ud800"}]}', "not a JSON"),
    "no number": ('{"messages": [], "score": NaN}', "not a JSON object"),
    "a deep list": ("[" * 100_000, "not a JSON object"),
    "no messages": ({"text": "Hello"}, "'messages' is missing"),
    "a preference": (preference(1), '"dpo"'),
    "no list": (talk() | {"messages": "Hello"}, "expected a list"),
    "no message": (talk(), "at least one message"),
    "a text as message": (talk("Hello", ANSWER), "messages.0"),
    "no role": (talk({"content": "Hello"}, ANSWER), "'role' is missing"),
    "another role": (talk(message("bot"), ANSWER), "'bot' is not one of"),
    "no content": (talk({"role": "user"}, ANSWER), "'content' is missing"),
    "a number as content": (talk(message(content=3), ANSWER), "messages.0.content"),
    "an unknown key": (talk(message(), message("assistant", tone="warm")), "'tone'"),
    "no answer": (talk(message()), "by the assistant"),
    "a question last": (talk(message(), ANSWER, message()), "the last message is by the user"),
    "no weight": (talk(message(), message("assistant", weight=0)), "weight 0"),
    "half a weight": (talk(message(), message("assistant", weight=0.5)), "0 or 1"),
    "a question with a weight": (talk(message(weight=1), ANSWER), "have a weight"),
    "an empty answer": (talk(message(), message("assistant", " ")), "needs text"),
    "an answer without a question": (talk(ANSWER), "messages"),
    "a picture": (
        talk(message(content=[{"type": "image_url", "image_url": {"url": "x"}}]), ANSWER),
        "'image_url'",
    ),
    "a tool call": (
        talk(message(), message("assistant", None, tool_calls=[{"type": "function"}])),
        "tool calls",
    ),
    "a number as reasoning": (
        talk(message(), message("assistant", reasoning_content=3)),
        "messages.1.reasoning_content",
    ),
    "a question with reasoning": (talk(message(reasoning_content="Hm."), ANSWER), "have reasoning"),
    "a prompt without text": ({"prompt": "", "completion": "Yes."}, "prompt"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_line_is_named(files, name):
    row, expected = INVALID[name]
    text = reason(files, [GOOD, row, GOOD])
    assert text.startswith("The job failed due to an invalid training file. Invalid file format.")
    assert "Line 2: " in text
    assert expected in text
    assert "Line 1" not in text
    assert "Line 3" not in text


INVALID_PREFERENCES = {
    "a conversation": (GOOD, '"supervised"'),
    "no input": (preference(1) | {"input": "Hello"}, "input.messages"),
    "no output": (preference(1) | {"preferred_output": []}, "preferred_output"),
    "an output by the user": (
        preference(1) | {"non_preferred_output": [message()]},
        "non_preferred_output",
    ),
    "two outputs": (preference(1) | {"preferred_output": [ANSWER, ANSWER]}, "one message"),
    "equal outputs": (
        preference(1) | {"preferred_output": [ANSWER], "non_preferred_output": [ANSWER]},
        "the same",
    ),
}


@pytest.mark.parametrize("name", INVALID_PREFERENCES)
def test_an_invalid_preference_is_named(files, name):
    row, expected = INVALID_PREFERENCES[name]
    text = reason(files, [preference(2), row], "dpo")
    assert "Line 2: " in text
    assert expected in text


def test_every_invalid_line_counts_and_the_first_ten_are_named(files):
    text = reason(files, [GOOD, *["[]"] * 14])
    assert all(f"Line {number}:" in text for number in range(2, 12))
    assert "Line 12" not in text
    assert "4 more lines" in text


def test_too_few_examples_are_counted(files):
    spec = make_spec(upload(files, [conversation(i) for i in range(9)]))
    with pytest.raises(InvalidFile, match=r"9 example\(s\), but must have at least 10 examples"):
        check_files(spec, files, minimum=10)
    assert check_files(spec, files, minimum=9).examples == 9


def test_the_validation_file_is_checked_too(files):
    spec = make_spec(upload(files, [GOOD]), validation_file=upload(files, ["{}"]))
    with pytest.raises(InvalidFile, match=r"invalid validation file.*Line 1") as raised:
        check_files(spec, files, minimum=1)
    assert raised.value.param == "validation_file"


def test_a_deleted_file_is_named(files):
    spec = make_spec(upload(files, [GOOD]))
    files.delete(files.find(spec.training_file))
    with pytest.raises(InvalidFile, match=spec.training_file):
        check_files(spec, files, minimum=1)


def test_an_error_about_a_format_does_not_name_the_folder_of_the_server(files, tmp_path):
    text = reason(files, [{"first": 1, "second": 2}], "backtalk")
    assert "The file is in no known format" in text
    assert str(tmp_path) not in text


def load(files, tmp_path, spec, **fields):
    with Store(tmp_path / "feedback.db") as store:
        return TrainingData(spec, store, files, tmp_path / "run", **fields).load()


def examples(training: TrainingSet):
    return [
        ([item.text for item in example.prompt], example.completion)
        for example in training.views(SFTExample)
    ]


def test_all_answers_of_a_conversation_are_learned_except_those_of_weight_0(files, tmp_path):
    row = talk(
        message("system", "Be brief."),
        message(content="One?"),
        message("assistant", "First."),
        message(content="Two?"),
        message("assistant", "Second.", weight=0),
        message(content="Three?"),
        message("assistant", [{"type": "text", "text": "Third."}], weight=1),
    )
    training = load(files, tmp_path, make_spec(upload(files, [row])))
    assert examples(training) == [
        (["Be brief.", "One?"], "First."),
        (["Be brief.", "One?", "First.", "Two?", "Second.", "Three?"], "Third."),
    ]


@pytest.mark.parametrize("reasoning", [False, True])
def test_the_reasoning_of_each_answer_is_learned(files, tmp_path, reasoning):
    row = talk(
        message(content="One?"),
        message("assistant", "First.", reasoning_content="Begin."),
        message(content="Two?"),
        message("assistant", "Second."),
        message(content="Three?"),
        message("assistant", "Third.", reasoning_content="End."),
    )
    training = load(files, tmp_path, make_spec(upload(files, [row])), reasoning=reasoning)
    learned = training.by_kind(SFTExample)
    assert list(learned) == ["label" if reasoning else "demonstration"]
    expected = [("First.", "Begin."), ("Second.", None), ("Third.", "End.")]
    assert [(one.completion, one.reasoning) for (one,) in zip(*learned.values(), strict=True)] == [
        (text, thought if reasoning else None) for text, thought in expected
    ]


@pytest.mark.parametrize("is_learned", [False, True])
@pytest.mark.parametrize("kind", ["supervised", "dpo"])
def test_reasoning_that_is_not_learned_is_counted(files, tmp_path, kind, is_learned):
    thoughtful = message("assistant", "Yes.", reasoning_content="Friday is free.")
    unlearned = talk(message(), thoughtful | {"weight": 0}, message(), ANSWER)
    rows = {
        "supervised": [talk(message(), thoughtful), unlearned, GOOD],
        "dpo": [preference(1) | {"preferred_output": [thoughtful]}, preference(2)],
    }
    spec = make_spec(upload(files, rows[kind]), kind)
    settings = FineTuningSettings(min_examples=1, options={"reasoning": is_learned})
    with Store(tmp_path / "feedback.db") as store:
        store.jobs.put("fine-tune", "ftjob-btOne", spec.to_json())
        check_job(store, store.jobs.get("ftjob-btOne"), files, settings)
        events = list_events(store, "ftjob-btOne")
    warnings = [event["message"] for event in events if event["level"] == "warn"]
    assert len(warnings) == (0 if is_learned and kind == "supervised" else 1)
    assert all("The reasoning of 1 examples" in text for text in warnings)


def test_a_line_that_is_there_twice_is_learned_twice(files, tmp_path):
    training = load(files, tmp_path, make_spec(upload(files, [GOOD, GOOD])))
    assert len(examples(training)) == 2


def test_prompts_with_completions_and_lines_of_other_editors_are_read(files, tmp_path):
    text = "\ufeff" + json.dumps({"prompt": "Open?", "completion": " Yes."}) + "\r\n\r\n"
    id_ = files.add_text("default", text, filename="old.jsonl", purpose=TRAINING).id
    assert examples(load(files, tmp_path, make_spec(id_))) == [(["Open?"], "Yes.")]


def test_preferences_are_pairs(files, tmp_path):
    training = load(files, tmp_path, make_spec(upload(files, [preference(3)]), "dpo"))
    (pair,) = training.views(Pair)
    assert (pair.chosen, pair.rejected) == (
        preference(3)["preferred_output"][0]["content"],
        "Ready.",
    )


@pytest.mark.parametrize("rows", [[preference(1)], [GOOD]])
def test_a_method_by_name_reads_the_layouts_of_openai(files, tmp_path, rows):
    training = load(files, tmp_path, make_spec(upload(files, rows), "backtalk"))
    assert len(list(training.cases())) == 1


def test_a_method_by_name_reads_any_format_of_an_import(files, tmp_path):
    rows = [
        {"prompt": "Open?", "completion": "Yes.", "label": True},
        {"prompt": "Open?", "completion": "Go away.", "label": False},
    ]
    training = load(files, tmp_path, make_spec(upload(files, rows), "backtalk"))
    assert sorted(item.good for case in training.cases() for item in case.feedback) == [False, True]


def test_a_line_that_no_format_reads_is_named(files):
    rows = [{"prompt": "Open?", "completion": "Yes.", "label": True}, {"prompt": 3, "label": 4}]
    assert "Line 2" in reason(files, rows, "backtalk")

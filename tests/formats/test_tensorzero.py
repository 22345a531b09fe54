"""TensorZero: inferences joined with feedback of one file, or of a folder."""

import json

import pytest

from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Label,
    Message,
    Preference,
    Rating,
    Scale,
)
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.formats.ingest import ingest
from backtalk.testing.formats import FormatLaws
from tests.formats.samples import read_case, write_rows
from tests.formats.trace_tool_rows import (
    EPISODE,
    INFERENCE,
    comment,
    demonstration,
    inference,
    metric,
)


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("tensorzero")

    def rows(self):
        return [
            inference(),
            inference("0195b5b4-2222-7000-8000-000000000002"),
            {"inferences": [inference("3")]},
        ]


def read_metric(tmp_path, value, name="accuracy", **options):
    """Return the only feedback of an inference with that metric."""
    path = write_rows(tmp_path / "all.jsonl", inference(), metric(value, name))
    return read_case(path, options=options).feedback[0]


def test_an_inference_is_joined_with_feedback_in_any_order(tmp_path):
    path = write_rows(
        tmp_path / "all.jsonl", metric(value=True), comment(), inference(), demonstration()
    )
    case = read_case(path)
    assert case.interaction.prompt == (Message.system("Be brief."), Message.user("Is it open?"))
    assert case.text("0") == "Yes."
    assert (case.interaction.policy, case.interaction.session) == ("gpt_4o_mini", EPISODE)
    assert case.interaction.time.isoformat() == "2026-03-01T09:00:00+00:00"
    assert case.interaction.metadata["inference_id"] == INFERENCE
    label, critique, ideal = case.feedback
    assert (type(label), label.good, label.aspect) == (Label, True, "overall")
    assert label.annotator == Annotator.human()
    assert label.time.isoformat() == "2026-03-01T09:05:00+00:00"
    assert (type(critique), critique.text, critique.aspect) == (Critique, "Too short.", None)
    assert critique.annotator == Annotator.human("ada")
    assert (type(ideal), ideal.text) == (Demonstration, "Yes, from nine.")


def test_feedback_on_an_episode_is_about_its_last_inference(tmp_path):
    later = inference("0195b5b4-3333-7000-8000-000000000003")
    path = write_rows(
        tmp_path / "all.jsonl", later, inference(), metric(value=False, target=EPISODE)
    )
    first, second = (row.cases[0] for row in read(path))
    assert first.interaction.metadata["inference_id"] == later["id"]
    assert first.of(Label)[0].good is False
    assert second.feedback == ()


def test_tables_in_files_of_one_folder_are_joined_in_the_store(store, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    write_rows(folder / "boolean_metric_feedback.jsonl", metric(value=True))
    write_rows(folder / "chat_inference.jsonl", inference())
    write_rows(folder / "comment_feedback.jsonl", comment(), comment(target="other"))
    result = ingest(store, folder)
    assert (result.added.interactions, result.added.feedback, result.rejected) == (1, 2, 1)
    assert "comment_feedback.jsonl, line 2: There is no interaction" in result.first_reason
    (case,) = store.cases()
    assert {item.kind for item in case.feedback} == {"label", "critique"}
    assert ingest(store, folder).added.feedback == 0


def test_feedback_on_an_inference_that_is_not_in_the_file_is_set_aside(tmp_path):
    path = write_rows(tmp_path / "all.jsonl", inference(), metric(value=True, target="other"))
    parsed, rejected = read(path)
    assert isinstance(parsed, ParsedRow)
    assert isinstance(rejected, RejectedRow)
    assert rejected.line == 2
    assert "'other' is not in this file" in rejected.reason


def test_a_float_metric_is_a_rating_from_0_to_1(tmp_path):
    rating = read_metric(tmp_path, 0.7)
    assert (type(rating), rating.value, rating.scale) == (Rating, 0.7, Scale.UNIT)
    assert rating.aspect == "accuracy"
    assert rating.annotator == Annotator.verifier("accuracy")


def test_a_float_metric_outside_0_to_1_asks_for_its_scale(tmp_path):
    path = write_rows(tmp_path / "all.jsonl", inference(), metric(4.0, "stars"))
    (row,) = read(path)
    assert "stars: 4 is not on the scale 0 to 1" in row.reason
    assert "scale=stars=LOW-HIGH" in row.reason
    rating = read_metric(tmp_path, 4.0, "stars", scale="stars=1-5")
    assert (rating.normalised, rating.aspect) == (0.75, "overall")


def test_a_metric_of_a_fault_is_turned_round_when_asked(tmp_path):
    path = write_rows(tmp_path / "all.jsonl", inference(), metric(3.0, "mistakes"))
    (row,) = read(path, options={"scale": "0-10"})
    assert "faults=mistakes" in row.reason
    rating = read_metric(tmp_path, 3.0, "mistakes", scale="0-10", faults="mistakes")
    assert (rating.value, rating.metadata) == (7.0, {"value": 3.0})
    rating = read_metric(tmp_path, 3.0, "mistakes", scale="0-10", merits="mistakes")
    assert rating.value == 3.0


@pytest.mark.parametrize(
    ("name", "options", "aspect"),
    [
        ("thumbs_up", {}, "overall"),
        ("task_success", {}, "task_success"),
        ("task_success", {"overall": "task_success"}, "overall"),
        ("thumbs_up", {"overall": "task_success"}, "thumbs_up"),
    ],
)
def test_the_name_of_a_metric_is_the_aspect(name, options, aspect, tmp_path):
    path = write_rows(tmp_path / "all.jsonl", inference(), metric(value=True, name=name))
    assert read_case(path, options=options).feedback[0].aspect == aspect


@pytest.mark.parametrize(
    ("tags", "annotator"),
    [
        ({}, Annotator.verifier("solved")),
        ({"author": "ada"}, Annotator.human("ada")),
        ({"user_id": "7"}, Annotator.human("7")),
        ({"tensorzero::human_feedback": "true"}, Annotator.human()),
        ({"tensorzero::evaluator_inference_id": "i"}, Annotator.model("solved")),
        ({"tensorzero::evaluation_run_id": "r"}, Annotator.verifier("solved")),
    ],
)
def test_tags_say_who_gave_feedback(tags, annotator, tmp_path):
    row = metric(value=True, name="solved", tags=tags)
    case = read_case(write_rows(tmp_path / "all.jsonl", inference(), row))
    assert case.feedback[0].annotator == annotator


def test_json_functions_tools_and_old_content_blocks(tmp_path):
    blocks = [
        {"role": "user", "content": [{"type": "text", "value": "2 + 2?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thought", "text": "Hm."},
                {"type": "tool_call", "id": "c", "name": "add", "arguments": '{"x":2}'},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "id": "c", "name": "add",
                                      "result": "4"}]},
        {"role": "user", "content": [{"type": "template", "name": "user",
                                      "arguments": {"topic": "sums"}}]},
    ]  # fmt: skip
    row = inference(input={"messages": blocks}, output={"raw": '{"x": 4}', "parsed": {"x": 4}})
    case = read_case(write_rows(tmp_path / "all.jsonl", row))
    question, call, result, template = case.interaction.prompt
    assert question == Message.user("2 + 2?")
    assert call.tool_calls[0]["function"] == {"name": "add", "arguments": '{"x":2}'}
    assert (result.role, result.content, result.tool_call_id) == ("tool", "4", "c")
    assert template == Message.user('{"topic":"sums"}')
    assert case.text("0") == '{"x": 4}'


def test_a_preferred_output_of_the_api_is_a_preference(tmp_path):
    row = inference(
        output=[{"type": "text", "text": "Yes, from nine."}],
        dispreferred_outputs=[[{"type": "text", "text": "Yes."}]],
        inference_id=INFERENCE,
    )
    del row["id"]
    case = read_case(write_rows(tmp_path / "all.jsonl", row))
    (preference,) = case.of(Preference)
    assert (case.text(preference.chosen), case.text(preference.rejected)) == (
        "Yes, from nine.",
        "Yes.",
    )


def test_a_datapoint_is_a_demonstration(tmp_path):
    row = {
        "dataset_name": "good",
        "function_name": "answer",
        "id": "d1",
        "episode_id": None,
        "input": inference()["input"],
        "output": inference()["output"],
        "tags": {},
        "is_deleted": False,
        "updated_at": "2026-03-01 09:00:00",
    }
    case = read_case(write_rows(tmp_path / "all.jsonl", row))
    assert case.of(Demonstration)[0].text == "Yes."
    (deleted,) = read(write_rows(tmp_path / "deleted.jsonl", {**row, "is_deleted": True}))
    assert deleted.cases == ()


def test_a_reply_of_the_api_is_a_page_of_rows(tmp_path):
    path = tmp_path / "page.json"
    path.write_text(json.dumps({"inferences": [inference(), inference("2")]}))
    assert [row.line for row in read(path)] == [1, 2]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([inference(input='{"messages":[]}')], "input.messages: missing"),
        ([inference(output='[{"type":"text"}]')], "output.content.0.arguments: expected a text"),
        ([inference(), inference()], "occurs twice"),
        ([inference(), metric(value=None)], "value: missing"),
        ([inference(output=None), metric(value=True)], "no output"),
        ([inference(), demonstration("[]")], "text"),
    ],
)
def test_a_spoiled_row_is_set_aside(rows, reason, tmp_path):
    parsed = list(read(write_rows(tmp_path / "all.jsonl", *rows)))
    (rejected,) = [row for row in parsed if isinstance(row, RejectedRow)]
    assert reason in rejected.reason


def test_a_1_beside_larger_numbers_of_a_metric_asks_for_the_scale(tmp_path):
    other = inference("2")
    rows = [inference(), other, metric(1.0, "stars"), metric(5.0, "stars", target="2")]
    path = write_rows(tmp_path / "all.jsonl", *rows)
    assert all("scale=stars=LOW-HIGH" in row.reason for row in read(path))
    ratings = [row.cases[0].feedback[0] for row in read(path, options={"scale": "stars=1-5"})]
    assert [rating.normalised for rating in ratings] == [0, 1]

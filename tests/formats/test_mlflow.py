"""MLflow: traces with assessments, as JSON and as rows of a table."""

import csv

import pytest

from backtalk.feedback import Annotator, Critique, Demonstration, Label, Message, Rating
from backtalk.formats import FORMATS, RejectedRow, read
from backtalk.formats.ingest import ingest
from backtalk.testing.formats import FormatLaws
from tests.formats.samples import read_case, write_rows
from tests.formats.trace_tool_rows import assessment, mlflow_table, mlflow_trace

THUMB = assessment("thumbs_up", True, rationale="Says when.", metadata={"page": "/hours"})


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("mlflow")

    def rows(self):
        return [mlflow_trace(THUMB), {**mlflow_table(THUMB), "trace_id": "tr-2"}]


def read_assessments(tmp_path, *assessments, **options):
    """Return the feedback of a trace."""
    path = write_rows(tmp_path / "traces.jsonl", mlflow_trace(*assessments))
    return read_case(path, options=options).feedback


def test_a_trace_is_an_interaction_with_feedback(tmp_path):
    case = read_case(write_rows(tmp_path / "traces.jsonl", mlflow_trace(THUMB)))
    interaction = case.interaction
    assert interaction.prompt == (Message.user("Is it open?"),)
    assert (case.text("0"), interaction.responses[0].model) == ("Yes.", "gpt-4o")
    assert (interaction.user, interaction.session) == ("user-1", "session-1")
    assert interaction.time.isoformat() == "2026-03-01T09:00:00+00:00"
    assert interaction.metadata == {
        "trace_id": "tr-1",
        "tags": {"stage": "beta"},
        "metadata": {"team": "web"},
        "state": "OK",
    }
    label, critique = case.feedback
    assert (type(label), label.good, label.aspect) == (Label, True, "overall")
    assert label.annotator == Annotator.human("ada")
    assert label.metadata == {"metadata": {"page": "/hours"}}
    assert (type(critique), critique.text, critique.aspect) == (Critique, "Says when.", None)


def test_the_table_of_a_search_gives_the_same_records(tmp_path):
    (tmp_path / "traces.csv").write_text("")
    row = mlflow_table(THUMB)
    with (tmp_path / "traces.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(row)
        writer.writerow("" if value is None else value for value in row.values())
    expected = read_case(write_rows(tmp_path / "traces.jsonl", mlflow_trace(THUMB)))
    assert read_case(write_rows(tmp_path / "table.jsonl", row)) == expected
    assert read_case(tmp_path / "traces.csv") == expected


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        (False, Label, False),
        ("yes", Label, True),
        ("no", Label, False),
        (0.7, Rating, 0.7),
        (1, Rating, 1.0),
    ],
)
def test_values_of_feedback(value, kind, result, tmp_path):
    (item,) = read_assessments(tmp_path, assessment("relevance", value, "LLM_JUDGE", "gpt-4o"))
    assert type(item) is kind
    assert (item.good if kind is Label else item.value) == result
    assert (item.aspect, item.annotator) == ("relevance", Annotator.model("gpt-4o"))


def test_feedback_of_several_values_has_an_aspect_each(tmp_path):
    value = {"tone": 0.5, "facts": True, "style": None}
    items = read_assessments(tmp_path, assessment("rubric", value, "CODE", "rubric"))
    assert {item.aspect: type(item) for item in items} == {
        "rubric/tone": Rating,
        "rubric/facts": Label,
    }
    assert items[0].annotator == Annotator.verifier("rubric")


def test_expectations_of_an_answer_are_demonstrations(tmp_path):
    facts = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '["nine"]'}}
    row = mlflow_trace(
        assessment("expected_response", "Yes, from nine.", kind="expectation"),
        assessment("expected_facts", None, kind="expectation", expectation=facts),
        assessment("guidelines", "Be brief.", kind="expectation"),
    )
    case = read_case(write_rows(tmp_path / "traces.jsonl", row))
    (ideal,) = case.feedback
    assert (type(ideal), ideal.text) == (Demonstration, "Yes, from nine.")
    assert case.interaction.metadata["expectations"] == {
        "expected_facts": ["nine"],
        "guidelines": "Be brief.",
    }


def test_overridden_failed_and_inner_feedback_is_left_out_with_a_count(store, tmp_path):
    failed = {"value": None, "error": {"error_code": "X", "error_message": "no reply"}}
    row = mlflow_trace(
        assessment("stars", 1.0, valid=False),
        assessment("tone", 0.0, assessment_id="a-old"),
        assessment("tone", 1.0, overrides="a-old"),
        assessment("judge", None, "LLM_JUDGE", "gpt-4o", feedback=failed),
        assessment("step", 0.0, span_id="inner"),
    )
    result = ingest(store, write_rows(tmp_path / "traces.jsonl", row))
    (case,) = store.cases()
    assert [item.value for item in case.of(Rating)] == [1.0]
    assert set(result.unusual) >= {
        "feedback that a later one overrides, left out (2)",
        "feedback of a judge that failed, left out (1)",
        "assessment of a span inside a trace, left out (1)",
    }


def test_requests_and_replies_of_a_chat_api_are_messages(tmp_path):
    row = mlflow_trace(
        inputs='{"messages":[{"role":"system","content":"Be brief."},'
        '{"role":"user","content":"Is it open?"}],"model":"gpt-4o","temperature":0}',
        outputs='{"choices":[{"index":0,"message":{"role":"assistant","content":"Yes."}}]}',
    )
    case = read_case(write_rows(tmp_path / "traces.jsonl", row))
    assert [message.role for message in case.interaction.prompt] == ["system", "user"]
    assert case.text("0") == "Yes."


def test_an_output_that_repeats_the_conversation_is_cut_after_the_prompt(tmp_path):
    inputs = '{"messages":[{"type":"human","content":"Is it open?"}]}'
    outputs = (
        '{"messages":[{"type":"human","content":"Is it open?"},{"type":"ai","content":"",'
        '"tool_calls":[{"name":"hours","args":{"day":1},"id":"c"}]},'
        '{"type":"tool","content":"9-17","tool_call_id":"c"},{"type":"ai","content":"Yes."}]}'
    )
    case = read_case(
        write_rows(tmp_path / "traces.jsonl", mlflow_trace(inputs=inputs, outputs=outputs))
    )
    assert case.interaction.prompt == (Message.user("Is it open?"),)
    call, result, answer = case.interaction.responses[0].messages
    assert call.tool_calls[0]["function"] == {"name": "hours", "arguments": '{"day":1}'}
    assert (result.role, answer.text) == ("tool", "Yes.")


def test_a_trace_of_version_2_has_its_request_beside_the_spans(tmp_path):
    row = mlflow_trace()
    row["info"]["request_id"] = row["info"].pop("trace_id")
    row["info"]["timestamp_ms"] = 1772355600000
    row["info"]["request_metadata"] = row["info"].pop("trace_metadata")
    del row["info"]["request_time"]
    row["data"] |= {"request": '{"question": "When?"}', "response": '"At nine."'}
    row["info"]["assessments"] = [{**THUMB, "name": "thumbs_up", "create_time_ms": 1772355600000}]
    case = read_case(write_rows(tmp_path / "traces.jsonl", row))
    assert (case.interaction.prompt[0].text, case.text("0")) == ("When?", "At nine.")
    assert case.interaction.time.isoformat() == "2026-03-01T09:00:00+00:00"
    assert case.feedback[0].good is True


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (mlflow_trace(assessment("stars", 4.0)), "stars: 4 is not on the scale 0 to 1"),
        (mlflow_trace(assessment("toxicity", 0.2)), "faults=toxicity"),
        (mlflow_trace(assessment("tone", "so-so")), "the meaning of 'so-so' is not known"),
        (mlflow_trace(assessment("tags", ["a"])), "skip=tags"),
        (mlflow_trace(assessment("tone", 1, source="GUESS")), "source.source_type"),
        (mlflow_trace(inputs="null"), "request: missing"),
        (mlflow_trace(THUMB, outputs="null"), "no output"),
    ],
)
def test_a_spoiled_row_is_set_aside(row, reason, tmp_path):
    good = mlflow_trace(THUMB)
    _, rejected = read(write_rows(tmp_path / "traces.jsonl", good, row))
    assert isinstance(rejected, RejectedRow), rejected
    assert rejected.line == 2
    assert reason in rejected.reason


def test_scores_can_be_left_out_by_name(tmp_path):
    (label, _) = read_assessments(tmp_path, THUMB, assessment("tags", ["a"]), skip="tags")
    assert label.good is True


def test_a_1_beside_larger_numbers_of_a_score_asks_for_the_scale(tmp_path):
    rows = [mlflow_trace(assessment("stars", value)) for value in (1.0, 5.0)]
    path = write_rows(tmp_path / "traces.jsonl", *rows)
    assert all("scale=stars=LOW-HIGH" in row.reason for row in read(path))

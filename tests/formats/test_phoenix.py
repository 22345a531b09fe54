"""Phoenix: spans and annotations, in tables, as objects of the API, joined and apart."""

import csv
import json

import pytest

from backtalk.feedback import Annotator, Critique, Label, Message, Rating
from backtalk.formats import FORMATS, RejectedRow, read
from backtalk.formats.ingest import ingest
from backtalk.testing.formats import FormatLaws
from tests.formats.samples import read_case, write_rows
from tests.formats.trace_tool_rows import phoenix_annotation as annotation
from tests.formats.trace_tool_rows import phoenix_span as span

API_SPAN = {
    "id": "U3Bhbjox",
    "name": "llm",
    "context": {"trace_id": "a" * 32, "span_id": "2" * 16},
    "span_kind": "LLM",
    "parent_id": None,
    "start_time": "2026-03-01T09:00:00Z",
    "end_time": "2026-03-01T09:00:01Z",
    "status_code": "OK",
    "attributes": {
        "llm.model_name": "gpt-4o",
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be brief.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": "Is it open?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "hours",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
    },
    "events": [],
}
OTLP_SPAN = {
    "name": "chain",
    "span_id": "2" * 16,
    "trace_id": "a" * 32,
    "parent_span_id": None,
    "start_time_unix_nano": 1772355600000000000,
    "attributes": [
        {"key": "openinference.span.kind", "value": {"string_value": "CHAIN", "int_value": None}},
        {"key": "input.value", "value": {"stringValue": "Is it open?"}},
        {"key": "output.value", "value": {"string_value": "Yes."}},
    ],
}


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("phoenix")

    def rows(self):
        return [
            span(),
            {**annotation(label="correct", span="3" * 16), **span(span="3" * 16, kind="CHAIN")},
            {"data": [{**API_SPAN, "context": {"trace_id": "b", "span_id": "4"}}]},
            {**OTLP_SPAN, "span_id": "5" * 16},
        ]


def read_annotation(tmp_path, name="correctness", kind="HUMAN", options=None, **result):
    """Return the feedback of a span with that annotation."""
    rows = (annotation(name, kind, **result), span())
    return read_case(write_rows(tmp_path / "all.jsonl", *rows), options=options).feedback


def read_reason(tmp_path, *rows):
    """Return the reason for which the last row is set aside."""
    *_, rejected = read(write_rows(tmp_path / "all.jsonl", *rows))
    assert isinstance(rejected, RejectedRow), rejected
    return rejected.reason


def test_a_span_is_joined_with_its_annotations(tmp_path):
    rows = [annotation(label="correct", score=1.0, explanation="It is so."), span()]
    case = read_case(write_rows(tmp_path / "all.jsonl", *rows))
    interaction = case.interaction
    assert interaction.prompt == (Message.user("Is it open?"),)
    assert (case.text("0"), interaction.responses[0].model) == ("Yes.", "gpt-4o")
    assert (interaction.user, interaction.session) == ("user-1", "session-1")
    assert interaction.time.isoformat() == "2026-03-01T09:00:00+00:00"
    label, critique = case.feedback
    assert (type(label), label.good, label.aspect) == (Label, True, "correctness")
    assert label.annotator == Annotator.human("VXNlcjox")
    assert label.metadata == {"score": 1.0, "value": "correct"}
    assert (type(critique), critique.text, critique.aspect) == (
        Critique,
        "It is so.",
        "correctness",
    )


def test_joined_tables_have_a_row_for_each_annotation(tmp_path):
    rows = [
        {**annotation(label="correct"), **span()},
        {**annotation("user feedback", label="thumbs-down"), **span()},
    ]
    first, second = (row.cases[0] for row in read(write_rows(tmp_path / "all.jsonl", *rows)))
    assert first.interaction == second.interaction
    assert (first.feedback[0].good, second.feedback[0].good) == (True, False)
    assert second.feedback[0].aspect == "overall"


def test_spans_and_annotations_in_files_of_one_folder_are_joined_in_the_store(store, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    write_rows(folder / "annotations.jsonl", annotation(score=0.5))
    write_rows(folder / "spans.jsonl", span())
    assert ingest(store, folder).rejected == 0
    (case,) = store.cases()
    assert case.of(Rating)[0].value == 0.5


@pytest.mark.parametrize(
    ("kind", "annotator"),
    [
        ("HUMAN", Annotator.human("VXNlcjox")),
        ("LLM", Annotator.model("correctness")),
        ("CODE", Annotator.verifier("correctness")),
    ],
)
def test_the_annotator_is_a_person_a_model_or_a_program(kind, annotator, tmp_path):
    assert read_annotation(tmp_path, kind=kind, score=1)[0].annotator == annotator


@pytest.mark.parametrize(
    ("label", "good"),
    [
        ("correct", True),
        ("incorrect", False),
        ("factual", True),
        ("hallucinated", False),
        ("relevant", True),
        ("unrelated", False),
        ("toxic", False),
        ("non-toxic", True),
        ("Thumbs up", True),
    ],
)
def test_known_words_are_labels_whatever_the_score(label, good, tmp_path):
    (item,) = read_annotation(tmp_path, label=label, score=1)
    assert (type(item), item.good) == (Label, good)


def test_an_unknown_word_beside_a_score_is_kept_as_metadata(tmp_path):
    (item,) = read_annotation(tmp_path, label="partly", score=0.5)
    assert (item.value, item.metadata) == (0.5, {"label": "partly"})
    (item,) = read_annotation(tmp_path, label="partly", score=0.5, options={"bad": "partly"})
    assert (item.good, item.metadata["score"]) == (False, 0.5)


def test_a_note_is_a_critique_of_the_answer(tmp_path):
    (item,) = read_annotation(tmp_path, "note", explanation="Too short.")
    assert (item.text, item.aspect) == ("Too short.", None)


def test_the_api_writes_messages_with_dotted_keys(tmp_path):
    row = {
        "name": "helpful",
        "annotator_kind": "HUMAN",
        "span_id": "2" * 16,
        "result": {"label": "yes", "score": None},
        "user_id": None,
        "id": "a",
        "created_at": "2026-03-01T09:00:00Z",
    }
    case = read_case(write_rows(tmp_path / "all.jsonl", row, API_SPAN))
    assert [message.text for message in case.interaction.prompt] == ["Be brief.", "Is it open?"]
    (call,) = case.interaction.responses[0].messages[0].tool_calls
    assert call["function"] == {"name": "hours", "arguments": "{}"}
    assert case.feedback[0].good is True


def test_open_telemetry_writes_attributes_as_lists(tmp_path):
    path = tmp_path / "spans.json"
    path.write_text(json.dumps({"data": [OTLP_SPAN]}))
    case = read_case(path)
    assert (case.interaction.prompt[0].text, case.text("0")) == ("Is it open?", "Yes.")
    assert case.interaction.time.isoformat() == "2026-03-01T09:00:00+00:00"


def test_evaluations_in_columns_are_by_a_model(tmp_path):
    row = {**span(), "eval.Hallucination.label": "factual", "eval.Hallucination.score": 0}
    row["eval.Hallucination.explanation"] = "It is in the text."
    label, critique = read_case(write_rows(tmp_path / "all.jsonl", row)).feedback
    assert (label.good, label.aspect) == (True, "Hallucination")
    assert label.annotator == critique.annotator == Annotator.model("Hallucination")


def test_only_annotated_spans_calls_of_models_and_roots_are_kept(store, tmp_path):
    rows = [
        span("1" * 16, kind="CHAIN"),
        span("2" * 16, "1" * 16, "LLM"),
        span("3" * 16, "1" * 16, "TOOL"),
        span("4" * 16, "1" * 16, "RETRIEVER"),
        annotation(span="4" * 16, label="relevant"),
    ]
    result = ingest(store, write_rows(tmp_path / "all.jsonl", *rows))
    assert result.added.interactions == 3
    assert "span without annotations that is no call of a model, left out (1)" in result.unusual


def test_an_annotation_of_a_trace_is_about_its_root(tmp_path):
    row = annotation(label="correct")
    row["trace_id"] = "a" * 32
    del row["span_id"]
    rows = [span("2" * 16, "1" * 16), span("1" * 16, kind="CHAIN"), row]
    first, second = (row.cases[0] for row in read(write_rows(tmp_path / "all.jsonl", *rows)))
    assert (first.feedback, second.feedback[0].good) == ((), True)


def test_tables_may_be_csv(tmp_path):
    path = tmp_path / "joined.csv"
    row = {**annotation(label="correct"), **span()}
    row["attributes.llm.input_messages"] = str(row["attributes.llm.input_messages"])
    row["attributes.llm.output_messages"] = str(row["attributes.llm.output_messages"])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(row)
        writer.writerow("" if value is None else value for value in row.values())
    case = read_case(path)
    assert (case.interaction.prompt[0].text, case.text("0")) == ("Is it open?", "Yes.")
    assert case.feedback[0].good is True


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([annotation(label="so-so"), span()], "correctness: the meaning of 'so-so' is not known"),
        ([annotation(score=4), span()], "correctness: 4 is not on the scale"),
        ([annotation("hallucination", score=1), span()], "faults=hallucination"),
        ([annotation("toxic", label="yes"), span()], "faults=toxic"),
        ([annotation(), span()], "neither a value nor a comment"),
        ([annotation(kind="GUESS", score=1), span()], "annotator_kind"),
        ([span(), annotation(span="9" * 16, score=1)], "is not in this file"),
        ([{**annotation(score=1), "span_id": None}], "reset_index"),
    ],
)
def test_a_spoiled_row_is_set_aside(rows, reason, tmp_path):
    assert reason in read_reason(tmp_path, *rows)


def test_a_1_beside_larger_numbers_of_a_score_asks_for_the_scale(tmp_path):
    for index, row in enumerate(({}, span())):
        rows = [{**annotation("stars", score=value), "id": str(value), **row} for value in (1, 5)]
        path = write_rows(tmp_path / f"{index}.jsonl", *rows)
        assert all("scale=stars=LOW-HIGH" in row.reason for row in read(path))


@pytest.mark.parametrize("name", ["name", "annotation_name"])
def test_tables_for_logging_have_the_result_in_columns_of_their_own(name, tmp_path):
    row = {"span_id": "2" * 16, name: "quality", "annotator_kind": "HUMAN"}
    result = {"label": "fair", "score": 0.6, "explanation": "Too short."}
    path = write_rows(tmp_path / "rows.jsonl", API_SPAN, row | result)
    (parsed,) = read(path)
    rating, critique = parsed.cases[0].feedback
    assert (rating.value, rating.aspect, rating.metadata) == (0.6, "quality", {"label": "fair"})
    assert (rating.annotator, critique.text) == (Annotator.human("unknown"), "Too short.")

"""Langfuse: traces and observations with scores and comments, of the API and of tables."""

import csv
import json

import pytest

from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Edit,
    Label,
    Message,
    Rating,
)
from backtalk.formats import FORMATS, RejectedRow, read
from backtalk.formats.ingest import ingest
from backtalk.testing.formats import FormatLaws
from tests.formats.samples import read_case, write_rows
from tests.formats.trace_tool_rows import (
    LANGFUSE_TABLE,
    QUESTION,
)
from tests.formats.trace_tool_rows import langfuse_observation as observation
from tests.formats.trace_tool_rows import langfuse_score as score
from tests.formats.trace_tool_rows import langfuse_trace as trace

THUMB = score(value=1, stringValue="True", comment="Says so.")


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("langfuse")

    def rows(self):
        return [
            trace(scores=[THUMB], observations=[observation("o1", None, type="SPAN")]),
            {**LANGFUSE_TABLE, "id": "t2"},
            observation(),
            {"data": [trace(id="t3")], "meta": {"page": 1}},
        ]


def read_scores(tmp_path, *scores, **options):
    """Return the feedback of a trace with those scores, which come first in the file."""
    path = write_rows(tmp_path / "all.jsonl", *scores, trace())
    return read_case(path, options=options).feedback


def test_a_trace_with_its_scores_is_a_case(tmp_path):
    row = trace(scores=[THUMB], observations=[observation("o1", None)])
    case = read_case(write_rows(tmp_path / "trace.jsonl", row))
    interaction = case.interaction
    assert interaction.prompt == (Message.user("Is it open?"),)
    assert (case.text("0"), interaction.responses[0].model) == ("Yes.", "gpt-4o")
    assert (interaction.user, interaction.session) == ("user-1", "session-1")
    assert interaction.time.isoformat() == "2026-03-01T09:00:00+00:00"
    assert interaction.metadata == {
        "traceId": "t1",
        "name": "chat",
        "tags": ["web"],
        "environment": "default",
    }
    label, critique = case.feedback
    assert (type(label), label.good, label.aspect) == (Label, True, "overall")
    assert (label.annotator, label.time) == (Annotator.human(), interaction.time)
    assert (type(critique), critique.text, critique.aspect) == (Critique, "Says so.", None)


@pytest.mark.parametrize(
    ("row", "kind", "value"),
    [
        (score(name="tone", kind="NUMERIC", value=0.4), Rating, 0.4),
        (score(name="tone", kind="BOOLEAN", value=0, stringValue="False"), Label, False),
        (score(name="tone", kind="CATEGORICAL", value=3, stringValue="Good"), Label, True),
        (score(name="tone", kind="TEXT", stringValue="Too stiff for me."), Critique, None),
        (score(name="tone", kind="BOOLEAN", value=True), Label, True),
        (score(name="tone", kind="CATEGORICAL", value="bad"), Label, False),
    ],
)
def test_types_of_scores(row, kind, value, tmp_path):
    (item,) = read_scores(tmp_path, row)
    assert type(item) is kind
    assert item.aspect == "tone"
    assert {Rating: "value", Label: "good"}.get(kind) is None or value == (
        item.value if kind is Rating else item.good
    )


@pytest.mark.parametrize(
    ("fields", "annotator"),
    [
        ({"source": "ANNOTATION", "authorUserId": "ada"}, Annotator.human("ada")),
        ({"source": "ANNOTATION"}, Annotator.human()),
        ({"source": "EVAL"}, Annotator.model("tone")),
        ({"source": "API"}, Annotator.verifier("tone")),
        ({"source": "API", "name": "user-feedback"}, Annotator.human()),
        ({"source": "API", "authorUserId": "bo"}, Annotator.human("bo")),
    ],
)
def test_the_source_says_who_scored(fields, annotator, tmp_path):
    row = score(**{"name": "tone", "kind": "NUMERIC", "value": 1, **fields})
    assert read_scores(tmp_path, row)[0].annotator == annotator


def test_options_name_the_overall_score_and_those_of_people(tmp_path):
    row = score(name="tone", kind="NUMERIC", value=4)
    (item,) = read_scores(tmp_path, row, overall="tone", people="tone", scale="1-5")
    assert (item.aspect, item.annotator, item.normalised) == ("overall", Annotator.human(), 0.75)


def test_scores_of_an_observation_are_about_the_observation(tmp_path):
    inner = observation(output={"role": "assistant", "content": "Open."})
    scores = [THUMB, score("s2", "tone", value=0, observationId="o2")]
    row = trace(scores=scores, observations=[observation("o1", None, type="SPAN"), inner])
    (parsed,) = read(write_rows(tmp_path / "trace.jsonl", row))
    whole, part = parsed.cases
    assert [item.kind for item in whole.feedback] == ["label", "critique"]
    assert (part.text("0"), part.feedback[0].good) == ("Open.", False)
    rows = [*scores, trace(), inner]
    apart = [row.cases[0] for row in read(write_rows(tmp_path / "apart.jsonl", *rows))]
    assert [case.interaction.id for case in apart] == [whole.interaction.id, part.interaction.id]
    assert [case.feedback for case in apart] == [whole.feedback, part.feedback]


def test_a_correction_is_an_edit(tmp_path):
    row = score(name="output", kind="CORRECTION", value=0, stringValue="Yes, from nine.")
    (edit,) = read_scores(tmp_path, row)
    assert (type(edit), edit.text) == (Edit, "Yes, from nine.")
    path = write_rows(tmp_path / "none.jsonl", row, trace(output=None))
    assert read_case(path).of(Demonstration)[0].text == "Yes, from nine."


def test_a_table_has_a_column_for_each_score(tmp_path):
    with (tmp_path / "traces.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(LANGFUSE_TABLE)
        writer.writerow(
            "" if value is None else value if isinstance(value, str) else json.dumps(value)
            for value in LANGFUSE_TABLE.values()
        )
    case = read_case(write_rows(tmp_path / "traces.jsonl", LANGFUSE_TABLE))
    assert case.interaction.prompt == (Message.user("Is it open?"),)
    assert {item.aspect: item.value for item in case.of(Rating)} == {"overall": 1, "clarity": 0.7}
    assert [(item.aspect, item.good) for item in case.of(Label)] == [("tone", True)]
    (comment,) = case.of(Critique)
    assert (comment.text, comment.annotator) == ("Too short.", Annotator.human("ada@example.com"))
    assert read_case(tmp_path / "traces.csv") == case


def test_a_remark_in_a_table_is_a_critique(tmp_path):
    row = {**LANGFUSE_TABLE, "remarks": ["Says nothing about the holidays."]}
    case = read_case(write_rows(tmp_path / "traces.jsonl", row))
    assert "Says nothing about the holidays." in {item.text for item in case.of(Critique)}


def test_pages_of_the_api_in_one_folder_are_joined_in_the_store(store, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    comment = {
        "id": "c",
        "projectId": "p",
        "createdAt": "2026-03-01T09:00:00Z",
        "updatedAt": "2026-03-01T09:00:00Z",
        "objectType": "TRACE",
        "objectId": "t1",
        "content": "Too short.",
        "authorUserId": "ada",
    }
    pages = {"comments": [comment], "scores": [THUMB, score("s9", traceId="gone", value=1)]}
    for name, rows in {**pages, "traces": [trace()]}.items():
        (folder / f"{name}.json").write_text(json.dumps({"data": rows, "meta": {"page": 1}}))
    result = ingest(store, folder)
    assert (result.added.interactions, result.added.feedback, result.rejected) == (1, 3, 1)
    assert "scores.json, row 2" in result.first_reason


def test_a_downloaded_trace_has_observations_and_scores(tmp_path):
    path = tmp_path / "trace.json"
    rows = [observation("o1", None, type="SPAN"), observation("o3", "o1", type="TOOL")]
    path.write_text(json.dumps({"observations": rows, "scores": [THUMB]}))
    parsed = list(read(path))
    (case,) = [case for row in parsed for case in row.cases]
    assert case.of(Label)[0].good is True
    assert (
        case.interaction.id == read_case(write_rows(tmp_path / "x.jsonl", trace())).interaction.id
    )


def test_exports_to_blob_storage_have_other_names(tmp_path):
    row = {
        "id": "t1",
        "timestamp": "2026-03-01 09:00:00.000",
        "project_id": "p",
        "name": "chat",
        "user_id": "user-1",
        "session_id": None,
        "input": json.dumps(QUESTION),
        "output": "Yes.",
        "metadata": {},
        "tags": [],
    }
    thumb = {
        "id": "s1",
        "timestamp": "2026-03-01 09:00:00.000",
        "project_id": "p",
        "trace_id": "t1",
        "observation_id": None,
        "name": "user-feedback",
        "value": 1,
        "source": "API",
        "comment": None,
        "data_type": "BOOLEAN",
        "string_value": "True",
    }
    case = read_case(write_rows(tmp_path / "all.jsonl", row, thumb))
    assert (case.interaction.user, case.feedback[0].good) == ("user-1", True)


def test_version_3_of_the_api_names_the_subject_of_a_score(tmp_path):
    row = score(value=True)
    del row["traceId"], row["observationId"]
    row["subject"] = {"kind": "trace", "id": "t1"}
    assert read_scores(tmp_path, row)[0].good is True


def test_what_is_left_out_is_counted(store, tmp_path):
    rows = [trace(), observation(type="TOOL"), trace(id="t2", input=None)]
    result = ingest(store, write_rows(tmp_path / "all.jsonl", *rows))
    assert result.added.interactions == 1
    assert set(result.unusual) == {
        "observation without scores that is no generation, left out (1)",
        "trace without input and without scores, left out (1)",
        "trace whose scores have only ids; the file of the scores is needed too (1)",
    }


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([score(kind="NUMERIC", value=4), trace()], "user-feedback: 4 is not on the scale"),
        (
            [score(name="tone", kind="CATEGORICAL", stringValue="so-so"), trace()],
            "the meaning of 'so-so' is not known",
        ),
        ([score(name="toxicity", kind="NUMERIC", value=0.1), trace()], "faults=toxicity"),
        ([score(name="hallucination", value=1), trace()], "faults=hallucination"),
        ([score(kind="OTHER", value=1), trace()], "unknown type 'OTHER'"),
        ([score(value="maybe"), trace()], "value: expected true or false"),
        ([THUMB, trace(input=None)], "input: missing"),
        ([THUMB, trace(output=None)], "no output"),
        ([trace(), score(traceId="gone", value=1)], "'trace gone' is not in this file"),
        ([score(traceId=None, sessionId="x", value=1)], "a score or comment on session"),
        ([trace(scores=[score(observationId="gone", value=1)])], "observation gone"),
    ],
)
def test_a_spoiled_row_is_set_aside(rows, reason, tmp_path):
    parsed = list(read(write_rows(tmp_path / "all.jsonl", *rows)))
    (rejected,) = [row for row in parsed if isinstance(row, RejectedRow)]
    assert reason in rejected.reason


def test_a_1_beside_larger_numbers_of_a_score_asks_for_the_scale(tmp_path):
    tables = [{**LANGFUSE_TABLE, "id": name, "clarity": [i]} for i, name in ((1, "a"), (5, "b"))]
    path = write_rows(tmp_path / "table.jsonl", *tables)
    assert all("scale=clarity=LOW-HIGH" in row.reason for row in read(path))
    scores = [score(str(i), "clarity", "NUMERIC", value=i, traceId=f"t{i}") for i in (1, 5)]
    rows = [trace(id="t1"), trace(id="t5"), *scores]
    path = write_rows(tmp_path / "scores.jsonl", *rows)
    assert all("scale=clarity=LOW-HIGH" in row.reason for row in read(path))

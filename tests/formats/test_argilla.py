"""Argilla: every type of answer, in each of the four layouts of a record."""

import csv
import json

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Edit,
    Label,
    Preference,
    Ranking,
    Rating,
    Spans,
)
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.formats.unusual import Unusual
from backtalk.testing.formats import FormatLaws
from tests.formats.samples import SAMPLES, VARIANTS, read_case, write_rows

FLAT_2, FLAT_1, NESTED_1 = VARIANTS["argilla"]
ROCKET = "Yeah 🚀 rocket is fast"


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("argilla")

    def rows(self):
        row = {"prompt": "2 + 2?", "response": "4", "external_id": "s"}
        answers = {"value": [5], "user_id": ["ada"], "status": ["submitted"]}
        return [
            {**SAMPLES["argilla"], "id": "a"},
            {**FLAT_2, "id": "b"},
            {**FLAT_1, "external_id": "c"},
            {**NESTED_1, "id": "d"},
            {**row, "quality": answers},
        ]


def record(tmp_path, value, question="quality", responses=("4",), **options):
    """Return the case of a record with one answer by ada."""
    fields = {f"response-{i}": text for i, text in enumerate(responses, 1)}
    row = {
        "id": "r",
        "fields": {"prompt": "2 + 2?", **fields},
        "responses": {question: [{"value": value, "user_id": "ada", "status": "submitted"}]},
    }
    return read_case(write_rows(tmp_path / "x.jsonl", row), format="argilla", options=options)


@pytest.mark.parametrize("row", [SAMPLES["argilla"], FLAT_1, NESTED_1])
def test_a_number_is_a_rating_in_every_layout(row, tmp_path):
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    item = next(item for item in case.of(Rating) if item.annotator.kind == "human")
    assert (item.value, item.annotator.id, item.aspect) == (5, "ada", "quality")
    assert case.text(item.response) == "4"
    assert case.interaction.prompt[0].text == "2 + 2?"


@pytest.mark.parametrize("row", [FLAT_1, NESTED_1])
def test_a_suggestion_is_by_its_model(row, tmp_path):
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    (item,) = (item for item in case.of(Rating) if item.annotator.kind == "model")
    assert (item.value, item.annotator) == (4, Annotator.model("judge"))


def test_discarded_answers_are_left_out(tmp_path):
    case = read_case(write_rows(tmp_path / "x.jsonl", FLAT_1))
    assert {item.annotator.id for item in case.feedback} == {"ada", "judge"}


def test_the_name_of_a_response_is_a_preference_and_neither_is_both_bad(tmp_path):
    case = read_case(write_rows(tmp_path / "x.jsonl", FLAT_2))
    results = {item.annotator.id: (item.verdict, item.confidence) for item in case.of(Preference)}
    assert results == {"ada": ("a", None), "bo": ("both_bad", None), "judge": ("b", 0.7)}
    assert case.of(Critique) == []


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("response-2", "b"),
        ("Response 1", "a"),
        ("1", "a"),
        ("tie", "tie"),
        ("both bad", "both_bad"),
    ],
)
def test_words_that_name_one_of_two_responses(word, verdict, tmp_path):
    case = record(tmp_path, word, responses=("4", "5"))
    assert [item.verdict for item in case.of(Preference)] == [verdict]


def test_the_best_of_three_does_not_order_the_others(tmp_path):
    (item,) = record(tmp_path, "response-2", responses=("4", "5", "6")).of(Ranking)
    assert (item.tiers, item.within) == (
        (("response-2",), ("response-1", "response-3")),
        "unordered",
    )


@pytest.mark.parametrize(
    "value",
    [
        ["response-2", "response-1"],
        [{"value": "response-1", "rank": 2}, {"value": "response-2", "rank": 1}],
    ],
)
def test_an_order_is_a_ranking(value, tmp_path):
    (item,) = record(tmp_path, value, responses=("4", "5")).of(Ranking)
    assert item.tiers == (("response-2",), ("response-1",))


def test_equal_ranks_tie(tmp_path):
    value = [{"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 1}]
    (item,) = record(tmp_path, value, responses=("4", "5")).of(Ranking)
    assert (item.tiers, item.within) == ((("response-1", "response-2"),), "tied")


def test_marked_parts_are_spans(tmp_path):
    value = [{"start": 0, "end": 1, "label": "wrong"}]
    (item,) = record(tmp_path, value).of(Spans)
    assert [(span.start, span.end, span.label) for span in item.spans] == [(0, 1, "wrong")]


def test_offsets_in_utf_16_units_are_an_option(tmp_path):
    value = [{"start": 8, "end": 14, "label": "wrong"}]
    (item,) = record(tmp_path, value, responses=(ROCKET,), offsets="utf-16").of(Spans)
    (span,) = item.spans
    assert ROCKET[span.start : span.end] == "rocket"
    assert item.metadata == {}


def test_marks_after_an_emoji_are_pointed_out_without_the_option(tmp_path):
    unusual = Unusual()
    with unusual.collect_notes():
        for start in (0, 8):
            value = [{"start": start, "end": start + 4, "label": "wrong"}]
            (item,) = record(tmp_path, value, responses=(ROCKET,)).of(Spans)
            assert ("offsets" in item.metadata) is (start == 8)
        record(tmp_path, value, responses=(ROCKET,), offsets="code-points")
    (note,) = unusual.notes
    assert "offsets=utf-16" in note
    assert unusual.notes[note] == 1


def test_an_offset_inside_an_emoji_or_an_unknown_unit_is_refused(tmp_path):
    value = [{"start": 6, "end": 8, "label": "wrong"}]
    row = {
        "fields": {"prompt": "2 + 2?", "response": ROCKET},
        "responses": {"marks": [{"value": value, "status": "submitted"}]},
    }
    path = write_rows(tmp_path / "x.jsonl", row)
    (bad,) = read(path, format="argilla", options={"offsets": "utf-16"})
    assert "marks.start: offset 6 is inside the character '🚀'" in bad.reason
    with pytest.raises(BacktalkError, match="expected one of code-points, utf-16, utf-8"):
        read(path, format="argilla", options={"offsets": "bytes"})


def test_answers_without_a_status_are_read_with_a_note(tmp_path):
    row = {
        **SAMPLES["argilla"],
        "responses": {"quality": [{"value": 5, "user_id": "ada"}, {"value": 1, "user_id": "bo"}]},
    }
    unusual = Unusual()
    with unusual.collect_notes():
        case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert len(case.of(Rating)) == 2
    (note,) = (note for note in unusual.notes if "status" in note)
    assert "to_list(flatten=True)" in note
    assert unusual.notes[note] == 2


@pytest.mark.parametrize("status", ["draft", "discarded"])
def test_drafts_and_discarded_answers_are_no_feedback_in_any_layout(status, tmp_path):
    answer = {"value": 1, "user_id": "bo", "status": status}
    rows = [
        {**SAMPLES["argilla"], "responses": {"quality": [answer]}},
        {
            "prompt": "2 + 2?",
            "response": "4",
            "quality.responses": [1],
            "quality.responses.users": ["bo"],
            "quality.responses.status": [status],
        },
        {"prompt": "2 + 2?", "response": "4", "quality": [answer], "external_id": "r"},
        {
            "fields": {"prompt": "2 + 2?", "response": "4"},
            "responses": [{"user_id": "bo", "status": status, "values": {"quality": {"value": 1}}}],
        },
    ]
    for row in rows:
        assert read_case(write_rows(tmp_path / "x.jsonl", row)).feedback == ()


def test_the_flat_layout_has_metadata_beside_the_fields(tmp_path):
    row = {
        "id": "r",
        "status": "pending",
        "_server_id": None,
        "prompt": "2 + 2?",
        "response_1": "4",
        "response_2": "5",
        "response_model": "gpt-4o",
        "response_length": 21,
        "best.responses": ["response_1", "response_2"],
        "best.responses.users": ["ada", "bo"],
        "best.responses.status": ["submitted", "draft"],
        "rank.responses": None,
        "rank.responses.users": None,
        "rank.responses.status": None,
        "best.suggestion": "response_2",
        "best.suggestion.score": 0.7,
        "best.suggestion.agent": "judge",
    }
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert [item.id for item in case.interaction.responses] == ["response_1", "response_2"]
    assert case.interaction.metadata == {"response_model": "gpt-4o", "response_length": 21}
    assert [(item.annotator.id, item.verdict) for item in case.of(Preference)] == [
        ("ada", "a"),
        ("judge", "b"),
    ]
    assert {item.aspect for item in case.of(Preference)} == {"overall"}


@pytest.mark.parametrize("dump", [json.dumps, str])
def test_lists_in_cells_of_csv_are_read(dump, tmp_path):
    row = {
        "prompt": "2 + 2?",
        "response": "4",
        "quality.responses": dump([5, 1]),
        "quality.responses.users": dump(["ada", "bo"]),
        "quality.responses.status": dump(["submitted", "draft"]),
        "quality.suggestion": "4",
        "quality.suggestion.agent": "judge",
    }
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([row, row.values()])
    items = read_case(path).of(Rating)
    assert [(item.annotator.id, item.value) for item in items] == [("ada", 5), ("judge", 4)]


def test_the_index_of_a_label_is_refused(tmp_path):
    (bad,) = read(write_rows(tmp_path / "x.jsonl", {**FLAT_2, "best.suggestion": 1}))
    assert "best.suggestion: 1 is the index of a label" in bad.reason


@pytest.mark.parametrize("as_columns", [False, True])
def test_version_1_is_read_without_columns_of_suggestions(as_columns, tmp_path):
    answers = [
        {"user_id": "ada", "value": 5, "status": "submitted"},
        {"user_id": "bo", "value": 1, "status": "discarded"},
    ]
    ranks = [{"rank": 2, "value": "response-1"}, {"rank": 1, "value": "response-2"}]
    ranking = [{"user_id": "ada", "value": ranks, "status": "submitted"}]
    if as_columns:
        answers, ranking = (
            {name: [item[name] for item in items] for name in items[0]}
            for items in (answers, ranking)
        )
    row = {
        "prompt": "2 + 2?",
        "response-1": "4",
        "response-2": "5",
        "quality-1": answers,
        "order": ranking,
        "external_id": None,
        "metadata": '{"topic": "sums"}',
    }
    unanswered = {**row, "quality-1": [], "order": [], "external_id": "s"}
    first, second = read(write_rows(tmp_path / "x.jsonl", row, unanswered))
    assert isinstance(first, ParsedRow), first
    (case,) = first.cases
    assert [(item.annotator.id, item.value, item.aspect) for item in case.of(Rating)] == [
        ("ada", 5, "quality")
    ]
    assert case.of(Ranking)[0].tiers == (("response-2",), ("response-1",))
    assert case.interaction.metadata == {"topic": "sums"}
    assert isinstance(second, ParsedRow), second
    assert second.cases[0].feedback == ()


def test_yes_to_a_fault_is_refused_until_an_option_says_that_it_is_bad(tmp_path):
    row = {
        **SAMPLES["argilla"],
        "responses": {"toxic": [{"value": "yes", "user_id": "ada", "status": "submitted"}]},
    }
    (bad,) = read(write_rows(tmp_path / "x.jsonl", row))
    assert "faults=toxic" in bad.reason
    (item,) = record(tmp_path, "yes", "toxic", faults="toxic").of(Label)
    assert (item.good, item.aspect) == (False, "toxic")


def test_a_field_that_looks_like_a_prompt_must_have_a_place(tmp_path):
    fields = {"prompt": "2 + 2?", "response": "4"}
    row = {**SAMPLES["argilla"], "fields": {**fields, "reference_answer": "Four"}}
    (bad,) = read(write_rows(tmp_path / "x.jsonl", row))
    assert "reference_answer: it is neither the prompt nor a response" in bad.reason
    case = read_case(tmp_path / "x.jsonl", options={"responses": "response"})
    assert case.interaction.metadata == {"reference_answer": "Four"}
    row["fields"] = {**fields, "system": "Be brief.", "context": "A sum."}
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert [message.text for message in case.interaction.prompt] == [
        "Be brief.",
        "2 + 2?\nA sum.",
    ]


def test_the_scale_of_a_question_is_an_option(tmp_path):
    (item,) = record(tmp_path, 7, "tone", scale="1-5, tone=1-7").of(Rating)
    assert item.normalised == 1


@pytest.mark.parametrize(("word", "good"), [("Yes", True), ("incorrect", False), ("👍", True)])
def test_words_for_good_and_bad_are_labels(word, good, tmp_path):
    assert [item.good for item in record(tmp_path, word).of(Label)] == [good]


def test_other_words_are_a_critique_unless_an_option_says_otherwise(tmp_path):
    (item,) = record(tmp_path, "It is four.", "fix").of(Critique)
    assert (item.text, item.aspect) == ("It is four.", "fix")
    (edit,) = record(tmp_path, "It is four.", "fix", edit="fix").of(Edit)
    assert edit.text == "It is four."
    (ideal,) = record(tmp_path, "It is four.", "fix", demonstration="fix").of(Demonstration)
    assert ideal.text == "It is four."


def test_the_scale_is_an_option(tmp_path):
    (item,) = record(tmp_path, 7, scale="0-10").of(Rating)
    assert item.normalised == 0.7


def test_the_response_of_a_question_is_found_by_name_or_option(tmp_path):
    case = record(tmp_path, 3, "quality-2", responses=("4", "5"))
    assert [item.response for item in case.of(Rating)] == ["response-2"]
    options = {"responses": ("4", "5"), "about": "tone=response-1"}
    assert [item.response for item in record(tmp_path, 3, "tone", **options).of(Rating)] == [
        "response-1"
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quality": [{"value": 9, "user_id": "ada", "status": "submitted"}]}, "scale=LOW-HIGH"),
        ({"quality": [{"value": {"a": 1}, "user_id": "ada"}]}, "unknown type"),
        ({"quality": {"a": 1}}, "responses.quality: expected a list"),
    ],
)
def test_a_record_with_an_invalid_answer_is_rejected(change, reason, tmp_path):
    row = {**SAMPLES["argilla"], "responses": change}
    (bad,) = read(write_rows(tmp_path / "x.jsonl", row))
    assert isinstance(bad, RejectedRow)
    assert reason in bad.reason


def test_a_record_without_a_prompt_says_which_option_names_it(tmp_path):
    row = {**SAMPLES["argilla"], "fields": {"topic": "2 + 2?", "response": "4"}}
    path = write_rows(tmp_path / "x.jsonl", row)
    (bad,) = read(path)
    assert "prompt=FIELD" in bad.reason
    assert read_case(path, options={"prompt": "topic"}).interaction.prompt[0].text == "2 + 2?"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("users", ["ada"], "quality.responses.users: 1 entries for 2 answers"),
        ("status", ["submitted"], "quality.responses.status: 1 entries for 2 answers"),
        ("status", ["submitted", "final"], "status: 'final' is no status of an answer"),
    ],
)
def test_answers_are_not_left_out_because_their_columns_differ_in_length(
    column, value, reason, tmp_path
):
    row = {
        "prompt": "Is it open?",
        "response": "Yes.",
        "quality.responses": [4, 2],
        "quality.responses.users": ["ada", "bo"],
        "quality.responses.status": ["submitted", "submitted"],
        f"quality.responses.{column}": value,
    }
    (rejected,) = read(write_rows(tmp_path / "rows.jsonl", row))
    assert rejected.reason.startswith(reason)


def test_answers_of_version_1_need_lists_of_one_length(tmp_path):
    answers = {"value": [5, 1], "user_id": ["ada"], "status": ["submitted", "submitted"]}
    row = {"prompt": "Is it open?", "response": "Yes.", "quality": answers}
    (rejected,) = read(write_rows(tmp_path / "rows.jsonl", row))
    assert "value, user_id, status differ in length" in rejected.reason

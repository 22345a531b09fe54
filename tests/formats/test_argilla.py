"""Argilla: every type of answer, in each of the four layouts of a record."""

import pytest

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
from backtalk.formats import RejectedRow, read
from tests.formats.samples import SAMPLES, VARIANTS, read_case, write_rows

FLAT_2, FLAT_1, NESTED_1 = VARIANTS["argilla"]


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

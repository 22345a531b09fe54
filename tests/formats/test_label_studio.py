"""Label Studio: results of each control, from JSON and JSON_MIN, by the name of the control."""

import csv
import json

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
from backtalk.formats import FORMATS, RejectedRow, read
from backtalk.formats.unusual import Unusual
from backtalk.testing.formats import FormatLaws
from tests.formats.annotation_tool_rows import (
    CHOSEN,
    JSON_MIN,
    PAIR,
    RATED,
    SELECTED,
    WRITTEN,
    annotation,
    result,
    task,
)
from tests.formats.samples import read_case, write_rows

ONE = {"prompt": "Is it open?", "response": "Yeah 🚀 rocket is fast"}
DIALOGUE = {
    "messages": [
        {"role": "user", "content": "Is it open?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "At nine, I think."},
    ]
}
ITEMS = {
    "prompt": "Is it open?",
    "items": [
        {"id": "llama", "title": "Llama", "body": "Yes."},
        {"id": "puma", "title": "Puma", "body": "No."},
        {"id": "cobra", "title": "Cobra", "body": "Perhaps."},
    ],
}


class TestLaws(FormatLaws):
    def format(self):
        return FORMATS.get("label-studio")

    def rows(self):
        return [
            task(annotation(1, 1, SELECTED)),
            task(annotation(1, 1, SELECTED), id=9),
            {**JSON_MIN, "id": 10},
            task(id=11),
        ]


def read_results(tmp_path, *results, data=PAIR, **options):
    """Return the case of a task with one annotation."""
    row = task(annotation(1, 1, *results), data=data)
    return read_case(write_rows(tmp_path / "x.jsonl", row), options=options)


def read_reason(tmp_path, *results, data=PAIR, row=None, **options):
    """Return the reason for which a task is set aside, after one that is read."""
    row = row or task(annotation(1, 1, *results), data=data)
    _, bad = read(
        write_rows(tmp_path / "x.jsonl", task(), row), format="label-studio", options=options
    )
    assert isinstance(bad, RejectedRow), bad
    assert bad.line == 2
    return bad.reason


def mark(control, to_name, start, end, text, *labels, **fields):
    """Return the result of a labelled span."""
    value = {"start": start, "end": end, "text": text, "labels": list(labels), **fields}
    return result(control, to_name, "labels", **value)


def test_each_control_gives_its_kind_of_feedback(tmp_path):
    case = read_results(tmp_path, SELECTED, CHOSEN, RATED, WRITTEN)
    assert case.interaction.prompt[0].text == "2 + 2?"
    assert [(item.id, item.text) for item in case.interaction.responses] == [
        ("answer1", "4"),
        ("answer2", "5"),
    ]
    assert case.interaction.metadata == {"topic": "sums"}
    (preference,) = case.of(Preference)
    assert (preference.a, preference.b, preference.verdict) == ("answer1", "answer2", "a")
    assert preference.aspect == "overall"
    (label,) = case.of(Label)
    assert (label.response, label.good, label.aspect) == ("answer1", True, "tone")
    (rating,) = case.of(Rating)
    assert (rating.response, rating.value, rating.aspect) == ("answer2", 2, "overall")
    (critique,) = case.of(Critique)
    assert (critique.text, critique.response, critique.aspect) == ("Clear.", None, "remark")
    assert {item.annotator for item in case.feedback} == {Annotator.human("1")}
    assert {item.time.isoformat() for item in case.feedback} == {"2026-03-01T09:00:00+00:00"}


@pytest.mark.parametrize("reverse", [False, True])
def test_results_of_several_people_are_read_by_control_in_any_order(reverse, tmp_path):
    worse = result("comparison", "comparison", "pairwise", selected="right")
    bad = result("tone_1", "answer1", "choices", choices=["Bad"])
    second = [bad, worse] if reverse else [worse, bad]
    row = task(
        annotation(1, 1, SELECTED, CHOSEN),
        annotation(2, {"id": 2, "email": "bo@example.com", "first_name": "Bo"}, *second),
    )
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert [(item.annotator.id, item.verdict) for item in case.of(Preference)] == [
        ("1", "a"),
        ("bo@example.com", "b"),
    ]
    assert [(item.annotator.id, item.good) for item in case.of(Label)] == [
        ("1", True),
        ("bo@example.com", False),
    ]


def test_what_is_left_out_is_counted(tmp_path):
    relation = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}
    box = result("box", "img", "rectanglelabels", x=1, y=2, rectanglelabels=["Car"])
    date = result("when", "answer1", "datetime", datetime="2026-03-01")
    row = task(
        annotation(1, 1, SELECTED, relation, relation, box, date),
        annotation(2, 2, CHOSEN, was_cancelled=True),
        annotation(3, 3, CHOSEN, skipped=True),
        drafts=[{"id": 5, "result": [CHOSEN]}],
        predictions=[17],
    )
    unusual = Unusual()
    with unusual.collect_notes():
        case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert len(case.feedback) == 1
    left_out = {
        "cancelled": 2,
        "drafts": 1,
        "predictions": 1,
        "relations": 2,
        "datetime": 1,
        "answers_on_regions": 1,
    }
    assert case.interaction.metadata["left_out"] == left_out
    assert unusual.notes["left out: relation between regions"] == 2


def test_a_prediction_is_by_its_model(tmp_path):
    prediction = {"id": 5, "model_version": "judge-1", "score": 0.8, "result": [SELECTED]}
    case = read_case(write_rows(tmp_path / "x.jsonl", task(predictions=[prediction])))
    (item,) = case.of(Preference)
    assert (item.annotator, item.confidence, item.time) == (Annotator.model("judge-1"), 0.8, None)


def test_completions_are_the_annotations_of_old_versions(tmp_path):
    row = task(annotation(1, 1, SELECTED))
    row["completions"] = row.pop("annotations")
    assert len(read_case(write_rows(tmp_path / "x.jsonl", row)).of(Preference)) == 1


def test_an_unanswered_task_has_no_feedback(tmp_path):
    empty = [
        result("remark", "prompt", "textarea", text=[]),
        result("tone_1", "answer1", "choices", choices=[]),
    ]
    path = write_rows(
        tmp_path / "x.jsonl",
        task(annotation(1, 1, SELECTED)),
        task(),
        task(annotation(1, 1, *empty)),
    )
    assert [len(case.feedback) for row in read(path) for case in row.cases] == [1, 0, 0]


def test_the_side_of_a_pair_follows_from_its_control_or_an_option(tmp_path):
    data = {"prompt": "2 + 2?", "answer2": "5", "answer1": "4"}
    assert "responses=LEFT,RIGHT" in read_reason(tmp_path, SELECTED, data=data)
    (item,) = read_results(tmp_path, SELECTED, data=data, responses="answer2,answer1").of(
        Preference
    )
    assert item.chosen == "answer2"
    named = {**SELECTED, "to_name": "answer2,answer1"}
    assert read_results(tmp_path, named).of(Preference)[0].chosen == "answer2"
    odd = result("comparison", "comparison", "pairwise", selected="both")
    assert "selected: expected left or right, got 'both'" in read_reason(tmp_path, odd)


def test_choices_that_name_a_response_are_a_preference(tmp_path):
    data = {"prompt": "2 + 2?", "response_a": "4", "response_b": "5"}
    for word, verdict in (
        ("Response B", "b"),
        ("A", "a"),
        ("Tie", "tie"),
        ("Both bad", "both_bad"),
    ):
        better = result("better", "prompt", "choices", choices=[word])
        (item,) = read_results(tmp_path, better, data=data).of(Preference)
        assert item.verdict == verdict


def test_several_choices_are_read_one_by_one(tmp_path):
    several = result("faults_2", "answer2", "choices", choices=["Rude", "Too long"])
    case = read_results(tmp_path, several)
    assert [(item.text, item.response, item.aspect) for item in case.of(Critique)] == [
        ("Rude", "answer2", "faults"),
        ("Too long", "answer2", "faults"),
    ]


def test_yes_to_a_fault_is_refused_until_an_option_says_that_it_is_bad(tmp_path):
    yes = result("hallucination", "response", "choices", choices=["Yes"])
    assert "faults=hallucination" in read_reason(tmp_path, yes, data=ONE)
    (item,) = read_results(tmp_path, yes, data=ONE, faults="hallucination").of(Label)
    assert (item.good, item.aspect) == (False, "hallucination")
    (item,) = read_results(tmp_path, yes, data=ONE, good="no", bad="yes").of(Label)
    assert item.good is False
    polite = result("polite", "response", "choices", choices=["Yes"])
    assert read_results(tmp_path, polite, data=ONE).of(Label)[0].good is True


def test_a_ranking_orders_the_items_of_a_list(tmp_path):
    order = {"ranker": {"rank": ["puma", "llama", "cobra"]}}
    case = read_results(tmp_path, result("rank", "answers", "ranker", **order), data=ITEMS)
    (ranking,) = case.of(Ranking)
    assert ranking.tiers == (("puma",), ("llama",), ("cobra",))
    assert case.text("puma") == "No."
    assert case.interaction.response("puma").metadata == {"title": "Puma"}
    spoiled = result("rank", "answers", "ranker", ranker={"rank": ["lion", "llama"]})
    assert "there is no item 'lion'" in read_reason(tmp_path, spoiled, data=ITEMS)


def test_buckets_are_labels_or_critiques_and_no_order(tmp_path):
    buckets = {"_": ["cobra"], "good": ["puma"], "biased_results": ["llama"]}
    case = read_results(tmp_path, result("rank", "answers", "ranker", ranker=buckets), data=ITEMS)
    assert case.of(Ranking) == []
    assert [(item.response, item.good) for item in case.of(Label)] == [("puma", True)]
    assert [(item.response, item.text) for item in case.of(Critique)] == [
        ("llama", "biased_results")
    ]
    assert case.interaction.metadata["left_out"] == {"unplaced_items": 1}


def test_ratings_are_on_a_named_scale(tmp_path):
    seven = result("likert", "answer1", "rating", rating=7)
    assert "scale=likert=LOW-HIGH" in read_reason(tmp_path, seven)
    case = read_results(tmp_path, seven, RATED, scale="likert=1-7")
    assert [(item.aspect, item.value, item.scale.high) for item in case.of(Rating)] == [
        ("likert", 7, 7),
        ("overall", 2, 5),
    ]
    number = result("percent", "answer1", "number", number=40)
    assert read_results(tmp_path, number, scale="0-100").of(Rating)[0].normalised == 0.4


def test_texts_are_edits_and_demonstrations_if_an_option_says_so(tmp_path):
    text = result("fix", "response", "textarea", text=["Yes, from nine."])
    assert read_results(tmp_path, text, data=ONE).of(Critique)[0].text == "Yes, from nine."
    assert read_results(tmp_path, text, data=ONE, edit="fix").of(Edit)[0].text == "Yes, from nine."
    alone = {"prompt": "Is it open?"}
    assert "demonstration=fix" in read_reason(tmp_path, text, data=alone)
    (item,) = read_results(tmp_path, text, data=alone, demonstration="fix").of(Demonstration)
    assert item.text == "Yes, from nine."


@pytest.mark.parametrize("offsets", [(7, 13), (8, 14)])
def test_the_marked_text_tells_the_unit_of_the_offsets(offsets, tmp_path):
    case = read_results(tmp_path, mark("marks", "response", *offsets, "rocket", "Odd"), data=ONE)
    (spans,) = case.of(Spans)
    assert [(span.start, span.end, span.label) for span in spans.spans] == [(7, 13, "Odd")]


def test_a_mark_without_its_text_needs_the_unit(tmp_path):
    bare = result("marks", "response", "labels", start=8, end=14, labels=["Odd"])
    (spans,) = read_results(tmp_path, bare, data=ONE, offsets="utf-16").of(Spans)
    assert spans.spans[0].start == 7
    unusual = Unusual()
    with unusual.collect_notes():
        (spans,) = read_results(tmp_path, bare, data=ONE).of(Spans)
    assert "offsets" in spans.metadata
    assert any("offsets=utf-16" in note for note in unusual.notes)


def test_spans_have_the_comments_on_their_regions(tmp_path):
    marked = mark("marks", "response", 0, 4, "Yeah", "Informal", "Vague")
    comment = {
        **result("why", "response", "textarea", start=0, end=4, text=["Say yes."]),
        "id": marked["id"],
    }
    case = read_results(tmp_path, comment, marked, data=ONE)
    (spans,) = case.of(Spans)
    assert [(span.label, span.comment) for span in spans.spans] == [
        ("Informal", "Say yes."),
        ("Vague", "Say yes."),
    ]
    assert len(case.feedback) == 1


@pytest.mark.parametrize("to_name", ["prompt", "txt"])
def test_marks_on_the_prompt_are_left_out(to_name, tmp_path):
    case = read_results(tmp_path, mark("marks", to_name, 3, 5, "it", "Vague"), data=ONE)
    assert case.feedback == ()
    assert case.interaction.metadata["left_out"] == {"marks_on_prompt": 1}


def test_a_mark_that_is_nowhere_is_refused(tmp_path):
    lost = mark("marks", "response", 1, 4, "one", "Odd")
    assert "'one' is not at the offsets 1 to 4" in read_reason(tmp_path, lost, data=ONE)
    unclear = mark("marks", "txt", 0, 1, "4", "Odd")
    assert "about=marks=FIELD" in read_reason(tmp_path, unclear, data={**PAIR, "answer2": "4"})
    case = read_results(tmp_path, unclear, about="marks=answer1")
    assert case.of(Spans)[0].response == "answer1"


def test_the_last_turn_of_a_dialogue_is_the_response(tmp_path):
    turn = {"start": "3", "end": "3", "startOffset": 3, "endOffset": 7, "text": "nine"}
    other = {"start": "1", "end": "1", "startOffset": 0, "endOffset": 3, "text": "Yes"}
    case = read_results(
        tmp_path,
        result("overall", "dialogue", "rating", rating=4),
        result("label", "dialogue", "paragraphlabels", **turn, paragraphlabels=["Vague"]),
        result("label", "dialogue", "paragraphlabels", **other, paragraphlabels=["Vague"]),
        data=DIALOGUE,
    )
    assert [message.role for message in case.interaction.prompt] == ["user", "assistant", "user"]
    assert case.text("messages") == "At nine, I think."
    assert case.of(Rating)[0].value == 4
    (spans,) = case.of(Spans)
    assert [(span.start, span.end) for span in spans.spans] == [(3, 7)]
    assert case.interaction.metadata["left_out"] == {"marks_on_prompt": 1}


def test_paragraphs_with_authors_are_a_dialogue(tmp_path):
    turns = [{"author": "User:", "text": "Open?"}, {"author": "Assistant:", "text": "Yes."}]
    rated = result("rating", "dialogue", "rating", rating=4)
    case = read_results(tmp_path, rated, data={"dialogue": turns})
    assert (case.interaction.prompt[0].text, case.text("dialogue")) == ("Open?", "Yes.")
    turns[0]["author"] = "Mia Wallace"
    assert "dialogue.0.from: expected one of" in read_reason(
        tmp_path, rated, data={"dialogue": turns}
    )


def test_a_mark_in_html_is_where_its_text_stands(tmp_path):
    data = {"prompt": "Is it open?", "response": "<p>Yes, <b>from nine</b>.</p>"}
    value = {
        "start": "/p[1]/b[1]/text()[1]",
        "end": "/p[1]/b[1]/text()[1]",
        "startOffset": 0,
        "endOffset": 9,
        "globalOffsets": {"start": 5, "end": 14},
        "text": "from nine",
        "hypertextlabels": ["Odd"],
    }
    (spans,) = read_results(
        tmp_path, result("label", "response", "hypertextlabels", **value), data=data
    ).of(Spans)
    assert data["response"][spans.spans[0].start : spans.spans[0].end] == "from nine"


def test_a_control_with_two_results_is_refused(tmp_path):
    assert "has two results" in read_reason(tmp_path, RATED, RATED)


def test_a_field_that_looks_like_a_prompt_or_a_verdict_must_have_a_place(tmp_path):
    data = {**PAIR, "reward": 0.3}
    assert "data.reward: it is neither the prompt nor a response" in read_reason(
        tmp_path, SELECTED, data=data
    )
    case = read_results(tmp_path, SELECTED, data=data, responses="answer1,answer2")
    assert case.interaction.metadata["reward"] == 0.3
    both = {**PAIR, "question": "3 + 3?"}
    assert "both prompt and question could be the prompt" in read_reason(tmp_path, data=both)


def test_a_document_is_the_prompt_if_there_is_no_other(tmp_path):
    rated = result("rating", "summary", "rating", rating=4)
    data = {"document": ["One.", "Two."], "summary": "Both."}
    case = read_results(tmp_path, rated, data=data)
    assert (case.interaction.prompt[0].text, case.text("summary")) == ("One.\nTwo.", "Both.")
    both = {**data, "text": "Three."}
    assert "both document and text could be the prompt" in read_reason(tmp_path, data=both)
    asked = {**data, "prompt": "Summarise."}
    assert "document: it is neither the prompt nor" in read_reason(tmp_path, data=asked)


def test_an_instruction_with_a_context_is_one_prompt(tmp_path):
    data = {"system": "Be brief.", "instruction": "Add.", "input": "2, 2", "response": "4"}
    rated = result("rating", "response", "rating", rating=4)
    case = read_results(tmp_path, rated, data=data)
    assert [message.text for message in case.interaction.prompt] == ["Be brief.", "Add.\n2, 2"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": {"topic": "sums"}}, "the prompt is in none of the fields topic"),
        (
            {"annotations": [{"result": [{"value": {}}]}]},
            "annotations.0.result.0.from_name: missing",
        ),
        ({"annotations": [{"result": 3}]}, "annotations.0.result: expected a list, got 3"),
    ],
)
def test_a_spoiled_task_is_set_aside(change, reason, tmp_path):
    assert reason in read_reason(tmp_path, row={**task(), **change})


def test_json_min_gives_the_feedback_of_json(tmp_path):
    row = task(annotation(1, 1, SELECTED, CHOSEN, RATED, WRITTEN))
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert read_case(write_rows(tmp_path / "y.jsonl", JSON_MIN)) == case


def test_json_min_has_several_choices_and_marks(tmp_path):
    row = {
        **{name: ONE[name] for name in ("prompt", "response")},
        "id": 7,
        "marks": [{"start": 8, "end": 14, "text": "rocket", "labels": ["Odd"]}],
        "faults": {"choices": ["Rude", "Long"]},
        "rank": [],
        **{name: JSON_MIN[name] for name in list(JSON_MIN)[-5:]},
        "agreement": 50.0,
    }
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert [item.text for item in case.of(Critique)] == ["Rude", "Long"]
    assert case.of(Spans)[0].spans[0].start == 7


def test_columns_in_another_order_must_be_named(tmp_path):
    path = tmp_path / "x.csv"
    names = sorted(JSON_MIN)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        cells = (JSON_MIN[name] for name in names)
        writer.writerow([json.dumps(cell) if isinstance(cell, list) else cell for cell in cells])
    (bad,) = read(path)
    assert "questions=NAME,NAME" in bad.reason
    case = read_case(path, options={"questions": "comparison,tone_1,stars_2,remark"})
    other = read_case(write_rows(tmp_path / "y.jsonl", JSON_MIN))
    assert case.interaction == other.interaction
    assert sorted(case.feedback, key=str) == sorted(other.feedback, key=str)

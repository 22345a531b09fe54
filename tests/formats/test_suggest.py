"""Suggestions of a mapping for a table."""

import json

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backtalk.errors import BacktalkError
from backtalk.feedback import Preference, Rating
from backtalk.formats import RowMapping, suggest_line, suggest_mapping
from backtalk.formats.suggest import explain_placeholders
from backtalk.formats.suggest.values import columns_of


def chat(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


PAIR = {"prompt": "Is it open?", "reply_a": "Yes, it is.", "reply_b": "No, it is not."}
ANSWER = {"prompt": "Is it open?", "completion": "Go away."}


def fields_of(text):
    return yaml.safe_load(text)


def read_rows(*rows):
    """Return the cases that the suggested mapping reads from its own sample rows."""
    mapping, doubts = RowMapping.from_yaml(suggest_mapping(rows)).resolve(rows)
    assert doubts == []
    return [case for row in rows for case in mapping.parse(row)]


@pytest.mark.parametrize(
    ("row", "column", "line"),
    [
        (
            ANSWER | {"reward": -3.2},
            "reward",
            (
                "{prompt: prompt, responses: [completion], "
                "feedback: [{kind: rating, column: reward, scale: LOW-HIGH}]}"
            ),
        ),
        (
            ANSWER | {"thumbs": "up"},
            "thumbs",
            "{prompt: prompt, responses: [completion], feedback: [{kind: label, column: thumbs}]}",
        ),
        (
            ANSWER | {"label": True, "worker_id": "w1"},
            "worker_id",
            (
                "{prompt: prompt, responses: [completion], "
                "feedback: [{kind: label, column: label, annotator: worker_id}]}"
            ),
        ),
        (
            PAIR | {"better_response_id": 0},
            "better_response_id",
            (
                "{prompt: prompt, responses: [reply_a, reply_b], "
                "feedback: [{kind: preference, column: better_response_id, a: FIRST, b: SECOND}]}"
            ),
        ),
        (
            {"messages": chat("Hi", "Go away."), "label": False},
            "label",
            "{conversation: [messages], feedback: [{kind: label, column: label}]}",
        ),
        (
            ANSWER | {"trajectory": [1, 2]},
            "trajectory",
            (
                "{prompt: prompt, feedback: [{kind: demonstration, column: completion}], "
                "metadata: [trajectory]}"
            ),
        ),
    ],
)
def test_the_line_for_a_column_reads_it(row, column, line):
    assert suggest_line(row, column) == line
    assert column in str(fields_of(line))


def test_placeholders_are_explained():
    line = suggest_line(ANSWER | {"score": 3}, "score")
    assert explain_placeholders(line).startswith("LOW-HIGH stands for the worst and the best")
    assert explain_placeholders(suggest_line(ANSWER | {"label": 1}, "label")) == ""


def test_ratings_have_the_scale_of_the_rows_and_a_question():
    rows = [ANSWER | {"stars": stars} for stars in (2, 4)]
    text = suggest_mapping(rows)
    assert "# stars runs from 2 to 4 here. What are the worst and the best value?" in text
    assert fields_of(text)["feedback"] == [{"kind": "rating", "column": "stars", "scale": "1-5"}]
    assert [case.of(Rating)[0].value for case in read_rows(*rows)] == [2, 4]


def test_rewards_without_bounds_have_the_range_of_the_rows():
    (case, _) = read_rows(ANSWER | {"reward": -3.2}, ANSWER | {"reward": 2.25})
    assert (case.of(Rating)[0].scale.low, case.of(Rating)[0].scale.high) == (-4, 3)


@pytest.mark.parametrize("column", ["better_response_id", "winner"])
def test_numbers_that_could_count_from_zero_are_left_open(column):
    text = suggest_mapping([PAIR | {column: number} for number in (0, 1)])
    assert "Which is the first answer, reply_a? Say a: VALUE and b: VALUE" in text
    assert "As it stands, it rejects 2 of 2 rows" in text
    (item,) = fields_of(text)["feedback"]
    assert not {"a", "b"} & set(item)


def test_numbers_that_count_from_one_need_no_question():
    cases = read_rows(*(PAIR | {"winner": number} for number in (1, 2)))
    assert [case.of(Preference)[0].verdict for case in cases] == ["a", "b"]


def test_a_winner_named_by_its_model():
    row = PAIR | {"model_a": "small", "model_b": "large", "winner": "large"}
    cases = read_rows(row, row | {"winner": "tie"})
    assert [case.of(Preference)[0].verdict for case in cases] == ["b", "tie"]
    assert [response.model for response in cases[0].interaction.responses] == ["small", "large"]


def test_a_winner_named_by_its_column():
    cases = read_rows(PAIR | {"preferred": "reply_b"}, PAIR | {"preferred": "reply_a"})
    assert [case.of(Preference)[0].verdict for case in cases] == ["b", "a"]


def test_the_sign_of_a_strength_is_left_open():
    text = suggest_mapping([PAIR | {"preference_strength": number} for number in (-2, 3)])
    assert "Which answer do the positive numbers of preference_strength prefer?" in text


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ({"prompt": "Hi there", "chosen": "Good day.", "rejected": "What."}, ["preference"]),
        ({"chosen": chat("Hi", "Hello."), "rejected": chat("Hi", "What.")}, ["preference"]),
        ({"messages": chat("Hi", "Hello."), "kto_tag": True}, ["label"]),
        ({"instruction": "Sum up", "input": "A text.", "output": "Short."}, ["demonstration"]),
        (ANSWER | {"errors": [{"start": 0, "end": 2, "type": "rude"}]}, ["spans"]),
        (ANSWER | {"scores": '{"helpful": 2, "polite": 1}'}, ["rating", "rating"]),
        (ANSWER | {"scores": "[{'name': 'helpful', 'value': 2}]"}, ["rating"]),
        ({"prompt": "2 + 2?", "completions": ["Two", "4"], "labels": [True, False]}, ["steps"]),
        (ANSWER | {"passed": "1.0"}, ["outcome"]),
        (PAIR | {"rank_a": 2, "rank_b": 1}, ["ranking"]),
        (ANSWER | {"correction": "Please come in."}, ["edit"]),
        (PAIR | {"score_a": 4, "score_b": 2}, ["rating", "rating"]),
        ({"question": "Is it open?", "text": "Yes, it is.", "thumb": "down"}, ["label"]),
        (
            {
                "conversation_a": chat("Q", "1"),
                "conversation_b": chat("Q", "2"),
                "winner": "model_b",
            },
            ["preference"],
        ),
        ({"feedback": "Please be brief.", "date": "2026-01-02"}, ["critique"]),
    ],
)
def test_the_mapping_reads_its_own_sample_rows(row, kinds):
    mapping = RowMapping.from_yaml(suggest_mapping([row]))
    (content,) = mapping.parse(row)
    feedback = getattr(content, "feedback", (content,))
    for item in feedback:
        if content is not item:
            item.check(content.interaction)
    assert [item.kind for item in feedback] == kinds


def test_facts_and_people_become_fields():
    row = ANSWER | {"stars": 3, "rater": "ada", "created_at": "2026-01-02T03:04:05Z", "id": 7}
    fields = fields_of(suggest_mapping([row]))
    assert (fields["time"], fields["id"]) == ("created_at", "id")
    assert fields["feedback"][0]["annotator"] == "rater"


def test_columns_of_one_response_are_matched_by_name():
    (first, second) = fields_of(suggest_mapping([PAIR | {"score_a": 4, "score_b": 2}]))["feedback"]
    assert ("response" in first, second["response"]) == (False, 1)


def test_flags_that_are_true_for_a_bad_answer_are_a_question():
    text = suggest_mapping([ANSWER | {"disliked": True}, ANSWER | {"disliked": False}])
    assert "Does true in disliked mean that the answer is bad?" in text
    (item,) = fields_of(text)["feedback"]
    assert True in item["bad"]


def test_a_table_without_a_verdict_says_so():
    text = suggest_mapping([ANSWER])
    assert "# No column has a verdict. Is completion a model answer to imitate?" in text.replace(
        "\n  ", "\n"
    )


def test_rows_without_values_have_no_suggestion():
    with pytest.raises(BacktalkError, match="nothing to suggest"):
        suggest_mapping([{"": 3, "prompt": None}])


NAMES = st.sampled_from(
    [
        "prompt", "question", "input", "answer", "answer_a", "answer b", "chosen", "rejected",
        "score", "is_bad", "winner", "preference_strength", "rank_a", "rank_b", "messages",
        "conversation", "user", "judge", "confidence", "errors", "labels", "id", "x: y", "a.b",
        "a[0]", "yes", "🚀", "margin", "feedback", "model", "system", "created_at", "completions",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 7),
    st.floats(-2, 2),
    st.text(max_size=30),
    st.sampled_from(["up", "a", "nan", "model_b", "2026-01-02", "[1, 2]", '{"a": 1}', "'"]),
    st.lists(st.text(max_size=3), max_size=2),
    st.just(chat("Hi", "Hello.")),
    st.fixed_dictionaries({"start": st.integers(0, 3), "end": st.integers(0, 9)}).map(
        lambda item: [item]
    ),
    st.dictionaries(st.sampled_from(["a b", "tone", "x=y"]), st.integers(), max_size=2),
    st.fixed_dictionaries({"name": st.text(max_size=3), "value": st.integers()}).map(
        lambda item: [item]
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=7), min_size=1, max_size=3))
def test_every_suggestion_is_a_valid_mapping(rows):
    assume(any(columns_of(rows)))
    text = suggest_mapping(rows)
    assert RowMapping.from_yaml(text).feedback
    for column in rows[0]:
        assert isinstance(fields_of(suggest_line(rows[0], column)), dict)


# Columns beside a better and a worse answer

CHOSEN = {"prompt": "Is it open?", "chosen": "Yes, it is.", "rejected": "No, it is not."}


def feedback_line(row, column):
    """Return the responses and the feedback of the suggested line."""
    fields = fields_of(suggest_line(row, column))
    return fields["responses"], fields["feedback"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("winner", "model_a"), ("preferred", "B"), ("better", "rejected"), ("label", 0)],
)
def test_a_result_beside_chosen_and_rejected_does_not_turn_them_into_remarks(column, value):
    responses, feedback = feedback_line(CHOSEN | {column: value}, column)
    assert responses == ["chosen", "rejected"]
    assert feedback == [{"kind": "preference", "column": column, "a": "FIRST", "b": "SECOND"}]


@pytest.mark.parametrize(("column", "verdict"), [("is_tie", "tie"), ("both_bad", "both_bad")])
@pytest.mark.parametrize("flag", [True, False])
def test_a_flag_of_a_tie_beside_chosen_and_rejected_decides(column, verdict, flag):
    (case,) = read_rows(CHOSEN | {column: flag})
    assert [item.verdict for item in case.of(Preference)] == [verdict if flag else "a"]


@pytest.mark.parametrize("name", ["answer", "response", "correct_answer", "reference_output"])
def test_a_further_answer_beside_a_pair_is_a_demonstration(name):
    _, feedback = feedback_line(CHOSEN | {name: "It opens at nine."}, name)
    assert {"kind": "demonstration", "column": name} in feedback


def test_scores_by_the_names_of_the_answers_are_about_these_answers():
    (case,) = read_rows(CHOSEN | {"ratings": {"chosen": 4, "rejected": 2}})
    ratings = [(item.response, item.value, item.aspect) for item in case.of(Rating)]
    assert ratings == [("0", 4, "overall"), ("1", 2, "overall")]


@pytest.mark.parametrize("name", ["hallucination", "flagged", "is_toxic", "downvoted"])
def test_a_flag_of_a_fault_means_bad(name):
    _, (item,) = feedback_line(ANSWER | {name: True}, name)
    assert (item["good"], item["bad"]) == ([False, 0], [True, 1])


@pytest.mark.parametrize("value", [["bad", "rude"], [{"label": "bad"}]])
def test_an_answer_with_a_list_of_labels_is_not_a_demonstration(value):
    row = ANSWER | {"labels": value}
    assert feedback_line(row, "labels") == (["completion"], [{"kind": "KIND", "column": "labels"}])
    assert "demonstration" not in suggest_mapping([row])


def test_a_document_follows_the_question():
    row = CHOSEN | {"document": "Open from nine to five."}
    assert fields_of(suggest_line(row, "document"))["prompt"] == ["prompt", "document"]


@pytest.mark.parametrize("as_text", [True, False])
def test_the_prompt_and_the_answer_inside_logged_calls_are_named_by_their_paths(as_text):
    request = {"model": "m", "messages": chat("Is it open?")}
    response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}]}
    cell = json.dumps if as_text else dict
    row = {"request": cell(request), "response": cell(response), "thumb": "up", "ts": "2026-01-02"}
    fields = fields_of(suggest_mapping([row]))
    assert (fields["prompt"], fields["responses"]) == (
        "request.messages",
        ["response.choices[0].message.content"],
    )
    (case,) = read_rows(row)
    assert case.interaction.prompt[-1].content == "Is it open?"
    assert case.interaction.responses[0].text == "Yes."
    assert case.feedback[0].good is True
    assert case.interaction.time is not None


def test_columns_named_after_raters_by_number_have_their_verdicts():
    text = suggest_mapping([ANSWER | {"rater_1": 4, "rater_2": 5}, ANSWER | {"rater_1": 1}])
    assert "Does rater_1 have the verdicts of one rater, and no names?" in text
    (case, _) = read_rows(ANSWER | {"rater_1": 4, "rater_2": 5}, ANSWER | {"rater_1": 1})
    assert {item.annotator.id: item.value for item in case.feedback} == {"rater_1": 4, "rater_2": 5}


def test_names_in_columns_of_annotators_stay_people():
    fields = fields_of(suggest_mapping([ANSWER | {"score": 3, "rater_1": "ada", "rater_2": "bo"}]))
    assert fields["feedback"] == [
        {"kind": "rating", "column": "score", "scale": "1-5", "annotator": "rater_1"}
    ]
    assert fields["metadata"] == ["rater_2"]


def test_a_column_that_repeats_one_of_two_answers_prefers_it():
    rows = [PAIR | {"best_answer": PAIR["reply_b"]}, PAIR | {"best_answer": PAIR["reply_a"]}]
    assert "Does best_answer repeat the better answer?" in suggest_mapping(rows)
    assert [case.feedback[0].verdict for case in read_rows(*rows)] == ["b", "a"]


def test_a_column_of_models_is_no_answer():
    row = {"prompt": "Open?", "model_left": "m1", "model_right": "m2", "left": "Yes", "right": "No"}
    fields = fields_of(suggest_mapping([row | {"winner": "m1"}]))
    assert fields["responses"] == [
        {"text": "left", "model": "model_left"},
        {"text": "right", "model": "model_right"},
    ]


def test_a_table_without_an_answer_says_so_and_keeps_its_scores():
    text = suggest_mapping([{"transcript": "Customer: Open?", "csat": 5, "resolved": "yes"}])
    assert "No column looks like the answer" in text
    assert fields_of(text)["metadata"] == ["csat"]


def test_an_answer_without_a_text_is_named_by_its_message():
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    row = {"prompt": "Open?", "response": {"choices": [{"message": message}]}, "rating": 4}
    assert fields_of(suggest_mapping([row]))["responses"] == ["response.choices[0].message"]
    (case,) = read_rows(row)
    assert case.interaction.responses[0].messages[0].tool_calls

"""Import formats: recognition of layouts, and the records that their rows become."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import (
    Critique,
    Demonstration,
    Edit,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Spans,
    Steps,
)
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.formats.importers.trl import trl_preference
from tests.formats.samples import (
    CHAT,
    SAMPLES,
    VARIANTS,
    all_samples,
    answer,
    read_case,
    write_rows,
)
from tests.formats.trace_tool_rows import TRACE_TOOLS
from tests.strategies import texts


def read_sample(name, tmp_path, **options):
    return read_case(write_rows(tmp_path / f"{name}.jsonl", SAMPLES[name]), **options)


@pytest.mark.parametrize(("name", "row"), all_samples())
def test_a_layout_is_recognised_by_its_fields(name, row, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", row)
    assert list(read(path)) == list(read(path, format=name))
    needs_an_option = name == "alpaca-eval" and "output" in row
    assert isinstance(next(read(path)), RejectedRow if needs_an_option else ParsedRow)


@pytest.mark.parametrize(("name", "row"), all_samples())
def test_equal_rows_have_equal_ids_and_reworded_rows_have_others(name, row, tmp_path):
    if name in {"backtalk", "alpaca-eval", *TRACE_TOOLS}:  # ids are those of the file
        return
    first, again = (
        list(read(write_rows(tmp_path / file, row), format=name)) for file in ("a.jsonl", "b.jsonl")
    )
    assert [item.cases for item in first] == [item.cases for item in again]
    other = list(read(write_rows(tmp_path / "c.jsonl", _reworded(row)), format=name))
    ids, others = (
        {case.interaction.id for item in items for case in item.cases} for items in (first, other)
    )
    assert not ids & others


_REWORDINGS = {
    "2 + 2?": "3 + 1?",
    "Who?": "Whose?",
    "def double(x):\n": "def twice(x):\n",
    "c#": "f#",
    "colour": "shade",
    "signal": "sign",
    "open a": "shut a",
    "bread": "rice",
    "sky": "sea",
    "Can I get": "Will there be",
    "on Monday": "on Sunday",
    "two numbers": "three numbers",
}


def _reworded(value):
    if isinstance(value, dict):
        return {name: _reworded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_reworded(item) for item in value]
    if isinstance(value, str):
        for words, others in _REWORDINGS.items():
            value = value.replace(words, others)
    return value


def test_every_format_has_a_sample_and_links_to_its_layout():
    assert set(SAMPLES) == set(FORMATS)
    assert all(item.title and item.source and item.parse.__doc__ for item in FORMATS.values())


def test_preferences_in_every_layout_of_pairs(tmp_path):
    rows = [(name, SAMPLES[name]) for name in ("trl-preference", "openai-preference", "hh-rlhf")]
    rows += [("trl-preference", row) for row in VARIANTS["trl-preference"] if "prompt" in row]
    rows += [("trl-preference", VARIANTS["trl-preference"][1])]
    for name, row in rows:
        case = read_case(write_rows(tmp_path / "x.jsonl", row), format=name)
        (pair,) = views(case, Pair)
        assert (pair.chosen, pair.rejected) == ("4", "5"), row
        assert [(message.role, message.text) for message in pair.prompt] == [("user", "2 + 2?")]
        assert case.interaction.shown is None


@given(prompt=texts, chosen=texts, rejected=texts)
def test_texts_and_messages_with_the_same_content_are_equal(prompt, chosen, rejected):
    assume(chosen != rejected and prompt.strip())
    (plain,) = trl_preference({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    (chat,) = trl_preference(
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [answer(chosen)],
            "rejected": [answer(rejected)],
        }
    )
    assert plain == chat


def test_other_columns_of_a_pair_are_metadata(tmp_path):
    row = {**SAMPLES["trl-preference"], "split": "test", "empty": None}
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert case.interaction.metadata == {"split": "test"}


def test_responses_with_tool_calls_have_all_messages(tmp_path):
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    row = {
        "prompt": CHAT,
        "chosen": [{"role": "assistant", "content": None, "tool_calls": [call]}],
        "rejected": [answer("5")],
    }
    with_call, plain = read_case(write_rows(tmp_path / "x.jsonl", row)).interaction.responses
    assert with_call.messages[0].tool_calls == (call,)
    assert plain.messages == ()


def test_a_judges_probability_counts_for_the_first_output(tmp_path):
    case = read_sample("alpaca-eval", tmp_path)
    (item,) = case.of(Preference)
    assert (item.verdict, item.probability, item.annotator.id) == ("a", 0.75, "judge")
    assert [response.model for response in case.interaction.responses] == ["m", "n"]


@pytest.mark.parametrize(
    ("preference", "verdict", "probability"),
    [(1, "a", 1), (2, "b", 0), (1.5, "tie", 0.5), (0, "tie", 0.5)],
)
def test_annotations_of_alpaca_eval_go_from_one_to_two(preference, verdict, probability, tmp_path):
    row = {**SAMPLES["alpaca-eval"], "preference": preference}
    (item,) = read_case(write_rows(tmp_path / "x.jsonl", row)).of(Preference)
    assert (item.verdict, item.probability) == (verdict, probability)


@pytest.mark.parametrize("preference", [2.5, -1, "much", None])
def test_a_preference_off_the_scale_is_rejected(preference, tmp_path):
    row = {**SAMPLES["alpaca-eval"], "preference": preference}
    (bad,) = read(write_rows(tmp_path / "x.jsonl", row), format="alpaca-eval")
    assert isinstance(bad, RejectedRow)
    assert bad.reason.startswith("preference:")


def test_checked_steps(tmp_path):
    case = read_sample("trl-stepwise", tmp_path)
    (item,) = case.of(Steps)
    text = case.text("0")
    assert [(text[step.start : step.end], step.verdict) for step in item.steps] == [
        ("Two", "right"),
        ("Four", "wrong"),
    ]


def prm800k(tmp_path, **changes):
    label = {**SAMPLES["prm800k"]["label"], **changes.pop("label", {})}
    question = {**SAMPLES["prm800k"]["question"], **changes.pop("question", {})}
    row = {**SAMPLES["prm800k"], "label": label, "question": question, **changes}
    return read_case(write_rows(tmp_path / "x.jsonl", row))


def verdicts(case):
    return {
        item.response: [
            (case.text(item.response)[step.start : step.end], step.verdict) for step in item.steps
        ]
        for item in case.of(Steps)
    }


def test_every_alternative_of_prm800k_is_a_response_on_the_chosen_path(tmp_path):
    case = prm800k(tmp_path)
    assert verdicts(case) == {
        "0.1": [("A guess.", "wrong")],
        "1.0": [("Two and two.", "right"), ("Five.", "wrong")],
    }
    assert {item.annotator.id for item in case.feedback} == {"ada"}
    assert case.interaction.time.isoformat() == "2022-07-17T17:16:36+00:00"


def test_a_step_written_by_the_labeler_continues_the_path(tmp_path):
    wrong = [{"text": "Five.", "rating": -1, "flagged": True}]
    steps = [
        {"completions": wrong, "human_completion": "Two more.", "chosen_completion": None},
        {
            "completions": [{"text": "Four.", "rating": 0, "flagged": False}],
            "human_completion": None,
            "chosen_completion": 0,
        },
    ]
    case = prm800k(tmp_path, label={"steps": steps, "finish_reason": "solution"})
    assert verdicts(case)["chosen"] == [("Two more.", "right"), ("Four.", "neutral")]
    assert case.interaction.response("chosen").metadata == {"labeler_steps": [0]}
    assert [item.text for item in case.of(Demonstration)] == ["Two more.\nFour."]


def test_the_verifiers_score_is_about_the_generated_solution(tmp_path):
    question = {
        "pre_generated_steps": ["Two and two.", "Five.", "Six."],
        "pre_generated_verifier_score": 0.25,
        "ground_truth_solution": "It is 4.",
    }
    case = prm800k(tmp_path, question=question)
    (item,) = case.of(Rating)
    assert (item.value, item.annotator.kind) == (0.25, "model")
    assert case.text(item.response) == "Two and two.\nFive.\nSix."
    assert [item.text for item in case.of(Demonstration)] == ["It is 4."]


def test_ratings_and_critiques_of_ultrafeedback(tmp_path):
    case = read_sample("ultrafeedback", tmp_path)
    values = {item.aspect: (item.value, item.scale.high) for item in case.of(Rating)}
    assert values == {"overall": (9, 10), "honesty": (5, 5)}
    assert {item.text for item in case.of(Critique)} == {"Right.", "Sure."}
    assert {item.annotator.kind for item in case.feedback} == {"model"}


def test_a_rating_that_is_not_applicable_is_skipped(tmp_path):
    row = {**SAMPLES["ultrafeedback"]}
    annotations = {"truthfulness": {"Rating": "N/A", "Rationale": "Fine.", "Type": ["None"]}}
    row["completions"] = [{"response": "4", "model": "m", "annotations": annotations}]
    case = read_case(write_rows(tmp_path / "x.jsonl", row))
    assert case.of(Rating) == []
    assert [item.text for item in case.of(Critique)] == ["Fine."]


def test_scores_of_binarized_ultrafeedback_are_a_strength(tmp_path):
    (row,) = VARIANTS["ultrafeedback"]
    (item,) = read_case(write_rows(tmp_path / "x.jsonl", row)).of(Preference)
    assert (item.verdict, item.strength) == ("a", 0.5)
    tied = {**row, "score_rejected": 8.5}
    (item,) = read_case(write_rows(tmp_path / "y.jsonl", tied)).of(Preference)
    assert (item.verdict, item.strength) == ("tie", None)


def test_fine_grained_feedback_compares_every_pair_of_responses(tmp_path):
    case = read_sample("fine-grained-qa", tmp_path)
    assert [(item.a, item.b, item.verdict) for item in case.of(Preference)] == [
        ("1", "2", "a"),
        ("1", "3", "b"),
        ("1", "4", "tie"),
        ("2", "3", "a"),
        ("2", "4", "b"),
        ("3", "4", "tie"),
    ]
    (marked,) = case.of(Spans)
    (span,) = marked.spans
    assert case.text("1")[span.start : span.end] == "was"
    assert [item.text for item in case.of(Critique)] == [
        "Missing information: One sentence. Another."
    ]
    assert [item.text for item in case.of(Edit)] == ["It is ada."]
    assert [item.text for item in case.of(Demonstration)] == ["Ada."]


def test_a_repair_is_an_edit_and_the_response_that_was_tested(tmp_path):
    case = read_sample("ilf-mbpp", tmp_path)
    assert case.text("original") == "    return x\n"
    (edit,), (outcome,) = case.of(Edit), case.of(Outcome)
    assert edit.text == case.text(outcome.response) == "    return 2 * x\n"
    assert (outcome.passed, outcome.annotator.kind) == (True, "verifier")


def test_solutions_are_passed_by_the_answer_key(tmp_path):
    case = read_sample("gsm8k-solutions", tmp_path)
    passed = {
        case.interaction.response(item.response).model: item.passed for item in case.of(Outcome)
    }
    assert passed == {"6B_finetuning": False, "175B_verification": True}


def test_ranks_of_replies(tmp_path):
    case = read_sample("openassistant", tmp_path)
    (item,) = case.of(Ranking)
    assert [case.text(id_) for tier in item.tiers for id_ in tier] == ["4", "5"]


MESSAGES = [
    {"message_id": "t", "parent_id": None, "role": "prompter", "text": "2 + 2?", "user_id": "u"},
    {
        "message_id": "a",
        "parent_id": "t",
        "role": "assistant",
        "text": "4",
        "rank": 0,
        "review_result": True,
        "labels": {
            "spam": {"value": 0.25, "count": 4},
            "quality": {"value": 0.75, "count": 3},
            "lang_mismatch": None,
        },
    },
    {"message_id": "b", "parent_id": "t", "role": "assistant", "text": "5", "rank": 1},
    {"message_id": "c", "parent_id": "t", "role": "assistant", "text": "!", "deleted": True},
    {"message_id": "d", "parent_id": "a", "role": "prompter", "text": "Sure?"},
    {"message_id": "e", "parent_id": "d", "role": "assistant", "text": "Yes."},
]


def test_single_messages_are_combined_into_trees(tmp_path):
    (row,) = read(write_rows(tmp_path / "x.jsonl", *reversed(MESSAGES)))
    first, second = row.cases
    assert sorted(response.text for response in first.interaction.responses) == ["4", "5"]
    assert [(m.role, m.text) for m in second.interaction.prompt] == [
        ("user", "2 + 2?"),
        ("assistant", "4"),
        ("user", "Sure?"),
    ]
    assert second.interaction.parent == first.interaction.id
    assert second.interaction.session == first.interaction.session == "t"
    assert first.interaction.user == "u"


def test_labels_of_something_bad_become_ratings_of_its_absence(tmp_path):
    (row,) = read(write_rows(tmp_path / "x.jsonl", *MESSAGES))
    values = {item.aspect: item.value for item in row.cases[0].of(Rating)}
    assert values == {"no_spam": 0.75, "quality": 0.75}
    (review,) = row.cases[0].of(Label)
    assert (review.response, review.good, review.aspect) == ("a", True, "review")


def test_labels_in_the_columns_of_a_parquet_file_are_read(tmp_path):
    names = {name: None for message in MESSAGES for name in message}
    columns = [{**names, **message} for message in MESSAGES]
    columns[1]["labels"] = {
        "name": ["spam", "quality"],
        "value": [0.25, 0.75],
        "count": [4, 3],
    }
    pq.write_table(pa.Table.from_pylist(columns), tmp_path / "x.parquet")
    (row,) = read(tmp_path / "x.parquet")
    (same,) = read(write_rows(tmp_path / "x.jsonl", *MESSAGES))
    assert [item.id for item in row.cases[0].of(Rating)] == [
        item.id for item in same.cases[0].of(Rating)
    ]


def test_messages_that_belong_to_no_tree_are_rejected(tmp_path):
    orphan = {"message_id": "x", "parent_id": "gone", "role": "assistant", "text": "?"}
    reply_to_orphan = {"message_id": "y", "parent_id": "x", "role": "prompter", "text": "?"}
    cycle = [
        {"message_id": "m", "parent_id": "n", "role": "assistant", "text": "?"},
        {"message_id": "n", "parent_id": "m", "role": "prompter", "text": "?"},
    ]
    rows = list(
        read(
            write_rows(
                tmp_path / "x.jsonl", *MESSAGES, orphan, reply_to_orphan, *cycle, MESSAGES[0]
            )
        )
    )
    bad = [(row.line, row.reason) for row in rows if isinstance(row, RejectedRow)]
    assert sorted(line for line, reason in bad) == [7, 8, 9, 10, 11]
    assert any("'gone' is not in this file" in reason for _, reason in bad)
    assert any("'t' occurs twice" in reason for _, reason in bad)
    assert sum(isinstance(row, ParsedRow) for row in rows) == 1


def test_examples_are_demonstrations(tmp_path):
    for name in ("openai-chat", "trl-prompt-completion"):
        (item,) = read_sample(name, tmp_path).of(Demonstration)
        assert item.text == "4"
    (row,) = VARIANTS["trl-prompt-completion"]
    (item,) = read_case(write_rows(tmp_path / "x.jsonl", row)).of(Demonstration)
    assert item.text == "4"


def test_unpaired_rows_are_labels(tmp_path):
    assert [item.good for item in read_sample("trl-unpaired", tmp_path).of(Label)] == [True]
    (row,) = VARIANTS["trl-unpaired"]
    assert [item.good for item in read_case(write_rows(tmp_path / "x.jsonl", row)).of(Label)] == [
        False
    ]


def test_weights_select_the_answers_to_imitate(tmp_path):
    messages = [*CHAT, answer("4"), *CHAT, answer("5"), *CHAT, answer("6")]
    messages[1]["weight"], messages[3]["weight"], messages[5]["weight"] = 1, 1, 0
    (row,) = read(write_rows(tmp_path / "x.jsonl", {"messages": messages, "tools": [{"a": 1}]}))
    assert [item.text for case in row.cases for item in case.of(Demonstration)] == ["4", "5"]
    assert [len(case.interaction.prompt) for case in row.cases] == [1, 3]
    assert all(case.interaction.metadata["tools"] == [{"a": 1}] for case in row.cases)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "messages"),
        (CHAT, "no assistant message"),
        ([{**answer("4"), "weight": 0}], "no assistant message"),
        ([*CHAT, {"role": "robot", "content": "4"}], "messages.1.role"),
        ([*CHAT, {"role": "assistant", "content": None, "tool_calls": [{}]}], "needs text"),
        ("2 + 2?", "messages: expected a list"),
    ],
)
def test_a_conversation_without_a_reply_is_rejected(messages, reason, tmp_path):
    (bad,) = read(write_rows(tmp_path / "x.jsonl", {"messages": messages}), format="openai-chat")
    assert isinstance(bad, RejectedRow)
    assert reason in bad.reason


def test_an_option_that_the_format_does_not_have_is_refused(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", SAMPLES["hh-rlhf"])
    with pytest.raises(UnknownName, match="judge"):
        read(path, format="hh-rlhf", options={"judge": "me"})
    with pytest.raises(UnknownName, match="Did you mean 'hh-rlhf'"):
        read(path, format="hh-rhlf")


def test_unknown_fields_are_an_error_that_lists_the_formats(tmp_path):
    with pytest.raises(BacktalkError, match=r"'colour'.*trl-preference"):
        list(read(write_rows(tmp_path / "x.jsonl", {"colour": "red"})))

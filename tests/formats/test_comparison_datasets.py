"""SHP, Nectar, WebGPT and Summarize from Feedback: exact records, and spoiled rows."""

import pytest

from backtalk.feedback import Annotator, Label, Message, Preference, Ranking, Rating, Scale
from tests.formats.feedback_dataset_rows import (
    NECTAR,
    SHP,
    SUMMARIZE_AXIS,
    SUMMARIZE_COMPARISON,
    WEBGPT,
)
from tests.formats.samples import read_changed, read_reason


@pytest.mark.parametrize(
    ("label", "ratio", "better", "strength"),
    [
        (1, 2.0, "Freeze it in slices.", 0.5),
        (0, 10.0, "Eat it.", 0.9),
        (1, 1.0, "Freeze it in slices.", None),
        (0, None, "Eat it.", None),
    ],
)
def test_shp_label_1_is_for_comment_a_and_the_ratio_is_the_strength(
    label, ratio, better, strength, tmp_path
):
    scores = {"score_A": 20, "score_B": 10} if label else {"score_A": 10, "score_B": 20}
    case = read_changed(tmp_path, SHP, labels=label, score_ratio=ratio, **scores)
    (preference,) = case.of(Preference)
    assert case.interaction.response(preference.chosen).text == better
    assert preference.strength == (None if strength is None else pytest.approx(strength))
    assert preference.annotator == Annotator.human()


def test_shp_keeps_votes_with_the_comments_and_the_post_as_metadata(tmp_path):
    case = read_changed(tmp_path, SHP)
    assert case.interaction.prompt == (Message.user("How do I keep bread fresh?"),)
    assert case.interaction.response("0").metadata == {
        "score": 340,
        "c_root_id": "hkh25sc",
        "created_at_utc": 1636822112,
    }
    assert case.interaction.metadata == {
        "post_id": "qt3nxl",
        "domain": "askculinary_train",
        "upvote_ratio": 0.98,
        "seconds_difference": 2.0,
    }


def test_nectar_is_a_ranking_by_gpt_4_of_answers_with_their_models(tmp_path):
    case = read_changed(tmp_path, NECTAR)
    assert case.interaction.prompt == (
        Message.user("Name a colour."),
        Message.assistant("Red."),
        Message.user("Another one."),
    )
    (ranking,) = case.of(Ranking)
    assert ranking.annotator == Annotator.model("gpt-4")
    assert ranking.within == "tied"
    models = [[case.interaction.response(id_).model for id_ in tier] for tier in ranking.tiers]
    assert models == [["gpt-4"], ["gpt-3.5-turbo"], ["mistral-7b-instruct-v0.1"]]
    assert case.interaction.metadata == {
        "turns": 2,
        "num_responses": 3,
        "source": ["sharegpt"],
        "good_natured": True,
    }


def test_equal_ranks_are_a_tie(tmp_path):
    answers = [
        {**item, "rank": rank} for item, rank in zip(NECTAR["answers"], (1, 4, 1), strict=True)
    ]
    case = read_changed(tmp_path, NECTAR, answers=answers)
    assert case.of(Ranking)[0].tiers == (("0", "2"), ("1",))


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        ("\n\nHuman: Hi\n\nAssistant: ", [("user", "Hi")]),
        ("\r\n\r\nHuman: Hi\r\n\r\nAssistant:", [("user", "Hi")]),
        ("Human: Hi", [("user", "Hi")]),
        ("Hi\n\nHuman: not a turn", [("user", "Hi\n\nHuman: not a turn")]),
        ("\n\nHuman: Hi\n\nAssistant: Dear", [("user", "Hi"), ("assistant", "Dear")]),
    ],
)
def test_turns_of_a_prompt_begin_with_human_and_assistant(prompt, messages, tmp_path):
    case = read_changed(tmp_path, NECTAR, prompt=prompt)
    assert [(item.role, item.text) for item in case.interaction.prompt] == messages


@pytest.mark.parametrize(
    ("scores", "verdict", "strength"),
    [
        ((0.75, -0.75), "a", 0.75),
        ((-1, 1), "b", 1),
        ((0, 0), "tie", None),
        ((0.0, -0.0), "tie", None),
    ],
)
def test_webgpt_scores_have_the_strength_and_zero_is_a_tie(scores, verdict, strength, tmp_path):
    case = read_changed(tmp_path, WEBGPT, score_0=scores[0], score_1=scores[1])
    (preference,) = case.of(Preference)
    assert (preference.verdict, preference.strength) == (verdict, strength)
    assert preference.annotator == Annotator.human()


def test_webgpt_keeps_the_quotes_and_leaves_out_the_tokens(tmp_path):
    case = read_changed(tmp_path, WEBGPT)
    assert case.interaction.prompt == (Message.user("Why is the sky blue?"),)
    assert case.interaction.metadata == {"question_dataset": "eli5", "question_id": "a1"}
    assert case.interaction.response("0").metadata == {"quotes": WEBGPT["quotes_0"]}
    assert "tokens" not in case.interaction.to_json()


def test_a_summary_is_chosen_by_its_index_with_the_confidence_of_the_worker(tmp_path):
    case = read_changed(tmp_path, SUMMARIZE_COMPARISON)
    (preference,) = case.feedback
    assert (preference.verdict, preference.confidence) == ("b", 0.875)
    assert preference.annotator == Annotator.human("ikNmucwunMnYJCQpnq6ZYb57OW7NiD")
    assert preference.metadata == {"confidence": 8, "note_0": "Was it fast?"}
    assert case.interaction.prompt[0].text == (
        "SUBREDDIT: r/legaladvice\n\nTITLE: Car accident, what now?\n\n"
        "POST: A car hit mine on Friday. Can I get an investigation?\n\nTL;DR:"
    )
    machine, reference = case.interaction.responses
    assert machine.model == "sup4_ppo_rm3_kl10"
    assert (reference.model, reference.metadata) == (None, {"policy": "ref"})
    assert case.interaction.metadata == {
        "id": "t3_2vwp1w",
        "subreddit": "legaladvice",
        "title": "Car accident, what now?",
        "batch": "batch9",
        "split": "train",
    }


@pytest.mark.parametrize(("number", "confidence"), [(1, 0), (5, 0.5), (9, 1), (None, None)])
def test_a_confidence_from_1_to_9_becomes_one_from_0_to_1(number, confidence, tmp_path):
    case = read_changed(tmp_path, SUMMARIZE_COMPARISON, extra={"confidence": number})
    assert case.feedback[0].confidence == confidence


def test_two_workers_judge_one_interaction(tmp_path):
    a, b = (read_changed(tmp_path, SUMMARIZE_COMPARISON, worker=name) for name in ("ada", "bo"))
    assert a.interaction.id == b.interaction.id
    assert a.feedback[0].id != b.feedback[0].id


def test_axes_are_the_aspects_of_ratings_from_1_to_7(tmp_path):
    case = read_changed(tmp_path, SUMMARIZE_AXIS)
    assert [(item.aspect, item.value) for item in case.of(Rating)] == [
        ("overall", 3),
        ("accuracy", 7),
        ("coverage", 4),
    ]
    assert {item.scale for item in case.of(Rating)} == {Scale.LIKERT_7}
    assert [(item.aspect, item.good) for item in case.of(Label)] == [("compatible", False)]
    assert case.feedback[0].metadata == {"note": "Who played?"}
    assert case.interaction.prompt[0].text == (
        "Article:\nThe captain was sent off on Monday.\n\nTL;DR:"
    )
    assert case.interaction.metadata["site"] == "dailymail"


@pytest.mark.parametrize(
    ("row", "change", "reason"),
    [
        (SHP, {"labels": 2}, "labels: expected 0 or 1, got 2"),
        (SHP, {"labels": None}, "labels: missing"),
        (SHP, {"labels": 0}, "labels: the label prefers the comment with 166 votes to that with"),
        (SHP, {"score_ratio": 0.5}, "score_ratio: expected a number of at least 1"),
        (SHP, {"human_ref_A": "Eat it."}, "the preferred response is the same"),
        (SHP, {"human_ref_A": ""}, "the preferred response is empty"),
        (NECTAR, {"answers": NECTAR["answers"][:1]}, "answers: a ranking needs at least two"),
        (NECTAR, {"answers": [{"answer": "Red.", "rank": None}] * 2}, "answers.0.rank: missing"),
        (NECTAR, {"prompt": None}, "prompt: missing"),
        (WEBGPT, {"score_0": 1.5, "score_1": -1.5}, "score_1: expected a number from -1 to 1"),
        (WEBGPT, {"score_1": 0.75}, "score_1: the scores 0.75 and 0.75 do not have the sum 0"),
        (WEBGPT, {"score_0": None}, "score_0: missing"),
        (WEBGPT, {"question": {"id": "a1"}}, "question.full_text: missing"),
        (WEBGPT, {"answer_0": "It mirrors the sea."}, "the preferred response is the same"),
        (SUMMARIZE_COMPARISON, {"choice": 2}, "choice: expected 0 or 1, got 2"),
        (SUMMARIZE_COMPARISON, {"choice": None}, "choice: missing"),
        (SUMMARIZE_COMPARISON, {"extra": {"confidence": 10}}, "extra.confidence: expected"),
        (SUMMARIZE_COMPARISON, {"extra": {"confidence": 0}}, "extra.confidence: expected"),
        (
            SUMMARIZE_COMPARISON,
            {"summaries": SUMMARIZE_COMPARISON["summaries"][:1]},
            "summaries: expected two summaries, got 1",
        ),
        (SUMMARIZE_COMPARISON, {"info": {"title": "Only"}}, "info.post: missing"),
        (
            SUMMARIZE_AXIS,
            {"summary": {"text": "So.", "axes": {"overall": None}}},
            "summary.axes: no axis has a value",
        ),
        (SUMMARIZE_AXIS, {"summary": {"text": "So.", "axes": {"overall": 8}}}, "value: 8.0 is not"),
    ],
)
def test_a_spoiled_row_is_set_aside(row, change, reason, tmp_path):
    assert read_reason(tmp_path, row, **change).startswith(reason)

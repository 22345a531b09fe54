"""Prometheus, RewardBench, Skywork and CodeUltraFeedback: exact records, and spoiled rows."""

import pytest

from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Message,
    Preference,
    Ranking,
    Rating,
    Scale,
)
from tests.formats.feedback_dataset_rows import (
    CODE_ULTRAFEEDBACK,
    CODE_ULTRAFEEDBACK_BINARIZED,
    PROMETHEUS_FEEDBACK,
    PROMETHEUS_PREFERENCE,
    REWARD_BENCH,
    REWARD_BENCH_2,
    RUBRIC,
)
from tests.formats.samples import CHAT, answer, read_changed, read_reason

GPT_4 = Annotator.model("gpt-4")
CRITERION = "Does the response have humour?"


def test_prometheus_rates_a_response_on_the_criterion_of_the_row(tmp_path):
    case = read_changed(tmp_path, PROMETHEUS_FEEDBACK)
    assert case.interaction.prompt == (Message.user("Tell a joke about bread."),)
    assert case.interaction.response("0").text == "Bread is baked."
    (rating,) = case.of(Rating)
    assert (rating.value, rating.scale, rating.aspect) == (2, Scale.STARS, CRITERION)
    assert rating.annotator == GPT_4
    assert rating.metadata == RUBRIC
    (critique,) = case.of(Critique)
    assert critique.text == "It has no joke. So the overall score is 2."
    assert (critique.response, critique.aspect) == ("0", CRITERION)
    (reference,) = case.of(Demonstration)
    assert (reference.text, reference.annotator) == ("I loaf it.", GPT_4)
    assert case.interaction.metadata == {}


def test_prometheus_compares_two_responses_and_rates_each(tmp_path):
    case = read_changed(tmp_path, PROMETHEUS_PREFERENCE)
    (preference,) = case.of(Preference)
    assert (preference.verdict, preference.aspect, preference.annotator) == ("b", CRITERION, GPT_4)
    assert [(item.response, item.value) for item in case.of(Rating)] == [("0", 2), ("1", 4)]
    assert [(item.response, item.text) for item in case.of(Critique)] == [
        (None, "B has a pun."),
        ("0", "It has no joke."),
        ("1", "It has a pun."),
    ]
    assert len(case.of(Demonstration)) == 1


def test_reward_bench_keeps_the_model_of_each_answer(tmp_path):
    case = read_changed(tmp_path, REWARD_BENCH)
    (preference,) = case.feedback
    assert (preference.verdict, preference.aspect) == ("a", "overall")
    assert [(item.text, item.model) for item in case.interaction.responses] == [
        ("Blue.", "GPT4-Turbo"),
        ("Seven.", "alpaca-7b"),
    ]
    assert case.interaction.metadata == {"subset": "alpacaeval-easy", "id": 0}


def test_people_are_no_models(tmp_path):
    case = read_changed(tmp_path, REWARD_BENCH, chosen_model="human", rejected_model="unknown")
    chosen, rejected = case.interaction.responses
    assert (chosen.model, chosen.metadata) == (None, {"model": "human"})
    assert (rejected.model, rejected.metadata) == (None, {"model": "unknown"})


def test_reward_bench_may_have_messages_of_several_turns(tmp_path):
    conversation = [{"role": "user", "content": "Hi"}, answer("Hello"), CHAT[0]]
    case = read_changed(tmp_path, REWARD_BENCH, prompt=conversation)
    assert [item.role for item in case.interaction.prompt] == ["user", "assistant", "user"]


def test_reward_bench_2_ranks_all_chosen_above_all_rejected(tmp_path):
    case = read_changed(tmp_path, REWARD_BENCH_2)
    (ranking,) = case.of(Ranking)
    assert (ranking.tiers, ranking.within) == ((("0", "1"), ("2", "3")), "unordered")
    assert [(item.text, item.model) for item in case.interaction.responses] == [
        ("Blue.", "gpt-4o"),
        ("Red.", "gpt-4o-mini"),
        ("Brown.", "tulu-3"),
        ("Black.", "olmo-2"),
    ]
    assert case.interaction.metadata["subset"] == "Ties"


@pytest.mark.parametrize(
    ("models", "expected", "metadata"),
    [
        (["gpt-4o"], ["gpt-4o"] * 4, None),
        (["gpt-4o", "olmo-2"], [None] * 4, ["gpt-4o", "olmo-2"]),
        (None, [None] * 4, None),
    ],
)
def test_models_are_not_assigned_by_guess(models, expected, metadata, tmp_path):
    case = read_changed(tmp_path, REWARD_BENCH_2, models=models)
    assert [item.model for item in case.interaction.responses] == expected
    assert case.interaction.metadata.get("models") == metadata


def test_skywork_pairs_are_conversations_with_a_source(tmp_path):
    question = {"role": "user", "content": "Name a colour."}
    row = {
        "chosen": [question, answer("Blue.")],
        "rejected": [question, answer("Seven.")],
        "source": "magpie_ultra",
    }
    case = read_changed(tmp_path, row)
    assert case.interaction.prompt == (Message.user("Name a colour."),)
    assert [item.text for item in case.interaction.responses] == ["Blue.", "Seven."]
    assert case.interaction.metadata == {"source": "magpie_ultra"}
    assert case.feedback[0].chosen == "0"


def test_code_is_rated_on_the_preference_of_the_row(tmp_path):
    case = read_changed(tmp_path, CODE_ULTRAFEEDBACK)
    assert [(item.response, item.value, item.aspect) for item in case.of(Rating)] == [
        ("0", 5, "code-readability"),
        ("1", 2, "code-readability"),
    ]
    assert [item.text for item in case.of(Critique)] == ["Clear names.", "Terse."]
    assert {item.annotator for item in case.feedback} == {Annotator.model("gpt-3.5-turbo")}
    assert [item.model for item in case.interaction.responses] == CODE_ULTRAFEEDBACK["models"]


def test_annotations_belong_to_models_in_any_order(tmp_path):
    reverse = CODE_ULTRAFEEDBACK["annotations"][::-1]
    case = read_changed(tmp_path, CODE_ULTRAFEEDBACK, annotations=reverse)
    assert [(item.response, item.value) for item in case.of(Rating)] == [("1", 2), ("0", 5)]


def test_the_binarized_code_has_a_preference_of_that_aspect(tmp_path):
    case = read_changed(tmp_path, CODE_ULTRAFEEDBACK_BINARIZED)
    (preference,) = case.of(Preference)
    assert (preference.verdict, preference.aspect) == ("a", "complexity")
    assert [(item.response, item.value) for item in case.of(Rating)] == [("0", 4), ("1", 2)]


@pytest.mark.parametrize(
    ("row", "change", "reason"),
    [
        (PROMETHEUS_FEEDBACK, {"orig_score": "6"}, "orig_score: expected a number from 1 to 5"),
        (PROMETHEUS_FEEDBACK, {"orig_score": ""}, "orig_score: expected a number"),
        (PROMETHEUS_FEEDBACK, {"orig_score": None}, "orig_score: missing"),
        (PROMETHEUS_FEEDBACK, {"orig_instruction": None}, "orig_instruction: missing"),
        (PROMETHEUS_PREFERENCE, {"orig_preference": "C"}, "orig_preference: expected A or B"),
        (PROMETHEUS_PREFERENCE, {"orig_preference": None}, "orig_preference: missing"),
        (PROMETHEUS_PREFERENCE, {"orig_score_B": "0"}, "orig_score_B: expected a number from 1"),
        (REWARD_BENCH, {"rejected": "Blue."}, "the preferred response is the same"),
        (REWARD_BENCH, {"chosen": " "}, "the preferred response is empty"),
        (REWARD_BENCH, {"rejected": None}, "rejected: missing"),
        (REWARD_BENCH_2, {"num_correct": 3}, "num_correct: 3, but chosen has 2 items"),
        (REWARD_BENCH_2, {"num_incorrect": 1}, "num_incorrect: 1, but rejected has 2 items"),
        (REWARD_BENCH_2, {"rejected": [], "num_incorrect": 0}, "rejected: the list is empty"),
        (REWARD_BENCH_2, {"chosen": ["Blue.", None]}, "chosen.1: missing"),
        (
            CODE_ULTRAFEEDBACK,
            {"annotations": [{"model": "m", "rating": "1", "rationale": "So."}]},
            "annotations.0.model: there is no response by 'm'",
        ),
        (
            CODE_ULTRAFEEDBACK,
            {"annotations": [{"model": "gpt-4", "rating": "9", "rationale": "So."}]},
            "annotations.0.rating: expected a number from 1 to 5, got 9",
        ),
        (
            CODE_ULTRAFEEDBACK,
            {"responses": [CODE_ULTRAFEEDBACK["responses"][0]] * 2},
            "responses: two responses are by the same model",
        ),
        (CODE_ULTRAFEEDBACK_BINARIZED, {"chosen": "x + y + 0"}, "the preferred response is the"),
    ],
)
def test_a_spoiled_row_is_set_aside(row, change, reason, tmp_path):
    assert read_reason(tmp_path, row, **change).startswith(reason)

"""PKU-SafeRLHF and BeaverTails: what is better and what is safer are told apart."""

import pytest

from backtalk.feedback import Annotator, Label, Preference
from tests.formats.feedback_dataset_rows import (
    BEAVERTAILS,
    PKU_SAFERLHF,
    PKU_SAFERLHF_10K,
    PKU_SAFERLHF_QA,
)
from tests.formats.samples import read_case, read_changed, read_reason, write_rows


def test_better_is_the_overall_verdict_and_safer_that_for_safety(tmp_path):
    case = read_changed(tmp_path, PKU_SAFERLHF)
    better, safer = case.of(Preference)
    assert (better.chosen, better.aspect) == ("0", "overall")
    assert (safer.chosen, safer.aspect) == ("1", "safety")
    assert (better.annotator, better.strength, better.time) == (Annotator.human(), None, None)
    first, second = case.interaction.responses
    assert (first.text, first.model) == ("Use a drill.", "Alpaca3-8B")
    assert (second.text, second.model) == ("Call a locksmith.", "WizardLM-30B-Uncensored")
    assert case.interaction.metadata == {"prompt_source": "Alpaca3-8B"}


def test_the_safety_of_each_response_is_a_label_with_severity_and_categories(tmp_path):
    case = read_changed(tmp_path, PKU_SAFERLHF)
    assert [(item.response, item.good, item.aspect, item.metadata) for item in case.of(Label)] == [
        ("0", False, "safety", {"harm_categories": ["Economic Crime"], "severity_level": 2}),
        ("1", True, "safety", {"severity_level": 0}),
    ]


@pytest.mark.parametrize("better", [0, 1, "0", "1", 0.0, 1.0])
def test_ids_count_from_zero_in_numbers_and_texts(better, tmp_path):
    case = read_changed(tmp_path, PKU_SAFERLHF_10K, better_response_id=better)
    assert case.of(Preference)[0].chosen == str(int(better))


def test_the_single_dimension_has_one_preference(tmp_path):
    names = ("prompt", "response_0", "response_1", "better_response_id")
    case = read_case(
        write_rows(tmp_path / "rows.jsonl", {name: PKU_SAFERLHF[name] for name in names})
    )
    assert [item.kind for item in case.feedback] == ["preference"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"better_response_id": 2}, "better_response_id: expected 0 or 1, got 2"),
        ({"better_response_id": None}, "better_response_id: missing"),
        ({"better_response_id": True}, "better_response_id: expected a number"),
        ({"safer_response_id": -1}, "safer_response_id: expected 0 or 1, got -1"),
        ({"safer_response_id": None}, "safer_response_id: missing"),
        ({"is_response_1_safe": "perhaps"}, "is_response_1_safe: expected true or false"),
        ({"response_0_harm_category": "theft"}, "response_0_harm_category: expected an object"),
        ({"response_1": "Use a drill."}, "the preferred response is the same"),
        ({"response_0": ""}, "the preferred response is empty"),
    ],
)
def test_a_spoiled_comparison_is_set_aside(change, reason, tmp_path):
    assert read_reason(tmp_path, PKU_SAFERLHF, **change).startswith(reason)


def test_beavertails_has_a_label_with_the_categories_that_apply(tmp_path):
    case = read_changed(tmp_path, BEAVERTAILS)
    (label,) = case.feedback
    assert (label.good, label.aspect, label.response) == (False, "safety", "0")
    assert label.metadata == {"harm_categories": ["financial_crime,property_crime,theft"]}


def test_pku_saferlhf_qa_has_the_model_and_the_severity(tmp_path):
    case = read_changed(tmp_path, PKU_SAFERLHF_QA)
    (label,) = case.feedback
    assert (label.good, label.metadata) == (True, {"severity_level": 0})
    assert case.interaction.response("0").model == "Alpaca2-7B"


def test_two_people_with_other_categories_count_as_two(tmp_path):
    other = {**BEAVERTAILS, "category": {"violence,aiding_and_abetting,incitement": True}}
    a, b = (read_changed(tmp_path, row) for row in (BEAVERTAILS, other))
    assert a.interaction.id == b.interaction.id
    assert a.feedback[0].id != b.feedback[0].id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_safe": None}, "is_safe: missing"),
        ({"is_safe": "unsure"}, "is_safe: expected true or false"),
        ({"category": {"theft": "a bit"}}, "category.theft: expected true or false"),
        ({"response": None}, "response: missing"),
    ],
)
def test_a_spoiled_label_is_set_aside(change, reason, tmp_path):
    assert read_reason(tmp_path, BEAVERTAILS, **change).startswith(reason)

"""HelpSteer, HelpSteer2 and HelpSteer3: exact records of published layouts, and spoiled rows."""

import pytest

from backtalk.feedback import (
    Annotator,
    Critique,
    Edit,
    Label,
    Message,
    Preference,
    Rating,
    Scale,
)
from tests.formats.feedback_dataset_rows import (
    CONTEXT,
    HELPSTEER,
    HELPSTEER2_PREFERENCE,
    HELPSTEER3_EDIT,
    HELPSTEER3_EDIT_QUALITY,
    HELPSTEER3_FEEDBACK,
    HELPSTEER3_PREFERENCE,
    HELPSTEER3_PRINCIPLE,
    HELPSTEER_DISAGREEMENTS,
    RATINGS,
)
from tests.formats.samples import read_changed, read_reason

TURNS = (Message.user("Name a colour."), Message.assistant("Red."), Message.user("Another one."))


def people(items):
    """Return the ids of the annotators."""
    return [item.annotator.id for item in items]


def test_five_attributes_are_the_aspects_of_ratings_from_0_to_4(tmp_path):
    case = read_changed(tmp_path, HELPSTEER)
    assert {item.aspect: item.value for item in case.of(Rating)} == RATINGS
    assert len(case.feedback) == 5
    rating = case.feedback[0]
    assert rating.scale == Scale(name="zero-to-four", low=0, high=4)
    assert rating.normalised == 0.75
    assert (rating.annotator, rating.time) == (Annotator.human(), None)
    assert case.interaction.prompt == (Message.user("c#"),)
    assert case.interaction.response("0").text == HELPSTEER["response"]


def test_disagreements_are_ratings_of_each_annotator_of_the_row(tmp_path):
    case = read_changed(tmp_path, HELPSTEER_DISAGREEMENTS)
    assert case.interaction.prompt == TURNS
    values = {}
    for item in case.of(Rating):
        values.setdefault(item.aspect, []).append((item.annotator.id, item.value))
    assert values["correctness"] == [("unknown-1", 3), ("unknown-2", 4), ("unknown-3", 4)]
    assert len(case.feedback) == 15


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"coherence": 5}, "coherence: expected a number from 0 to 4, got 5"),
        ({"coherence": -1}, "coherence: expected a number from 0 to 4, got -1"),
        ({"coherence": None}, "coherence: missing"),
        ({"verbosity": "good"}, "verbosity: expected a number, got 'good'"),
        ({"helpfulness": [3, None]}, "helpfulness.1: missing"),
        ({"helpfulness": []}, "helpfulness: the list is empty"),
        ({"prompt": "Hi\n<extra_id_1>Assistant\nHello"}, "prompt: the last turn is the assistant"),
        ({"response": None}, "response: missing"),
    ],
)
def test_a_spoiled_rating_is_set_aside(change, reason, tmp_path):
    assert read_reason(tmp_path, HELPSTEER, **change).startswith(reason)


@pytest.mark.parametrize(
    ("number", "verdict", "strength"),
    [
        (-3, "a", 1),
        (-2, "a", 2 / 3),
        (-1, "a", 1 / 3),
        (0, "tie", None),
        (1, "b", 1 / 3),
        (3, "b", 1),
    ],
)
def test_a_preference_below_zero_is_for_the_first_response(number, verdict, strength, tmp_path):
    for row, name in (
        (HELPSTEER2_PREFERENCE, "preference_strength"),
        (HELPSTEER3_PREFERENCE, "overall_preference"),
    ):
        case = read_changed(tmp_path, row, **{name: number})
        (overall,) = [item for item in case.of(Preference) if item.aspect == "overall"]
        assert (overall.verdict, overall.strength) == (verdict, strength)


def test_the_overall_preference_has_the_reason_and_those_of_people_an_aspect(tmp_path):
    case = read_changed(tmp_path, HELPSTEER2_PREFERENCE)
    overall, *individual = case.of(Preference)
    assert (overall.verdict, overall.aspect, overall.annotator.id) == ("b", "overall", "unknown")
    assert [item.verdict for item in individual] == ["b", "b", "a", "both_bad"]
    assert {item.aspect for item in individual} == {"individual"}
    assert people(individual) == ["unknown-1", "unknown-2", "unknown-3", "unknown-4"]
    reasons = case.of(Critique)
    assert reasons[0].text == (
        "@Response 2 is slightly better than @Response 1. It names the channel."
    )
    assert reasons[3].text == "@Response 1 is much better, as it is short."
    assert reasons[3].annotator == individual[2].annotator
    assert {item.response for item in reasons} == {None}
    assert case.interaction.metadata == {"split": "train"}
    assert [response.id for response in case.interaction.responses] == ["0", "1"]


def test_without_all_preferences_the_most_similar_are_those_of_people(tmp_path):
    case = read_changed(tmp_path, HELPSTEER2_PREFERENCE, all_preferences_unprocessed=None)
    individual = case.of(Preference)[1:]
    assert [item.strength for item in individual] == [2 / 3, 1 / 3]
    assert [item.text for item in case.of(Critique)][1] == "@Response 2 is better. It is complete."


@pytest.mark.parametrize(
    ("row", "change", "reason"),
    [
        (HELPSTEER2_PREFERENCE, {"preference_strength": 4}, "preference_strength: expected"),
        (HELPSTEER2_PREFERENCE, {"preference_strength": -100}, "preference_strength: expected"),
        (HELPSTEER2_PREFERENCE, {"preference_strength": None}, "preference_strength: missing"),
        (HELPSTEER2_PREFERENCE, {"response_2": "A wave."}, "the preferred response is the same"),
        (HELPSTEER2_PREFERENCE, {"response_2": " "}, "the preferred response is empty"),
        (
            HELPSTEER2_PREFERENCE,
            {"all_preferences_unprocessed": [{"strength": 7}]},
            "all_preferences_unprocessed.0.strength: expected a number from -3 to 3, got 7",
        ),
        (HELPSTEER3_PREFERENCE, {"overall_preference": -4}, "overall_preference: expected"),
        (HELPSTEER3_PREFERENCE, {"overall_preference": "a"}, "overall_preference: expected"),
        (HELPSTEER3_PREFERENCE, {"context": []}, "context: expected"),
        (
            HELPSTEER3_PREFERENCE,
            {"individual_preference": [{"reasoning": "So."}]},
            "individual_preference.0.score: missing",
        ),
        (HELPSTEER3_FEEDBACK, {"feedback1": None, "feedback2": []}, "feedback1: neither"),
        (HELPSTEER3_EDIT, {"edited_response": "Red."}, "text: the edited text is the same"),
        (HELPSTEER3_EDIT_QUALITY, {"bad_edited_response": "Blue."}, "the preferred response is"),
        (HELPSTEER3_PRINCIPLE, {"fulfilment": "Maybe"}, "fulfilment: expected Yes or No"),
        (HELPSTEER3_PRINCIPLE, {"fulfilment": None}, "fulfilment: missing"),
    ],
)
def test_a_spoiled_row_is_set_aside(row, change, reason, tmp_path):
    assert read_reason(tmp_path, row, **change).startswith(reason)


def test_helpsteer3_reads_the_conversation_and_the_reasons_of_people(tmp_path):
    case = read_changed(tmp_path, HELPSTEER3_PREFERENCE)
    assert case.interaction.prompt == TURNS
    assert case.interaction.metadata == {"domain": "general", "language": "english"}
    overall, first, second = case.of(Preference)
    assert (overall.verdict, overall.strength, overall.aspect) == ("a", 2 / 3, "overall")
    assert (first.verdict, first.strength, first.aspect) == ("a", 1, "individual")
    assert (second.verdict, second.strength) == ("tie", None)
    assert [(item.annotator.id, item.response, item.text) for item in case.of(Critique)] == [
        ("unknown-1", None, "@Response 1 is much better, as it is new."),
        ("unknown-1", "0", "Short and right."),
        ("unknown-1", "1", "It repeats the colour."),
        ("unknown-2", None, "Both are colours."),
    ]


def test_feedback_is_a_critique_of_each_person_even_if_the_texts_are_equal(tmp_path):
    case = read_changed(tmp_path, HELPSTEER3_FEEDBACK)
    assert [(item.response, item.annotator.id) for item in case.feedback] == [
        ("0", "unknown-1"),
        ("0", "unknown-2"),
        ("1", "unknown-1"),
        ("1", "unknown-2"),
    ]
    assert case.feedback[3].text == "It repeats the colour."


def test_an_edit_has_its_summary_and_the_feedback_that_it_follows(tmp_path):
    case = read_changed(tmp_path, HELPSTEER3_EDIT)
    (edit,) = case.of(Edit)
    assert (edit.response, edit.text) == ("0", "Blue.")
    assert edit.metadata == {"change_summary": "Another colour is named."}
    assert [item.text for item in case.of(Critique)] == ["It repeats the colour."]


def test_a_good_edit_is_better_in_following_the_feedback_only(tmp_path):
    case = read_changed(tmp_path, HELPSTEER3_EDIT_QUALITY)
    (preference,) = case.of(Preference)
    assert preference.aspect == "feedback_following"
    texts = [
        case.interaction.response(id_).text for id_ in (preference.chosen, preference.rejected)
    ]
    assert texts == ["Blue.", "Red, again."]
    assert len(case.interaction.responses) == 3


@pytest.mark.parametrize(("answer", "good"), [("Yes", True), ("No", False), ("no", False)])
def test_a_principle_is_the_aspect_of_a_label_by_a_model(answer, good, tmp_path):
    case = read_changed(tmp_path, HELPSTEER3_PRINCIPLE, fulfilment=answer)
    (label,) = case.of(Label)
    assert (label.good, label.aspect) == (good, "adherence to length requirements")
    assert label.annotator == Annotator.model("deepseek-v3")


def test_the_context_may_have_a_system_message(tmp_path):
    context = [{"role": "system", "content": "Be brief."}, *CONTEXT]
    case = read_changed(tmp_path, HELPSTEER3_PREFERENCE, context=context)
    assert case.interaction.prompt == (Message.system("Be brief."), *TURNS)

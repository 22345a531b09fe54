"""Controls of claims: feedback that is moved to the answers to other prompts."""

import pytest
from claims.controls import rotation, shuffled
from hypothesis import given
from hypothesis import strategies as st

from backtalk.errors import RecordError
from backtalk.feedback import Annotator, Edit, Interaction, Label, Preference
from backtalk.feedback.case import Case

ANNOTATOR = Annotator.simulated("ada")


def compared(number, verdict="a"):
    interaction = Interaction.of(f"request {number}", "one", "two")
    preference = Preference(
        interaction=interaction.id, annotator=ANNOTATOR, a="0", b="1", verdict=verdict
    )
    return Case(interaction, (preference,))


@given(st.integers(2, 200), st.integers(0, 1_000))
def test_a_rotation_is_a_permutation_that_leaves_nothing_in_its_place(count, seed):
    order = rotation(count, seed=seed)
    assert sorted(order) == list(range(count))
    assert (order != range(count)).all()
    assert (order == rotation(count, seed=seed)).all()


def test_one_thing_cannot_be_shuffled():
    with pytest.raises(ValueError, match="2 or more"):
        rotation(1, seed=0)
    with pytest.raises(ValueError, match="2 or more"):
        shuffled([compared(0)], seed=0)


@given(st.lists(st.sampled_from(["a", "b", "tie"]), min_size=2, max_size=30), st.integers(0, 99))
def test_all_feedback_moves_to_other_answers_unchanged(verdicts, seed):
    cases = [compared(number, verdict) for number, verdict in enumerate(verdicts)]
    results = shuffled(cases, seed=seed)
    assert [case.interaction for case in results] == [case.interaction for case in cases]
    origins = {case.feedback[0].id: case.feedback[0] for case in cases}
    for before, after in zip(cases, results, strict=True):
        (item,) = after.feedback
        assert item.interaction == after.interaction.id
        origin = origins.pop(item.id)
        assert origin.interaction != before.interaction.id
        assert item == origin.model_copy(update={"interaction": item.interaction})
    assert not origins


def test_cases_without_feedback_stay_without():
    plain = Case(Interaction.of("request", "one", "two"))
    results = shuffled([compared(0, "a"), plain, compared(1, "b")], seed=3)
    assert results[1] == plain
    assert [results[n].feedback[0].verdict for n in (0, 2)] == ["b", "a"]


def test_several_kinds_of_feedback_move_as_one():
    cases = []
    for number in range(3):
        interaction = Interaction.of(f"request {number}", "answer")
        fields = {"interaction": interaction.id, "annotator": ANNOTATOR, "response": "0"}
        feedback = (
            Label(**fields, good=number > 0),
            Edit(**fields, text=f"better {number}"),
        )
        cases.append(Case(interaction, feedback))
    for number, case in enumerate(shuffled(cases, seed=1)):
        label, edit = case.feedback
        origin = int(edit.text.split()[1])
        assert origin != number
        assert label.good == (origin > 0)


def test_feedback_that_does_not_fit_the_other_answers_is_an_error():
    single = Interaction.of("short", "one")
    label = Label(interaction=single.id, annotator=ANNOTATOR, response="0", good=True)
    with pytest.raises(RecordError, match="no response '1'"):
        shuffled([compared(0), Case(single, (label,))], seed=0)

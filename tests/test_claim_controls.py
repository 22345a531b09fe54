"""Controls of claims: feedback that is moved to the answers to other prompts."""

import pytest
from claims import memory_world
from claims.controls import rotation, shuffled
from claims.memory_pairs import TURNED, _annotations
from claims.prompt_tables import make_candidate
from claims.prompts_search import shuffle_scores
from hypothesis import given
from hypothesis import strategies as st

from backtalk.errors import RecordError
from backtalk.feedback import Annotator, Edit, Interaction, Label, Preference
from backtalk.feedback.case import Case
from backtalk.feedback.views import Pair
from backtalk.learn.prompt.protocol import Trial

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


def test_a_person_who_teaches_a_memory_is_shuffled_and_judges_as_before(monkeypatch):
    monkeypatch.setattr(memory_world, "load_model", lambda _: None)
    with memory_world.open_memory_world("mail", 0) as world:
        person = world.person(world.world.rules[:3])
        prompts = world.prompts(6)
        interactions = world.interactions(prompts, [f"answer {n}" for n in range(6)])
        cases = world.teach(person, interactions, "edit", shuffle=True)
        texts = {case.interaction.id: [item.text for item in case.feedback] for case in cases}
        stored = {
            case.interaction.id: [item.text for item in case.feedback]
            for case in world.store.cases()
        }
    assert sorted(map(str, stored.values())) == sorted(map(str, texts.values()))
    assert all(stored[id_] != texts[id_] for id_ in texts)


def test_the_only_feedback_of_a_round_is_left_out_of_the_control(monkeypatch):
    monkeypatch.setattr(memory_world, "load_model", lambda _: None)
    with memory_world.open_memory_world("mail", 0) as world:
        (prompt,) = world.prompts(1)
        (interaction,) = world.interactions([prompt], ["answer"])
        (case,) = world.teach(world.person(), [interaction], "edit", shuffle=True)
        assert case.feedback
        assert not [item for stored in world.store.cases() for item in stored.feedback]


def test_scores_move_to_other_prompts_and_prompts_without_stay_without():
    trials = [Trial(make_candidate())]
    trials += [Trial(make_candidate([f"line {n}"]), {0: float(n)}) for n in range(5)]
    shuffle_scores(trials, seed=2)
    assert not trials[0].scores
    scores = [trial.scores[0] for trial in trials[1:]]
    assert sorted(scores) == list(range(5))
    for number, trial in enumerate(trials[1:]):
        assert trial.candidate == make_candidate([f"line {number}"])
        assert scores[number] != number


def test_half_of_the_annotations_of_a_control_are_turned_round():
    pairs = [
        Pair(prompt=Interaction.of(f"request {n}", "-").prompt, chosen="good", rejected="bad")
        for n in range(40)
    ]
    annotations = _annotations(pairs, 5)
    assert annotations["reconstructed"] == pairs
    turned = annotations[TURNED.name]
    assert sum(pair.chosen == "bad" and pair.rejected == "good" for pair in turned) == 20
    assert sum(pair in pairs for pair in turned) == 20

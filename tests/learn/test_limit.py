"""A limit draws prompts by the seed; the first prompts are read without the others."""

import pytest

from backtalk import Policy
from backtalk.errors import NotFound
from backtalk.feedback import Annotator, Edit, Interaction, Label, Preference
from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn import TrainingSet
from backtalk.learn import api as learning
from backtalk.models import NamedSpec
from backtalk.store import Store

ADA = Annotator.human("ada")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "feedback.db") as made:
        for i in range(40):
            interaction = Interaction.of(f"Is shop {i} open?", "Yes.", "No.")
            about = {"interaction": interaction.id, "annotator": ADA}
            made.add(
                interaction,
                Label(**about, response="0", good=True)
                if i < 20
                else Preference(**about, a="0", b="1", verdict="a"),
                *([Edit(**about, response="0", text="Yes!")] if i == 39 else []),
            )
        yield made


def keys(feedback):
    return [prompt_key(case.interaction.prompt) for case in feedback.cases()]


def test_a_limit_is_a_sample_of_the_prompts_with_the_feedback_that_is_needed(store):
    everything = TrainingSet(store, split="all")
    drawn = everything.limited(5, needs=[Pair])
    assert len(keys(drawn)) == len(set(keys(drawn))) == 5
    assert len(drawn.views(Pair)) == 5
    assert len(drawn.prompts()) == 5
    assert drawn.snapshot.counts["preference"] == 5
    assert everything.snapshot.counts["preference"] == 20
    assert len(everything.limited(5).prompts()) == 5


def test_a_sample_is_that_of_its_seed_and_a_part_of_a_larger_one(store):
    everything = TrainingSet(store, split="all")
    few, more = (set(keys(everything.limited(n, seed=3))) for n in (6, 12))
    assert few < more
    assert few == set(keys(TrainingSet(store, split="all").limited(6, seed=3)))
    assert few != set(keys(everything.limited(6, seed=4)))


def test_a_limit_keeps_to_the_split(store):
    train = TrainingSet(store)
    assert set(keys(train.limited(3))) < set(keys(train))
    assert sorted(keys(train.limited(1_000))) == sorted(keys(train))
    assert keys(train.limited(None)) == keys(train)


def test_a_limit_counts_prompts_not_judgements(tmp_path):
    with Store(tmp_path / "feedback.db") as store:
        for i in range(6):
            interaction = Interaction.of(f"Is shop {i % 2} open?", f"Yes, {i}.", "No.")
            store.add(
                interaction,
                Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a"),
            )
        feedback = TrainingSet(store, split="all").limited(1, needs=[Pair])
        assert len(feedback.views(Pair, across="interaction")) == 3
        assert len(feedback.prompts()) == 1


def test_no_more_than_some_cases_of_a_kind_are_read_for_the_first(store, monkeypatch):
    monkeypatch.setattr("backtalk.learn.training_set._MAX_READ", 5)
    read = []
    cases = Store.cases
    monkeypatch.setattr(
        Store,
        "cases",
        lambda self, **how: (read.append(case) or case for case in cases(self, **how)),
    )
    few = TrainingSet(store, split="all", kinds=["label", "preference"]).first(2, needs=[Pair])
    assert len(read) == 5 + 2
    assert len(few.prompts()) == 2


def test_the_first_prompts_are_those_of_each_kind(store, monkeypatch):
    everything = TrainingSet(store, split="all")
    read = []
    cases = Store.cases
    monkeypatch.setattr(
        Store,
        "cases",
        lambda self, **how: (read.append(case) or case for case in cases(self, **how)),
    )
    few = everything.first(2, needs=[Pair])
    edits, labels, preferences = 1, 20, 2
    assert len(read) == edits + labels + preferences
    kinds = [item.kind for case in few.cases() for item in case.feedback]
    assert sorted(kinds) == ["edit", "preference", "preference", "preference"]
    assert len(few.views(SFTExample)) >= 1


def test_learning_takes_a_limit(store, monkeypatch):
    prompts = []

    def learned(policy, feedback, run, **_):
        prompts.append(len(feedback.prompts()))
        raise NotFound("the end", "")

    method = learning.get_method("dpo")
    monkeypatch.setattr(type(method), "learn", lambda self, *args, **options: learned(*args))
    policy = Policy(model=NamedSpec(name="shop"))
    for limit in (4, None):
        with pytest.raises(NotFound):
            learning.learn("dpo", policy, store, split="all", limit=limit)
    assert prompts == [4, 40]

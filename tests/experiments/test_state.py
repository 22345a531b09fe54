"""An experiment's state is a fold over the log: in one go, as it grows, whatever happens to it."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.experiments import (
    DecisionRule,
    Experiment,
    read_events,
    replay,
    stop,
    summarise,
)
from backtalk.experiments.signals import duel, get_arms, make_note, score_feedback
from backtalk.feedback import (
    Choice,
    Interaction,
    Label,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
)
from backtalk.feedback.kinds import Shown
from backtalk.store import Store
from backtalk.store.incremental_reader import IncrementalReader
from backtalk.store.stream_writer import StreamWriter
from tests.experiments.conftest import ADA, trial_of

NUMBERS = itertools.count()

ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["show", "show", "judge", "judge", "early", "again", "delete", "restore", "look",
             "restart", "other", "stop"]
        ),
        st.integers(0, 10**6),
    ),
    min_size=5,
    max_size=60,
)  # fmt: skip
"""What may happen, each with a number that decides the particulars."""


@pytest.fixture(scope="module")
def shared():
    with Store(":memory:") as store:
        yield store


class Log:
    """A log that things happen to, and somebody who follows it."""

    def __init__(self, trial):
        self.trial = trial
        self.intake = StreamWriter(trial.store.engine)
        self.follower = trial.follower()
        self.interactions = {}
        self.items = []
        self.deleted = []

    def take(self, *records):
        self.intake.write([(self.trial.store.project, record) for record in records])

    def shown(self, number):
        arms = self.trial.experiment.arms
        if self.trial.experiment.allocation == "dueling":
            one, two = (arms[(number + i) % len(arms)] for i in (0, 1 + number % 2))
            interaction = self.trial.pair(one, two)
        else:
            probabilities = dict(zip(arms, (0.5, 0.3, 0.2), strict=True))
            interaction = self.trial.interaction(
                arms[number % 3], probabilities, user=f"user {number % 5}"
            )
        self.interactions[interaction.id] = interaction
        return interaction

    def said(self, interaction, number):
        if self.trial.experiment.allocation == "dueling":
            item = self.trial.preference(interaction, ("a", "b", "tie", "both_bad")[number % 4])
        else:
            item = self.trial.thumb(interaction, number % 3)
        self.items.append(item.id)
        return item

    def happen(self, act, number):
        if act == "show":
            self.take(self.shown(number))
        elif act == "judge" and self.interactions:
            interaction = list(self.interactions.values())[number % len(self.interactions)]
            self.take(self.said(interaction, number))
        elif act == "early":
            interaction = self.shown(number)
            self.take(self.said(interaction, number))
            self.take(interaction)
        elif act == "again" and self.interactions:
            interaction = list(self.interactions.values())[number % len(self.interactions)]
            self.take(self.said(interaction, number), self.said(interaction, number + 1))
        elif act == "delete" and (left := self.alive()):
            self.deleted.append(left[number % len(left)])
            self.trial.store.delete(self.deleted[-1])
        elif act == "restore" and self.deleted:
            self.trial.store.restore(self.deleted.pop())
        elif act == "look":
            self.follower.refresh(check=bool(number % 2))
        elif act == "restart":
            self.follower = self.trial.follower()
        elif act == "other":
            other = self.trial.interaction(self.trial.control)
            self.take(other.model_copy(update={"metadata": {}, "id": f"{other.id}-other"}))
        elif act == "stop" and self.follower.refresh().active_arms[2:]:
            stop(self.trial.store, "trial", arm=self.follower.state.active_arms[1], actor="ada")

    def alive(self):
        """What can be deleted: an interaction hides its feedback, which then cannot be."""
        kept = [item.id for item in self.trial.store.feedback()]
        return [*kept, *(case.interaction.id for case in self.trial.store.cases())]

    def whole(self):
        """The state by the plain fold, over records as they stand in the store."""
        store = self.trial.store
        interactions = {case.interaction.id: case.interaction for case in store.cases()}
        said = [(interactions[item.interaction], item) for item in store.feedback()]
        return replay(read_events(store, "trial"), interactions.values(), said)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"unit": "user"},
        {"allocation": "thompson", "guards": ("rating",)},
        {"allocation": "dueling", "outcome": "preference", "guards": ("thumb",)},
    ],
    ids=["fixed", "by user", "thompson", "dueling"],
)
@given(acts=ACTS)
@settings(max_examples=12)
def test_the_state_is_the_same_however_it_was_read(shared, fields, acts):
    store = shared.in_project(f"project {next(NUMBERS)}")
    log = Log(trial_of(store, candidates=2, **fields))
    for act, number in acts:
        log.happen(act, number)
    grown = log.follower.refresh(check=True)
    assert grown == log.trial.follower().refresh()
    assert grown == log.whole()
    assert summarise(grown) == summarise(log.whole())


def test_what_is_interrupted_is_read_again_and_not_twice(store, monkeypatch):
    trial = trial_of(store)
    trial.traffic(dict.fromkeys(trial.experiment.arms, 1.0), 20)
    follower = trial.follower()
    read = IncrementalReader.new_feedback

    def broken(self):
        yield from read(self)
        raise OSError("the store went away")

    monkeypatch.setattr(IncrementalReader, "new_feedback", broken)
    with pytest.raises(OSError, match="went away"):
        follower.refresh()
    monkeypatch.undo()
    assert follower.refresh() == trial.follower().refresh()
    assert follower.state.judged == 20


def test_a_unit_counts_once_with_its_first_judgement(store):
    trial = trial_of(store, unit="user")
    for good in (True, False, False):
        interaction = trial.interaction(trial.control, user="bo")
        store.add(interaction, trial.thumb(interaction, good))
    nameless = trial.interaction(trial.control)
    store.add(nameless, trial.thumb(nameless, good=False))
    state = trial.follower().refresh()
    assert state.arms[trial.control].values["thumb"] == Counter({1.0: 1, 0.0: 1})
    assert state.arms[trial.control].impressions == 4


def test_another_experiments_answers_do_not_count(store):
    trial = trial_of(store)
    interaction = trial.interaction(trial.control)
    metadata = {"gateway": {"experiment": make_note("another", {trial.control: 1.0})}}
    store.add(
        other := interaction.model_copy(update={"metadata": metadata}),
        trial.thumb(other, good=True),
    )
    state = trial.follower().refresh()
    assert (state.impressions, state.judged) == (0, 0)


def test_effects_are_weighted_only_where_both_arms_were_in_play(store):
    trial = trial_of(store, candidates=2, allocation="thompson", floor=0.2)
    one, two = trial.candidates
    for arm, good, probabilities in (
        (trial.control, True, {trial.control: 0.5, one: 0.25, two: 0.25}),
        (one, True, {trial.control: 0.5, one: 0.25, two: 0.25}),
        (one, False, {trial.control: 0.6, one: 0.4}),
    ):
        interaction = trial.interaction(arm, probabilities)
        store.add(interaction, trial.thumb(interaction, good))
    state = trial.follower().refresh()
    first, second = (state.arms[arm].effects["thumb"] for arm in (one, two))
    # Each centred on what the candidate and the control got before: on 0.5, then twice on 1.
    assert first.total == pytest.approx(-0.5 / 0.5 + 0 / 0.25 + -1 / 0.4)
    assert (first.n, second.n) == (3, 2)
    assert second.total == pytest.approx(-0.5 / 0.5)


def test_an_arm_that_is_judged_more_often_gains_nothing_by_it(store):
    """The control and the first candidate are equal; the second is better and gets most."""
    trial = trial_of(store, candidates=2, allocation="thompson", floor=0.2)
    probabilities = dict(zip(trial.experiment.arms, (0.2, 0.2, 0.6), strict=True))
    records = []
    for index, arm in enumerate(trial.rng.choice(trial.experiment.arms, 6000, p=(0.2, 0.2, 0.6))):
        interaction = trial.interaction(str(arm), probabilities)
        records.append(interaction)
        if arm == trial.candidates[0] or index % 5 == 0:
            rate = 0.95 if arm == trial.candidates[1] else 0.5
            records.append(trial.thumb(interaction, trial.rng.random() < rate))
    store.add(*records)
    equal, better = summarise(trial.follower().refresh()).candidates
    assert (equal.verdict, better.verdict) == ("open", "better")
    assert abs(equal.outcome.difference.value) < 0.08


def answered(*policies, shown=None):
    return Interaction(
        id="i",
        prompt=(Message.user("Hi"),),
        responses=tuple(
            Response(id=str(i), text=f"{i}", policy=arm) for i, arm in enumerate(policies)
        ),
    )


def about(**fields):
    return {"interaction": "i", "annotator": ADA, **fields}


@pytest.mark.parametrize(
    ("item", "signal", "value"),
    [
        (Label(**about(response="0", good=True)), "thumb", 1.0),
        (Label(**about(response="0", good=True, aspect="tone")), "thumb", None),
        (Label(**about(response="0", good=False, aspect="tone")), "thumb:tone", 0.0),
        (Rating(**about(response="0", value=4)), "rating", 0.75),
        (Rating(**about(response="0", value=4)), "thumb", None),
        (Outcome(**about(response="0", passed=True)), "outcome", 1.0),
        (Outcome(**about(response="0", score=0.12345)), "outcome", 0.123),
    ],
)
def test_what_feedback_comes_down_to(item, signal, value):
    result = score_feedback(answered("a"), item, signal)
    assert result == (None if value is None else ("a", value))


DUEL = Experiment(name="d", control="a", candidates=("b",), allocation="dueling",
                  outcome="preference")  # fmt: skip


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (Preference(**about(a="0", b="1", verdict="a")), 0.0),
        (Preference(**about(a="1", b="0", verdict="a")), 1.0),
        (Preference(**about(a="0", b="1", verdict="tie")), 0.5),
        (Preference(**about(a="0", b="1", verdict="both_bad")), None),
        (Preference(**about(a="0", b="1", verdict="b", probability=0.25)), 0.75),
        (Preference(**about(a="0", b="2", verdict="a")), None),
        (Preference(**about(a="0", b="1", verdict="a", aspect="tone")), None),
        (Choice(**about(chosen="1", shown=[Shown(response=r) for r in "012"])), 1.0),
        (Choice(**about(chosen=None, shown=[Shown(response="0")])), None),
        (Ranking(**about(tiers=(("1",), ("0",), ("2",)))), 1.0),
        (Ranking(**about(tiers=(("0",), ("1",), ("2",)))), 0.5),
        (Ranking(**about(tiers=(("0", "1"), ("2",)), within="unordered")), 1.0),
        (Label(**about(response="0", good=True)), None),
    ],
)
def test_who_won_a_duel(item, value):
    """The first and the last answer are the candidate's, the one between the control's."""
    interaction = answered("b", "a", "b")
    assert get_arms(interaction) == ("b", "a")
    assert duel(interaction, item, DUEL) == value


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"candidates": ("a",)}, "named twice"),
        ({"shares": (0.5, 0.6)}, "sum has to be 1"),
        ({"shares": (1.0,)}, "2 arms"),
        ({"allocation": "thompson", "shares": (0.5, 0.5)}, "sets the shares itself"),
        ({"allocation": "thompson", "candidates": tuple("bcdefghijkl")}, "exceeds 1"),
        ({"allocation": "thompson", "unit": "user"}, "keeps its arm"),
        ({"allocation": "dueling"}, "needs a preference"),
        ({"outcome": "preference"}, "dueling"),
        ({"guards": ("preference",)}, "guards"),
        ({"outcome": "clicks"}, "outcome"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Experiment(**{"name": "x", "control": "a", "candidates": ("b",), **fields})


def test_an_experiment_is_read_as_it_was_written():
    trial = Experiment(name="x", control="a", candidates=("b", "c"), rule=DecisionRule(horizon=10))
    assert Experiment.model_validate_json(trial.to_json()) == trial
    assert trial.shares == (1 / 3,) * 3

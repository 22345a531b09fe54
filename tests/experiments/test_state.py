"""State of an experiment: a fold over the log, in one pass or incrementally."""

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
    Annotator,
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
from tests.experiments.conftest import ADA, make_trial

NUMBERS = itertools.count()

ACTIONS = st.lists(
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
"""Changes of a log, each with a number from which its details are derived."""


@pytest.fixture(scope="module")
def shared():
    with Store(":memory:") as store:
        yield store


class Log:
    """Log of an experiment that changes, and an incremental reader of it."""

    def __init__(self, trial):
        self.trial = trial
        self.writer = StreamWriter(trial.store.engine)
        self.reader = trial.reader()
        self.interactions = {}
        self.items = []
        self.deleted = []

    def write(self, *records):
        self.writer.write([(self.trial.store.project, record) for record in records])

    def make_interaction(self, number):
        arms = self.trial.experiment.arms
        if self.trial.experiment.allocation == "dueling":
            first, second = (arms[(number + i) % len(arms)] for i in (0, 1 + number % 2))
            interaction = self.trial.pair(first, second)
        else:
            probabilities = dict(zip(arms, (0.5, 0.3, 0.2), strict=True))
            interaction = self.trial.interaction(
                arms[number % 3], probabilities, user=f"user {number % 5}"
            )
        self.interactions[interaction.id] = interaction
        return interaction

    def make_feedback(self, interaction, number):
        if self.trial.experiment.allocation == "dueling":
            item = self.trial.preference(interaction, ("a", "b", "tie", "both_bad")[number % 4])
        else:
            item = self.trial.thumb(interaction, number % 3)
        self.items.append(item.id)
        return item

    def apply(self, action, number):
        if action == "show":
            self.write(self.make_interaction(number))
        elif action == "judge" and self.interactions:
            interaction = list(self.interactions.values())[number % len(self.interactions)]
            self.write(self.make_feedback(interaction, number))
        elif action == "early":
            interaction = self.make_interaction(number)
            self.write(self.make_feedback(interaction, number))
            self.write(interaction)
        elif action == "again" and self.interactions:
            interaction = list(self.interactions.values())[number % len(self.interactions)]
            self.write(
                self.make_feedback(interaction, number), self.make_feedback(interaction, number + 1)
            )
        elif action == "delete" and (ids := self.deletable_ids()):
            self.deleted.append(ids[number % len(ids)])
            self.trial.store.delete(self.deleted[-1])
        elif action == "restore" and self.deleted:
            self.trial.store.restore(self.deleted.pop())
        elif action == "look":
            self.reader.refresh(check=bool(number % 2))
        elif action == "restart":
            self.reader = self.trial.reader()
        elif action == "other":
            other = self.trial.interaction(self.trial.control)
            self.write(other.model_copy(update={"metadata": {}, "id": f"{other.id}-other"}))
        elif action == "stop" and self.reader.refresh().active_arms[2:]:
            stop(self.trial.store, "trial", arm=self.reader.state.active_arms[1], actor="ada")

    def deletable_ids(self):
        """Return the ids of visible records; a deleted interaction hides its feedback."""
        feedback = [item.id for item in self.trial.store.feedback()]
        return [*feedback, *(case.interaction.id for case in self.trial.store.cases())]

    def replayed_state(self):
        """Return the state by the plain fold over the records in the store."""
        store = self.trial.store
        interactions = {case.interaction.id: case.interaction for case in store.cases()}
        feedback = [(interactions[item.interaction], item) for item in store.feedback()]
        return replay(read_events(store, "trial"), interactions.values(), feedback)


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
@given(actions=ACTIONS)
@settings(max_examples=12)
def test_incremental_and_full_reading_give_the_same_state(shared, fields, actions):
    store = shared.in_project(f"project {next(NUMBERS)}")
    log = Log(make_trial(store, candidates=2, **fields))
    for action, number in actions:
        log.apply(action, number)
    state = log.reader.refresh(check=True)
    assert state == log.trial.reader().refresh()
    assert state == log.replayed_state()
    assert summarise(state) == summarise(log.replayed_state())


def test_an_interrupted_refresh_is_repeated_without_counting_twice(store, monkeypatch):
    trial = make_trial(store)
    trial.traffic(dict.fromkeys(trial.experiment.arms, 1.0), 20)
    reader = trial.reader()
    read = IncrementalReader.new_feedback

    def broken(self):
        yield from read(self)
        raise OSError("the store is unavailable")

    monkeypatch.setattr(IncrementalReader, "new_feedback", broken)
    with pytest.raises(OSError, match="unavailable"):
        reader.refresh()
    monkeypatch.undo()
    assert reader.refresh() == trial.reader().refresh()
    assert reader.state.judged == 20


def test_a_unit_counts_once_with_its_first_judgement(store):
    trial = make_trial(store, unit="user")
    for good in (True, False, False):
        interaction = trial.interaction(trial.control, user="bo")
        store.add(interaction, trial.thumb(interaction, good))
    nameless = trial.interaction(trial.control)
    store.add(nameless, trial.thumb(nameless, good=False))
    state = trial.reader().refresh()
    assert state.arms[trial.control].values["thumb"] == Counter({1.0: 1, 0.0: 1})
    assert state.arms[trial.control].impressions == 4


def test_answers_of_other_experiments_are_not_counted(store):
    trial = make_trial(store)
    interaction = trial.interaction(trial.control)
    metadata = {"gateway": {"experiment": make_note("another", {trial.control: 1.0})}}
    store.add(
        other := interaction.model_copy(update={"metadata": metadata}),
        trial.thumb(other, good=True),
    )
    state = trial.reader().refresh()
    assert (state.impressions, state.judged) == (0, 0)


def test_effects_are_weighted_only_where_both_arms_had_traffic(store):
    trial = make_trial(store, candidates=2, allocation="thompson", floor=0.2)
    first_arm, second_arm = trial.candidates
    for arm, good, probabilities in (
        (trial.control, True, {trial.control: 0.5, first_arm: 0.25, second_arm: 0.25}),
        (first_arm, True, {trial.control: 0.5, first_arm: 0.25, second_arm: 0.25}),
        (first_arm, False, {trial.control: 0.6, first_arm: 0.4}),
    ):
        interaction = trial.interaction(arm, probabilities)
        store.add(interaction, trial.thumb(interaction, good))
    state = trial.reader().refresh()
    first, second = (state.arms[arm].effects["thumb"] for arm in (first_arm, second_arm))
    # Each is centred on the mean of both arms before it: 0.5, then 1 twice.
    assert first.total == pytest.approx(-0.5 / 0.5 + 0 / 0.25 + -1 / 0.4)
    assert (first.n, second.n) == (3, 2)
    assert second.total == pytest.approx(-0.5 / 0.5)


def test_an_arm_that_is_judged_more_often_has_no_advantage(store):
    """The first candidate equals the control; the second is better and gets most traffic."""
    trial = make_trial(store, candidates=2, allocation="thompson", floor=0.2)
    probabilities = dict(zip(trial.experiment.arms, (0.2, 0.2, 0.6), strict=True))
    records = []
    for index, arm in enumerate(trial.rng.choice(trial.experiment.arms, 6000, p=(0.2, 0.2, 0.6))):
        interaction = trial.interaction(str(arm), probabilities)
        records.append(interaction)
        if arm == trial.candidates[0] or index % 5 == 0:
            rate = 0.95 if arm == trial.candidates[1] else 0.5
            records.append(trial.thumb(interaction, trial.rng.random() < rate))
    store.add(*records)
    equal, better = summarise(trial.reader().refresh()).candidates
    assert (equal.verdict, better.verdict) == ("open", "better")
    assert abs(equal.outcome.difference.value) < 0.08


def interaction_by(*policies):
    return Interaction(
        id="i",
        prompt=(Message.user("Hi"),),
        responses=tuple(
            Response(id=str(i), text=f"{i}", policy=arm) for i, arm in enumerate(policies)
        ),
    )


def on_interaction(**fields):
    return {"interaction": "i", "annotator": ADA, **fields}


@pytest.mark.parametrize(
    ("item", "signal", "value"),
    [
        (Label(**on_interaction(response="0", good=True)), "thumb", 1.0),
        (Label(**on_interaction(response="0", good=True, aspect="tone")), "thumb", None),
        (Label(**on_interaction(response="0", good=False, aspect="tone")), "thumb:tone", 0.0),
        (Rating(**on_interaction(response="0", value=4)), "rating", 0.75),
        (Rating(**on_interaction(response="0", value=4)), "thumb", None),
        (Outcome(**on_interaction(response="0", passed=True)), "outcome", 1.0),
        (Outcome(**on_interaction(response="0", score=0.12345)), "outcome", 0.123),
    ],
)
def test_the_score_of_feedback_by_signal(item, signal, value):
    result = score_feedback(interaction_by("a"), item, signal)
    assert result == (None if value is None else ("a", value))


DUEL = Experiment(name="d", control="a", candidates=("b",), allocation="dueling",
                  outcome="preference")  # fmt: skip


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (Preference(**on_interaction(a="0", b="1", verdict="a")), 0.0),
        (Preference(**on_interaction(a="1", b="0", verdict="a")), 1.0),
        (Preference(**on_interaction(a="0", b="1", verdict="tie")), 0.5),
        (Preference(**on_interaction(a="0", b="1", verdict="both_bad")), None),
        (Preference(**on_interaction(a="0", b="1", verdict="b", probability=0.25)), 0.75),
        (Preference(**on_interaction(a="0", b="2", verdict="a")), None),
        (Preference(**on_interaction(a="0", b="1", verdict="a", aspect="tone")), None),
        (Choice(**on_interaction(chosen="1", shown=[Shown(response=r) for r in "012"])), 1.0),
        (Choice(**on_interaction(chosen=None, shown=[Shown(response="0")])), None),
        (Ranking(**on_interaction(tiers=(("1",), ("0",), ("2",)))), 1.0),
        (Ranking(**on_interaction(tiers=(("0",), ("1",), ("2",)))), 0.5),
        (Ranking(**on_interaction(tiers=(("0", "1"), ("2",)), within="unordered")), 1.0),
        (Label(**on_interaction(response="0", good=True)), None),
    ],
)
def test_the_result_of_a_duel(item, value):
    """The first and the last answer are by the candidate, the middle one by the control."""
    interaction = interaction_by("b", "a", "b")
    assert get_arms(interaction) == ("b", "a")
    assert duel(interaction, item, DUEL) == value


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_invalid_experiments_are_rejected(fields, message):
    with pytest.raises(ValueError, match=message):
        Experiment(**{"name": "x", "control": "a", "candidates": ("b",), **fields})


def test_an_experiment_survives_json():
    trial = Experiment(name="x", control="a", candidates=("b", "c"), rule=DecisionRule(horizon=10))
    assert Experiment.model_validate_json(trial.to_json()) == trial
    assert trial.shares == (1 / 3,) * 3


@pytest.mark.parametrize("allocation", ["fixed", "thompson"])
def test_a_change_of_mind_counts_once_with_the_last_judgement(store, allocation):
    """The state is that of an experiment in which only the last judgements were made."""
    shares = {"floor": 0.2} if allocation == "thompson" else {}
    trial = make_trial(store, candidates=1, allocation=allocation, **shares)
    probabilities = dict.fromkeys(trial.experiment.arms, 0.5)
    answers = [trial.interaction(arm, probabilities) for arm in trial.experiment.arms * 2]
    store.add(*answers)
    first = [trial.thumb(answer, good) for answer, good in zip(answers, (1, 0, 1, 1), strict=True)]
    last = [trial.thumb(answers[0], True), trial.thumb(answers[0], False)]
    store.add(*first)
    reader = trial.reader()
    assert reader.refresh().judged == 4
    store.add(*last)
    state = reader.refresh()
    events = read_events(store, "trial")
    counted = [(answers[0], last[1]), *zip(answers[1:], first[1:], strict=True)]
    expected = replay(events, answers, counted)
    assert state.judged == expected.judged == 4
    assert state.arms == expected.arms
    for arm in trial.experiment.candidates:
        if allocation == "thompson":
            effect, right = (s.arms[arm].effects["thumb"] for s in (state, expected))
            assert (effect.total, effect.squares) == (right.total, right.squares)


def test_another_persons_judgement_of_a_judged_answer_does_not_replace_it(store):
    trial = make_trial(store)
    answer = trial.interaction(trial.control)
    bo = trial.thumb(answer, False).model_copy(update={"annotator": Annotator.human("bo")})
    store.add(answer, trial.thumb(answer, True), bo)
    state = trial.reader().refresh()
    assert state.arms[trial.control].values["thumb"] == Counter({1.0: 1})


@pytest.mark.parametrize(
    ("verdicts", "expected"), [("ab", {0.0: 1}), ("aab", {0.0: 1}), ("a!", {}), ("a!b", {0.0: 1})]
)
def test_a_change_of_mind_in_a_duel_counts_once(store, verdicts, expected):
    trial = make_trial(store, allocation="dueling", outcome="preference")
    pair = trial.pair(*trial.experiment.arms[:2])
    names = {"a": "a", "b": "b", "!": "both_bad"}
    store.add(pair, *(trial.preference(pair, names[verdict]) for verdict in verdicts))
    state = trial.reader().refresh()
    assert [dict(results) for results in state.duels.values()] == [expected]
    assert state.judged == sum(expected.values())
    assert sum(+arm.lengths.total() for arm in state.arms.values()) == 2 * state.judged

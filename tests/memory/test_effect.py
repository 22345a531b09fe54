"""Measured effect of memory entries: estimates against known truth, and retirement."""

from datetime import timedelta

import numpy as np
import pytest

from backtalk.errors import BacktalkError, Conflict
from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Edit,
    FollowUp,
    Interaction,
    Label,
    MemoryUse,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
    Scope,
    Shown,
)
from backtalk.memory import Memory, MemoryEntry
from backtalk.memory.effect import (
    entry_effects,
    harmful_entries,
    retire_harmful,
)
from backtalk.memory.effect.recorder import EffectRecorder
from backtalk.memory.effect.retirement import spending
from backtalk.memory.effect.scores import correction_scores, judgement_scores
from backtalk.memory.effect.shrinkage import shrunk_effects
from backtalk.memory.effect.updating import EffectStore
from backtalk.stats import average_confidence_sequence, log_e_value, weighted_confidence_sequence
from backtalk.store import Store

NOW = timedelta(0)
PROMPT = (Message.user("Write a mail to my boss."),)
ADA = Annotator.human("ada")
WITH = (MemoryUse(entry="e", shown=True, propensity=0.8),)
WITHOUT = (MemoryUse(entry="e", shown=False, propensity=0.8),)


def simulate(seed, number, effects, *, withhold=0.2, users=20, peek=None):
    """Return the recorder of answers to users who rate high or low, for whom entries apply
    the more often the higher they rate, and which intervals ever missed the effect."""
    rng = np.random.default_rng(seed)
    recorder = EffectRecorder()
    level = np.clip(0.5 + 0.2 * rng.standard_normal(users), 0.15, 0.85)
    missed = np.zeros(len(effects), bool)
    for i in range(1, number + 1):
        user = int(rng.integers(users))
        applies = rng.random(len(effects)) < level[user]
        shown = rng.random(len(effects)) >= withhold
        uses = [
            MemoryUse(entry=str(k), shown=bool(shown[k]), propensity=1 - withhold)
            for k in np.flatnonzero(applies)
        ]
        mean = level[user] + (np.asarray(effects) * applies * shown).sum()
        recorder.add(
            "judgements", uses, float(rng.random() < mean), prompt=PROMPT, user=f"user {user}"
        )
        if peek and i % peek == 0:
            for k, effect in enumerate(effects):
                interval = interval_of(recorder, k)
                missed[k] |= interval is not None and not interval.low <= effect <= interval.high
    return recorder, missed


def interval_of(recorder, k):
    return recorder.entry(str(k)).sums["judgements"].interval(level=0.95, grouped=True)


@pytest.fixture
def store():
    with Store(":memory:") as store:
        yield store


def add_answers(store, rng, number, *, effect, entry="e", users=10, corrected=None, judged=1.0):
    """Add answers with labels of mean 0.6 without the entry, or with edits."""
    records = []
    for _ in range(number):
        user = f"user {rng.integers(users)}"
        shown = bool(rng.random() < 0.8)
        uses = (MemoryUse(entry=entry, shown=shown, propensity=0.8),)
        response = Response(id="0", text="a b c d", memory=uses)
        interaction = Interaction(prompt=PROMPT, user=user, responses=(response,))
        records.append(interaction)
        about = {"interaction": interaction.id, "annotator": Annotator.human(user)}
        if corrected is not None:
            if rng.random() < corrected - effect * shown:
                records.append(Edit(**about, response="0", text="w x y z"))
        elif rng.random() < judged:
            good = bool(rng.random() < 0.6 + effect * shown)
            records.append(Label(**about, response="0", good=good))
    store.add(*records)


# Sequences


def test_equal_weights_give_the_unweighted_sequence():
    numbers = np.random.default_rng(0).uniform(-1, 1, 200)
    weighted = weighted_confidence_sequence(
        numbers.sum() / 4, (numbers**2).sum() / 16, 200 / 4, 200, level=0.9
    )
    plain = average_confidence_sequence(numbers.sum(), (numbers**2).sum(), 200, bound=4, level=0.9)
    assert (weighted.low, weighted.high) == pytest.approx((plain.low, plain.high))


def test_the_e_value_reaches_the_threshold_as_the_interval_leaves_zero():
    for total in np.linspace(0, 40, 81):
        low = weighted_confidence_sequence(total, 20.0, 100.0, 100).low
        assert (low > 0) == (log_e_value(total, 20.0) > np.log(2 / 0.05))


# Scores


def two_responses(first=WITH, second=WITHOUT):
    return Interaction(
        id="i",
        prompt=PROMPT,
        responses=(
            Response(id="0", text="a b c d", memory=first),
            Response(id="1", text="e f g h", memory=second),
        ),
    )


@pytest.mark.parametrize(
    ("item", "scores"),
    [
        (Label(interaction="i", annotator=ADA, response="0", good=True), {WITH: 1.0}),
        (Label(interaction="i", annotator=ADA, response="0", good=True, aspect="style"), {}),
        (Rating(interaction="i", annotator=ADA, response="1", value=4), {WITHOUT: 0.75}),
        (Outcome(interaction="i", annotator=ADA, response="0", passed=False), {WITH: 0.0}),
        (
            Preference(interaction="i", annotator=ADA, a="0", b="1", verdict="b"),
            {WITH: 0.0, WITHOUT: 1.0},
        ),
        (
            Ranking(interaction="i", annotator=ADA, tiers=(("0",), ("1",))),
            {WITH: 1.0, WITHOUT: 0.0},
        ),
        (
            Choice(
                interaction="i",
                annotator=ADA,
                chosen="1",
                shown=(Shown(response="0"), Shown(response="1")),
            ),
            {WITH: 0.0, WITHOUT: 1.0},
        ),
        (Edit(interaction="i", annotator=ADA, response="0", text="a"), {}),
    ],
)
def test_judgements_have_a_score_for_each_draw_of_the_entries(item, scores):
    assert judgement_scores(two_responses(), item) == scores


def test_a_preference_between_answers_with_the_same_entries_shows_no_effect():
    item = Preference(interaction="i", annotator=ADA, a="0", b="1", verdict="b")
    assert judgement_scores(two_responses(WITH, WITH), item) == {}


@pytest.mark.parametrize("chosen", ["0", None])
def test_a_choice_among_answers_with_the_same_entries_scores_a_pick(chosen):
    shown = (Shown(response="0"), Shown(response="1"))
    item = Choice(interaction="i", annotator=ADA, chosen=chosen, shown=shown)
    expected = {WITH: float(chosen is not None)}
    assert judgement_scores(two_responses(WITH, WITH), item) == expected


@pytest.mark.parametrize(
    ("items", "scores"),
    [
        ([], {WITH: 1.0, WITHOUT: 1.0}),
        ([Edit(interaction="i", annotator=ADA, response="0", text="a b x y")], (0.5, 1.0)),
        ([Critique(interaction="i", annotator=ADA, response="1", text="Rude.")], (1.0, 0.0)),
        ([FollowUp(interaction="i", annotator=ADA, text="No!", act="complaint")], (0.0, 0.0)),
        ([FollowUp(interaction="i", annotator=ADA, text="Thanks", act="thanks")], (1.0, 1.0)),
    ],
)
def test_what_nobody_corrects_counts_as_right(items, scores):
    if isinstance(scores, tuple):
        scores = dict(zip((WITH, WITHOUT), scores, strict=True))
    assert correction_scores(two_responses(), items) == scores


# Estimates


def test_effects_of_several_entries_are_recovered_where_users_who_rate_higher_see_more_of_them():
    effects = [0.15, -0.15, 0.0]
    runs = [simulate(seed, 3_000, effects)[0] for seed in range(3)]
    for k, effect in enumerate(effects):
        estimates = [interval_of(run, k).value for run in runs]
        assert np.mean(estimates) == pytest.approx(effect, abs=0.05)


def test_intervals_cover_at_all_times():
    missed = [simulate(seed, 400, [0.1, -0.2], peek=40)[1] for seed in range(12)]
    assert np.mean(missed) <= 0.05


def test_numbers_are_unbiased_whatever_the_prediction():
    """The average over both draws is the effect, for any prediction and probability."""
    for predicted in (0.0, 0.3, 1.0):
        for p in (0.5, 0.95):
            sums = EffectRecorder().entry("e").sums["judgements"]
            with_entry = sums._number(True, p, 0.7, predicted)
            without = sums._number(False, p, 0.4, predicted)
            assert p * with_entry + (1 - p) * without == pytest.approx(0.3)


def test_an_entry_that_is_always_shown_has_no_estimate(store):
    Memory(store).add([MemoryEntry(id="e", kind="principle", text="Be brief.")])
    response = Response(id="0", text="Yes.", memory=(MemoryUse(entry="e"),))
    interaction = Interaction(prompt=PROMPT, responses=(response,))
    store.add(
        interaction, Label(interaction=interaction.id, annotator=ADA, response="0", good=True)
    )
    effect = entry_effects(store, Memory(store))["e"]
    assert (effect.estimate, effect.low, effect.high) == (None, -1.0, 1.0)
    assert (effect.shown, effect.wins, effect.feedback) == (1, 1, {"label": 1})


def test_estimates_with_much_noise_are_drawn_to_the_mean():
    shrunk = shrunk_effects([0.1, 0.1, 0.1, 0.1, 0.9], [1e-4, 1e-4, 1e-4, 1e-4, 1.0])
    assert shrunk[0] == pytest.approx(0.1, abs=0.01)
    assert shrunk[4] < 0.2


# The store


@pytest.fixture
def memory(store):
    memory = Memory(store)
    memory.add([MemoryEntry(id="e", kind="principle", text="Be rude to everybody.")])
    return memory


def test_reading_in_parts_gives_what_reading_at_once_gives(store, memory):
    rng = np.random.default_rng(0)
    other = store.in_project("other")
    Memory(other).add(memory.entries())
    for _ in range(3):
        add_answers(store, rng, 40, effect=0.2)
        entry_effects(store, memory, wait=NOW)
    for case in store.cases():
        other.add(case.interaction, *case.feedback)
    at_once = entry_effects(other, Memory(other), wait=NOW)["e"]
    assert entry_effects(store, memory, wait=NOW)["e"] == at_once


def test_records_are_read_once(store, memory, monkeypatch):
    add_answers(store, np.random.default_rng(0), 30, effect=0.2)
    entry_effects(store, memory, wait=NOW)
    versions = store.aggregates.head("memory effects")
    monkeypatch.setattr(EffectStore, "save", lambda *_: pytest.fail("read again"))
    entry_effects(store, memory, wait=NOW)
    assert store.aggregates.head("memory effects") == versions


def test_deleted_feedback_and_purged_users_do_not_count(store, memory):
    rng = np.random.default_rng(0)
    add_answers(store, rng, 40, effect=0.2)
    before = entry_effects(store, memory, wait=NOW)["e"]
    (case, *_) = [case for case in store.cases() if case.feedback]
    store.delete(case.feedback[0].id)
    deleted = entry_effects(store, memory, wait=NOW)["e"]
    assert deleted.feedback["label"] == before.feedback["label"] - 1
    store.purge("user 1")
    purged = entry_effects(store, memory, wait=NOW)["e"]
    assert purged.feedback["label"] < deleted.feedback["label"]
    assert all("user 1" not in body for body in store.aggregates.rows("memory effects").values())


def test_an_entry_that_prevents_edits_has_an_effect_on_corrections(store, memory):
    """Answers that nobody edits leave no feedback, so that silence counts."""
    add_answers(store, np.random.default_rng(0), 1_200, effect=0.4, corrected=0.6)
    effect = entry_effects(store, memory, wait=NOW)["e"]
    assert effect.measure == "corrections"
    assert effect.low > 0
    assert effect.estimate == pytest.approx(0.4, abs=0.1)


def test_recent_silence_does_not_count_yet(store, memory):
    add_answers(store, np.random.default_rng(0), 50, effect=0.0, corrected=0.5)
    effect = entry_effects(store, memory)["e"]
    assert (effect.scored_shown, effect.shown + effect.withheld) == (0, 50)


def test_feedback_may_be_missing_or_late(store, memory):
    rng = np.random.default_rng(3)
    add_answers(store, rng, 1_000, effect=0.0, judged=0.0)
    entry_effects(store, memory, wait=NOW)
    late = [
        Label(
            interaction=interaction.id,
            annotator=ADA,
            response="0",
            good=bool(rng.random() < 0.4 + 0.3 * interaction.responses[0].memory[0].shown),
        )
        for interaction in (case.interaction for case in store.cases())
        if rng.random() < 0.6
    ]
    store.add(*(late[i] for i in rng.permutation(len(late))))
    effect = entry_effects(store, memory, wait=NOW)["e"]
    assert effect.low < 0.3 < effect.high
    assert effect.estimate == pytest.approx(0.3, abs=0.12)


def test_only_the_first_judgement_of_an_answer_counts(store, memory):
    add_answers(store, np.random.default_rng(0), 20, effect=0.0)
    entry_effects(store, memory, wait=NOW)
    (case, *_) = store.cases()
    store.add(Label(interaction=case.interaction.id, annotator=ADA, response="0", good=False))
    assert entry_effects(store, memory, wait=NOW)["e"].feedback == {"label": 20}


def test_two_updates_at_the_same_time_do_not_count_twice(store, memory):
    add_answers(store, np.random.default_rng(0), 20, effect=0.0)
    stale = EffectStore(store)
    entry_effects(store, memory, wait=NOW)
    with pytest.raises(Conflict):
        stale.save(set())


# Retirement


def test_a_harmful_entry_retires_with_its_numbers_and_stays_if_it_is_taken_back(store, memory):
    rng = np.random.default_rng(0)
    add_answers(store, rng, 500, effect=-0.6)
    assert [one.entry.id for one in harmful_entries(store, memory, wait=NOW)] == ["e"]
    assert memory.get("e").state == "active"
    (retirement,) = retire_harmful(store, memory, wait=NOW)
    change = memory.history("e")[0]
    assert (memory.get("e").state, change.action) == ("retired", "retired")
    assert change.reason == retirement.reason
    assert "measured effect on judgements -0." in change.reason
    memory.undo(change.number, actor="ada")
    assert retire_harmful(store, memory, wait=NOW) == []
    add_answers(store, rng, 800, effect=-0.6)
    assert len(retire_harmful(store, memory, wait=NOW)) == 1


def test_harmless_entries_stay():
    """The error rate holds over all entries and times."""
    recorder, _ = simulate(1, 1_500, [0.0] * 15)
    logs = [
        record.sums["judgements"].log_evidence_of_harm(grouped=True)
        + np.log(0.05 * spending(record.order))
        for record in recorder.entries.values()
    ]
    assert max(logs) < 0


def test_all_shares_of_the_error_rate_sum_to_one():
    total = sum(spending(order) for order in range(1, 100_000))
    assert 0.9 < total < 1


def one_against_many(scope):
    """Add answers to one user who rejects all answers with the entry, and to others who do not."""
    store = Store(":memory:")
    memory = Memory(store)
    memory.add([MemoryEntry(id="e", kind="principle", text="Be kind.", scope=scope)])
    rng = np.random.default_rng(0)
    records = []
    for i in range(900):
        user = "mallory" if i % 3 else f"user {i % 7}"
        shown = bool(rng.random() < 0.8)
        uses = (MemoryUse(entry="e", shown=shown, propensity=0.8),)
        interaction = Interaction(
            prompt=PROMPT, user=user, responses=(Response(id="0", text="Hi", memory=uses),)
        )
        good = not shown if user == "mallory" else bool(rng.random() < 0.6)
        annotator = Annotator.human(user)
        records += [
            interaction,
            Label(interaction=interaction.id, annotator=annotator, response="0", good=good),
        ]
    store.add(*records)
    return store, memory


def test_one_person_cannot_retire_an_entry_for_others():
    store, memory = one_against_many(Scope())
    assert retire_harmful(store, memory) == []


def test_a_person_can_retire_an_entry_for_themselves():
    store, memory = one_against_many(Scope(users=("mallory",)))
    assert len(retire_harmful(store, memory)) == 1


def test_the_error_rate_is_checked(store, memory):
    with pytest.raises(BacktalkError, match="error rate"):
        retire_harmful(store, memory, error_rate=0)

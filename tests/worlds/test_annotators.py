"""Simulated annotators: truthful by default, with errors that can be recovered from feedback."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import numpy as np
import pytest

from backtalk.errors import BacktalkError, RecordError, UnknownName
from backtalk.feedback import Interaction, Label, Response
from backtalk.worlds import ErrorRates, apply_fixes, get_world, world_names
from backtalk.worlds.annotators import (
    FEEDBACK_KINDS,
    SECONDS_PER_ITEM,
    Crowd,
    Group,
    Person,
    VarianceComponents,
    give_feedback,
    make_crowd,
    parse_person_options,
    variance_components,
)
from backtalk.worlds.skills import VAGUE_CRITIQUES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TRUTH = Person("ada")
MAIL = get_world("mail")


def interactions(world="mail", count=40, *, responses=4, seed=0):
    """Return interactions with responses at three error rates, and an ideal one in every third."""
    home = get_world(world)
    rng = np.random.default_rng(seed)
    error_rates_list = [
        ErrorRates(),
        ErrorRates(0.6, 0.5, 0.6, 0.6),
        ErrorRates(0.1, 0.1, 0.1, 0.1),
    ]
    results = []
    for index, task in enumerate(home.tasks("train", count, seed=seed)):
        texts = [home.write(task, rng, error_rates_list[i % 3]) for i in range(responses)]
        if index % 3 == 0:
            texts[index % responses] = home.ideal(task)
        interaction = Interaction.of(task.text, *texts)
        results.append(
            interaction.model_copy(update={"time": NOW, "id": f"{world}-{seed}-{index}"})
        )
    return results


INTERACTIONS = interactions()
PAIRED_INTERACTIONS = interactions(count=300, responses=2, seed=1)


def truth(world, interaction):
    """Return the world's assessment of each response."""
    return [
        get_world(world).score(interaction.prompt, response.text)
        for response in interaction.responses
    ]


def utilities(interaction, world="mail"):
    return np.array([result.utility for result in truth(world, interaction)])


def near(rate, expected, times):
    """Return true if a rate is within 4.5 standard errors of the expected one."""
    error = np.sqrt(max(expected * (1 - expected), 0.25 / times) / times)
    return abs(rate - expected) < 4.5 * error


def gain(world, interaction, issue):
    """Return the gain in utility of the first response when an issue is fixed."""
    home, text = get_world(world), interaction.responses[0].text
    return (
        home.score(interaction.prompt, apply_fixes(text, [issue])).utility
        - home.score(interaction.prompt, text).utility
    )


# Default annotators are truthful. One checker per kind of feedback.


def label_is_true(feedback, interaction, world):
    good = [utility >= 0.85 for utility in utilities(interaction, world)]
    assert [(item.response, item.good) for item in feedback] == [
        (str(i), value) for i, value in enumerate(good)
    ]


def rating_is_true(feedback, interaction, world):
    for item, utility in zip(feedback, utilities(interaction, world), strict=True):
        assert item.aspect == "overall"
        assert item.scale.name == "stars"
        assert abs(item.value - (1 + 4 * utility)) <= 0.5 + 1e-9


def aspects_is_true(feedback, interaction, world):
    result = truth(world, interaction)
    weights = get_world(world).weights
    assert len(feedback) == len(result) * len(weights)
    assert {(item.response, item.aspect) for item in feedback} == {
        (response.id, aspect) for response in interaction.responses for aspect in weights
    }
    for item in feedback:
        value = result[int(item.response)].aspects[item.aspect]
        assert abs(item.value - (1 + 4 * value)) <= 0.5 + 1e-9


def preference_is_true(feedback, interaction, world):
    (item,) = feedback
    assert (item.a, item.b) == ("0", "1")
    a, b = utilities(interaction, world)[:2]
    if max(a, b) < 0.45:
        assert item.verdict == "both_bad"
    elif abs(a - b) < 0.01:
        assert item.verdict == "tie"
    else:
        assert item.verdict == ("a" if a > b else "b")
        assert item.strength == pytest.approx(abs(a - b))


def ranking_is_true(feedback, interaction, world):
    (item,) = feedback
    values = utilities(interaction, world)
    tiers = [[values[int(id_)] for id_ in tier] for tier in item.tiers]
    assert sorted(id_ for tier in item.tiers for id_ in tier) == [str(i) for i in range(4)]
    for tier in tiers:
        assert max(tier) - min(tier) < 0.01
    for better, worse in pairwise(tiers):
        assert min(better) > max(worse)
        assert max(better) - max(worse) >= 0.01


def critique_is_true(feedback, interaction, world):
    issues = truth(world, interaction)[0].issues
    if not issues:
        assert feedback == []
        return
    (item,) = feedback
    assert item.response == "0"
    gains = [gain(world, interaction, issue) for issue in issues]
    matches = [
        issue
        for issue in issues
        if (issue.advice, issue.aspect) == (item.text, item.aspect)
        and item.start in {None, issue.start}
    ]
    assert matches
    assert max(gain(world, interaction, issue) for issue in matches) == pytest.approx(max(gains))
    assert (item.start is None) == all(issue.start == issue.end for issue in matches)


def edit_is_true(feedback, interaction, world):
    issues = truth(world, interaction)[0].issues
    assert bool(feedback) == bool(issues)
    for item in feedback:
        assert item.response == "0"
        assert item.text == apply_fixes(interaction.responses[0].text, issues)
        assert get_world(world).score(interaction.prompt, item.text).utility == pytest.approx(1)


def demonstration_is_true(feedback, interaction, world):
    (item,) = feedback
    assert get_world(world).score(interaction.prompt, item.text).utility == pytest.approx(1)


def spans_is_true(feedback, interaction, world):
    (item,) = feedback
    marked = [issue for issue in truth(world, interaction)[0].issues if issue.start < issue.end]
    assert sorted((span.start, span.end, span.label) for span in item.spans) == sorted(
        (issue.start, issue.end, issue.label) for issue in marked
    )
    for span, issue in zip(item.spans, marked, strict=True):
        assert not span.good
        assert span.severity == pytest.approx(max(0, gain(world, interaction, issue)))


def steps_is_true(feedback, interaction, world):
    steps = truth(world, interaction)[0].steps
    assert bool(feedback) == bool(steps)
    named = {"right": "right", "wrong": "wrong", "follows": "neutral"}
    for item in feedback:
        assert [(step.start, step.end, step.verdict) for step in item.steps] == [
            (step.start, step.end, named[step.truth]) for step in steps
        ]


def outcome_is_true(feedback, interaction, world):
    for item, result in zip(feedback, truth(world, interaction), strict=True):
        assert item.annotator.kind == "verifier"
        assert (item.passed, item.text) == (result.passed, result.trace)


def follow_up_is_true(feedback, interaction, world):
    (item,) = feedback
    home = get_world(world)
    result = truth(world, interaction)[0]
    assert item.annotator.kind == "implicit"
    assert (item.act == "thanks") == (result.utility >= 0.85)
    if item.act == "rephrasing":
        assert item.text == home.rephrase(home.parse_prompt(interaction.prompt))
    elif item.act == "complaint":
        assert item.text == f"That is not right. {result.issues[0].description}"


def choice_is_true(feedback, interaction, world):
    (item,) = feedback
    values = utilities(interaction, world)
    assert item.annotator.kind == "implicit"
    assert [shown.response for shown in item.shown] == ["0", "1", "2", "3"]
    if values.max() >= 0.85:
        assert values[int(item.chosen)] == pytest.approx(values.max())
    else:
        assert item.chosen is None


def instruction_is_true(feedback, interaction, world):
    assert feedback == []


def realtime_is_true(feedback, interaction, world):
    text = interaction.responses[0].text
    positions = [(item.metadata["start"], item.metadata["end"]) for item in feedback]
    assert "".join(text[start:end] for start, end in positions) == text
    result = truth(world, interaction)[0]
    lost = 0.0
    for item, (start, end) in zip(feedback, positions, strict=True):
        assert (item.scale.name, item.aspect, item.response) == ("realtime", "realtime", "0")
        issues = [
            issue
            for issue in result.issues
            if start <= issue.start < end or (end == len(text) <= issue.start)
        ]
        cost = sum(gain(world, interaction, issue) for issue in issues)
        assert item.value == pytest.approx(1 - 2 * min(1, max(cost, 0) / 0.1))
        lost += bool(issues)
    assert bool(lost) == bool(result.issues and text)


CHECKS = {
    "label": label_is_true,
    "rating": rating_is_true,
    "aspects": aspects_is_true,
    "preference": preference_is_true,
    "ranking": ranking_is_true,
    "critique": critique_is_true,
    "edit": edit_is_true,
    "demonstration": demonstration_is_true,
    "spans": spans_is_true,
    "steps": steps_is_true,
    "outcome": outcome_is_true,
    "follow_up": follow_up_is_true,
    "choice": choice_is_true,
    "instruction": instruction_is_true,
    "realtime": realtime_is_true,
}


def test_every_kind_is_checked():
    assert set(CHECKS) == set(FEEDBACK_KINDS) == set(SECONDS_PER_ITEM)


@pytest.mark.parametrize("world", world_names())
@pytest.mark.parametrize("kind", FEEDBACK_KINDS)
def test_by_default_people_say_the_truth(kind, world):
    for interaction in interactions(world, 16):
        feedback = give_feedback(Person("ada", world_name=world), kind, interaction)
        for item in feedback:
            item.check(interaction)
            assert item.time == NOW
        CHECKS[kind](feedback, interaction, world)


NOISY = {
    "noise": 0.3, "temperature": 0.2, "taste": 0.1, "delay": 60.0, "abstention": 0.1,
    "length_bias": 0.1, "position_bias": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("world", world_names())
@pytest.mark.parametrize("kind", FEEDBACK_KINDS)
def test_what_noisy_people_say_fits_the_interaction_too(kind, world):
    home = get_world(world)
    rules = tuple(home.rules[:8])
    for critic, editing in [("directional", "minimal"), ("wrong", "full"), ("vague", "full")]:
        person = Person(
            "bo", world_name=world, rules=rules, critique_style=critic, edit_style=editing, **NOISY
        )
        for interaction in interactions(world, 4, seed=3):
            for item in give_feedback(person, kind, interaction):
                item.check(interaction)
                assert item.time >= NOW


@pytest.mark.parametrize("kind", [kind for kind in FEEDBACK_KINDS if kind != "instruction"])
def test_a_person_repeats_themselves_and_is_somebody_else_under_another_seed(kind):
    def all_feedback(person):
        return [
            [item.to_json() for item in give_feedback(person, kind, interaction)]
            for interaction in PAIRED_INTERACTIONS[:60]
        ]

    noisy = Person("ada", **NOISY)
    feedback = all_feedback(noisy)
    assert feedback == all_feedback(replace(noisy))
    assert feedback != all_feedback(replace(noisy, seed=1))
    assert feedback != all_feedback(replace(noisy, name="bo"))
    ids = [
        item.id
        for interaction in PAIRED_INTERACTIONS[:60]
        for item in give_feedback(noisy, kind, interaction)
    ]
    assert len(set(ids)) == len(ids)


def test_feedback_of_a_kind_does_not_hang_on_what_else_was_asked_for():
    noisy = Person("ada", **NOISY)
    alone = [give_feedback(noisy, "rating", interaction) for interaction in INTERACTIONS]
    for interaction, feedback in zip(INTERACTIONS, alone, strict=True):
        give_feedback(noisy, "label", interaction)
        assert give_feedback(noisy, "rating", interaction) == feedback


# Each option is recovered from feedback.


def flips(kind, noise, says):
    """Return how many judgements were turned round, and how many there are."""
    honest, noisy = Person("ada"), Person("ada", noise=noise)
    turned = total = 0
    for interaction in PAIRED_INTERACTIONS:
        for one, other in zip(
            give_feedback(honest, kind, interaction),
            give_feedback(noisy, kind, interaction),
            strict=True,
        ):
            for before, after in zip(says(one), says(other), strict=True):
                turned += before != after
                total += 1
    return turned, total


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("label", lambda item: [item.good]),
        ("outcome", lambda item: [item.passed]),
        ("steps", lambda item: [step.verdict for step in item.steps]),
        ("preference", lambda item: [item.verdict] if item.verdict in {"a", "b"} else []),
        ("rating", lambda item: [item.value > 3] if item.value != 3 else []),
        ("realtime", lambda item: [item.value > 0] if item.value else []),
        ("follow_up", lambda item: [item.act == "thanks"]),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.15, 0.5])
def test_noise_is_the_rate_at_which_judgements_are_turned_round(kind, says, noise):
    turned, total = flips(kind, noise, says)
    assert total > 180
    assert near(turned / total, noise, total) if noise else turned == 0


def test_noise_turns_a_ranking_of_two_round():
    noisy = Person("ada", noise=0.2)
    turned = [
        give_feedback(TRUTH, "ranking", interaction)[0].tiers
        != give_feedback(noisy, "ranking", interaction)[0].tiers
        for interaction in PAIRED_INTERACTIONS
        if len(give_feedback(TRUTH, "ranking", interaction)[0].tiers) == 2
    ]
    assert near(np.mean(turned), 0.2, len(turned))


def test_noise_makes_critiques_and_edits_false():
    noisy = Person("ada", noise=0.25)
    false_critiques = false_edits = 0
    faulty = [
        interaction for interaction in PAIRED_INTERACTIONS if truth("mail", interaction)[0].issues
    ]
    faulty = [
        interaction
        for interaction in faulty
        if truth("mail", interaction)[0].aspects["facts"] > 0.6
    ]
    for interaction in faulty:
        before = truth("mail", interaction)[0]
        (critique,) = give_feedback(noisy, "critique", interaction)
        false_critiques += critique.text not in {issue.advice for issue in before.issues}
        (edit,) = give_feedback(noisy, "edit", interaction)
        false_edits += MAIL.score(interaction.prompt, edit.text).utility < before.utility
    assert near(false_critiques / len(faulty), 0.25, len(faulty))
    assert near(false_edits / len(faulty), 0.25, len(faulty))


def test_noise_picks_at_random():
    ideal_first = [
        Interaction.of(task.text, MAIL.ideal(task), *["No."] * 3)
        for task in MAIL.tasks("train", 400)
    ]
    picks = [
        give_feedback(Person("ada", noise=0.4), "choice", interaction)[0].chosen
        for interaction in ideal_first
    ]
    assert near(np.mean([pick == "0" for pick in picks]), 0.6 + 0.4 / 4, 400)
    assert set(picks) == {"0", None}


BARE = {"acceptance_threshold": -9.0, "tie_threshold": 0.0}


@pytest.mark.parametrize("temperature", [0.05, 0.2])
def test_pairs_follow_the_logistic_of_the_difference_over_the_temperature(temperature):
    chosen = sorted(
        PAIRED_INTERACTIONS[:60], key=lambda interaction: np.subtract(*utilities(interaction))
    )[::5]
    times, squares, bins = 250, 0.0, 0
    for interaction in chosen:
        expected = 1 / (1 + np.exp(-np.subtract(*utilities(interaction)) / temperature))
        people = [Person("a", temperature=temperature, seed=i, **BARE) for i in range(times)]
        first = [
            give_feedback(person, "preference", interaction)[0].verdict == "a" for person in people
        ]
        if 5 < times * expected < times - 5:
            squares += times * (np.mean(first) - expected) ** 2 / (expected * (1 - expected))
            bins += 1
        else:
            assert near(np.mean(first), expected, times)
    assert bins >= 4
    assert squares < bins + 4.5 * np.sqrt(2 * bins)


def test_rankings_follow_plackett_and_luce():
    interaction = next(
        interaction
        for interaction in INTERACTIONS
        if len(set(utilities(interaction)[:3].round(2))) == 3
    )
    interaction = interaction.model_copy(update={"responses": interaction.responses[:3]})
    worth = np.exp(utilities(interaction) / 0.2)
    times = 1500
    seen = Counter()
    for seed in range(times):
        (ranking,) = give_feedback(
            Person("a", temperature=0.2, seed=seed, **BARE), "ranking", interaction
        )
        seen[tuple(int(tier[0]) for tier in ranking.tiers)] += 1
    squares = 0.0
    for order in permutations(range(3)):
        p, left = 1.0, worth.sum()
        for i in order:
            p *= worth[i] / left
            left -= worth[i]
        squares += (seen[order] - times * p) ** 2 / (times * p)
    assert sum(seen.values()) == times
    assert squares < 25  # chi squared with 5 degrees of freedom: 1 in 7000
    first = np.array([sum(seen[o] for o in seen if o[0] == i) for i in range(3)]) / times
    for rate, expected in zip(first, worth / worth.sum(), strict=True):
        assert near(rate, expected, times)


def test_length_seems_good_to_who_is_biased():
    for bias in (0.3, -0.2):
        person = Person("ada", length_bias=bias)
        rows = [
            (
                TRUTH.perceived_utility(interaction),
                person.perceived_utility(interaction),
                interaction,
            )
            for interaction in INTERACTIONS
        ]
        gained = np.concatenate([after - before for before, after, _ in rows])
        lengths = np.array([len(r.text) for *_, interaction in rows for r in interaction.responses])
        slope, rest = np.polyfit(lengths / 100, gained, 1)
        assert (slope, rest) == (pytest.approx(bias), pytest.approx(0, abs=1e-9))
    long = "My cat sends her love. " * 20
    interaction = INTERACTIONS[0].model_copy(
        update={"responses": (Response(id="0", text=long), Response(id="1", text="No."))}
    )
    person = Person("ada", length_bias=0.5, **BARE)
    assert give_feedback(person, "preference", interaction)[0].verdict == "a"


def test_the_first_place_seems_good_to_who_is_biased():
    person = Person("ada", position_bias=0.3)
    for interaction in INTERACTIONS[:10]:
        gained = person.perceived_utility(interaction) - TRUTH.perceived_utility(interaction)
        assert gained == pytest.approx([0.3, 0.3 / 2, 0.3 / 3, 0.3 / 4])
        shown = interaction.model_copy(update={"shown": ("2", "0", "3", "1")})
        gained = person.perceived_utility(shown) - TRUTH.perceived_utility(shown)
        assert gained == pytest.approx([0.3 / 2, 0.3 / 4, 0.3, 0.3 / 3])
    same = interactions(count=1)[0]
    same = same.model_copy(
        update={"responses": tuple(Response(id=str(i), text="No.") for i in range(2))}
    )
    first = [
        give_feedback(
            Person("a", position_bias=0.3, temperature=0.2, seed=i, **BARE), "preference", same
        )[0].verdict
        == "a"
        for i in range(800)
    ]
    assert near(np.mean(first), 1 / (1 + np.exp(-0.15 / 0.2)), 800)


def test_the_sycophantic_repeat_what_they_see():
    person = Person("ada", sycophancy=0.6)
    repeated = 0
    for interaction in PAIRED_INTERACTIONS:
        honest = give_feedback(TRUTH, "label", interaction)
        others = [
            Label(
                interaction=interaction.id,
                annotator=Person("bo").annotator,
                response=item.response,
                good=not item.good,
            )
            for item in honest
        ]
        feedback = give_feedback(person, "label", interaction, seen=others)
        goods = [item.good for item in feedback]
        assert goods in ([i.good for i in honest], [i.good for i in others])
        assert {item.annotator.id for item in feedback} == {"ada"}
        assert not {item.id for item in feedback} & {item.id for item in others}
        repeated += goods == [item.good for item in others]
        assert give_feedback(person, "label", interaction) == honest
        assert give_feedback(person, "rating", interaction, seen=others) == give_feedback(
            TRUTH, "rating", interaction
        )
    assert near(repeated / len(PAIRED_INTERACTIONS), 0.6, len(PAIRED_INTERACTIONS))


@pytest.mark.parametrize("kind", FEEDBACK_KINDS)
def test_the_sycophantic_repeat_the_last_one_of_several_and_leave_the_source_its_sort(kind):
    others = [Person("bo", **NOISY), Person("cy", **NOISY)]
    person = Person("ada", sycophancy=1.0)
    for interaction in PAIRED_INTERACTIONS[:30]:
        seen = [give_feedback(replace(other, abstention=0), kind, interaction) for other in others]
        truthful = give_feedback(TRUTH, kind, interaction)
        feedback = give_feedback(person, kind, interaction, seen=[*seen[0], *seen[1]])
        for item in feedback:
            item.check(interaction)
        assert len({item.id for item in feedback}) == len(feedback)
        if seen[1]:
            assert len(feedback) == len(seen[1])
        if truthful:
            assert {item.annotator.kind for item in feedback} <= {
                item.annotator.kind for item in truthful
            }


def test_taste_is_what_people_of_a_crowd_do_not_share():
    people = make_crowd("mail", 24, taste=0.15, seed=2).people
    judged = np.array(
        [
            np.concatenate([person.perceived_utility(interaction) for interaction in INTERACTIONS])
            for person in people
        ]
    )
    result = variance_components(judged)
    assert np.sqrt(result.annotators_by_items) == pytest.approx(0.15, rel=0.06)
    assert result.annotators < 0.002
    true = np.concatenate([utilities(interaction) for interaction in INTERACTIONS])
    assert result.items == pytest.approx(true.var(ddof=1), rel=0.25)
    assert (
        variance_components(
            np.array([TRUTH.perceived_utility(interaction) for interaction in INTERACTIONS[:2]])
        ).items
        >= 0
    )
    assert (
        people[0].perceived_utility(INTERACTIONS[0]) == people[0].perceived_utility(INTERACTIONS[0])
    ).all()


def test_people_value_what_their_weights_say():
    person = Person("ada", weights={"relevant": 0.5, "safe": 0.25})
    for interaction in INTERACTIONS:
        expected = [
            0.5 * result.aspects["relevant"] + 0.25 * result.aspects["safe"]
            for result in truth("mail", interaction)
        ]
        assert person.perceived_utility(interaction) == pytest.approx(expected)


def test_what_people_value_drifts():
    since = datetime(2026, 2, 1, tzinfo=UTC)
    person = Person(
        "ada", weights={"facts": 1.0}, drifts_to={"manner": 1.0}, since=since, drift_days=20
    )
    interaction = INTERACTIONS[1]
    facts, manner = (
        np.array([result.aspects[name] for result in truth("mail", interaction)])
        for name in ("facts", "manner")
    )
    for days, share in [(-3, 0), (0, 0), (5, 0.25), (10, 0.5), (20, 1), (400, 1)]:
        later = interaction.model_copy(update={"time": since + timedelta(days=days)})
        assert person.perceived_utility(later) == pytest.approx(
            (1 - share) * facts + share * manner
        )
    timeless = interaction.model_copy(update={"time": None})
    assert person.perceived_utility(timeless) == pytest.approx(facts)
    from_truth = replace(person, weights=None)
    later = interaction.model_copy(update={"time": since + timedelta(days=10)})
    assert from_truth.perceived_utility(later) == pytest.approx(
        0.5 * utilities(interaction) + 0.5 * manner
    )


def test_feedback_is_delayed_by_an_exponential_time():
    person = Person("ada", delay=120.0)
    late = np.array(
        [
            (give_feedback(person, "label", interaction)[0].time - NOW).total_seconds()
            for interaction in PAIRED_INTERACTIONS
        ]
    )
    assert late.min() >= 0
    assert abs(late.mean() - 120) < 4.5 * 120 / np.sqrt(len(PAIRED_INTERACTIONS))
    assert near(np.mean(late > 120), np.exp(-1), len(PAIRED_INTERACTIONS))
    timeless = INTERACTIONS[0].model_copy(update={"time": None})
    assert give_feedback(person, "label", timeless)[0].time is None


def test_some_abstain():
    person = Person("ada", abstention=0.35)
    silent = [
        give_feedback(person, "label", interaction) == [] for interaction in PAIRED_INTERACTIONS
    ]
    assert near(np.mean(silent), 0.35, len(PAIRED_INTERACTIONS))
    assert not any(
        give_feedback(replace(person, abstention=1.0), "label", interaction)
        for interaction in PAIRED_INTERACTIONS[:20]
    )


def test_what_will_do_and_what_seems_equal_are_up_to_the_person():
    strict = Person("ada", acceptance_threshold=0.999999)
    for interaction in INTERACTIONS:
        values = utilities(interaction)
        assert [item.good for item in give_feedback(strict, "label", interaction)] == [
            value > 0.9999 for value in values
        ]
        (lax,) = give_feedback(
            Person("ada", tie_threshold=2.0, acceptance_threshold=0), "preference", interaction
        )
        assert (lax.verdict, lax.strength) == ("tie", None)
        (tied,) = give_feedback(Person("ada", tie_threshold=2.0), "ranking", interaction)
        assert len(tied.tiers) == 1
        (bad,) = give_feedback(Person("ada", acceptance_threshold=5), "preference", interaction)
        assert bad.verdict == "both_bad"


# Words.


@pytest.mark.parametrize("world", world_names())
def test_critics_have_their_ways(world):
    vague = set()
    false = 0
    for interaction in interactions(world, 21 if world != "programs" else 9):
        result = truth(world, interaction)[0]
        plain, empty, wrong = (
            give_feedback(
                Person("ada", world_name=world, critique_style=critic), "critique", interaction
            )
            for critic in ("plain", "vague", "wrong")
        )
        if result.issues:
            best = max(gain(world, interaction, issue) for issue in result.issues)
            worst = [f for f in result.issues if gain(world, interaction, f) == pytest.approx(best)]
            assert plain[0].text in {issue.description for issue in worst}
            assert (empty[0].start, empty[0].aspect) == (None, None)
            vague.add(empty[0].text)
        else:
            assert plain == empty == []
        for item in wrong:
            assert item.text not in {issue.advice for issue in result.issues}
            false += 1
    assert len(vague) > 1
    assert vague <= set(VAGUE_CRITIQUES)
    assert false > 5


@pytest.mark.parametrize("world", world_names())
def test_full_edits_write_the_answer_anew(world):
    home = get_world(world)
    person = Person("ada", world_name=world, edit_style="full")
    for interaction in interactions(world, 12):
        ideal = home.ideal(home.parse_prompt(interaction.prompt))
        texts = [item.text for item in give_feedback(person, "edit", interaction)]
        assert texts == ([ideal] if ideal != interaction.responses[0].text else [])


def test_minimal_edits_leave_what_is_not_wrong():
    task = to("boss")
    kind = MAIL.ideal(task).replace("\n", "\nI hope you are well. ", 1)
    interaction = Interaction.of(task.text, kind.replace("Dear", "Hi"))
    assert give_feedback(TRUTH, "edit", interaction)[0].text == kind
    assert give_feedback(Person("ada", edit_style="full"), "edit", interaction)[
        0
    ].text == MAIL.ideal(task)


def rule(what, scope):
    return next(rule for rule in MAIL.rules if (rule.action, rule.scope) == (what, scope))


def to(reader):
    return next(task for task in MAIL.tasks("train", 50) if task.recipient.name == reader)


def test_an_instruction_is_given_only_where_its_rule_is_broken():
    thanks, hello = rule("thanks", "boss"), rule("hello", "all")
    person = Person("ada", rules=(thanks, hello))
    task = to("boss")
    thanked, greeted = (MAIL.ideal(task, [rule]) for rule in (thanks, hello))
    both = MAIL.ideal(task, [thanks, hello])

    def instructions_for(task, text):
        interaction = Interaction.of(task.text, text)
        feedback = give_feedback(person, "instruction", interaction)
        for item in feedback:
            item.check(interaction)
        return [(item.text, item.scope.where) for item in feedback]

    thank, greet = (thanks.text, "boss"), (hello.text, None)
    assert instructions_for(task, MAIL.ideal(task)) == [thank, greet]
    assert instructions_for(task, thanked) == [greet]
    assert instructions_for(task, greeted) == [thank]
    assert instructions_for(task, both) == []
    friend = to("friend")
    assert instructions_for(friend, MAIL.ideal(friend)) == [greet]
    assert instructions_for(friend, MAIL.ideal(friend, [hello])) == []


@pytest.mark.parametrize("world", world_names())
def test_instructions_are_true_in_every_world(world):
    home = get_world(world)
    num_instructions = 0
    for rule in home.rules:
        person = Person("ada", world_name=world, rules=(rule,))
        for task in home.tasks("train", 8):
            ruled, default = home.ideal(task, [rule]), home.ideal(task)
            feedback = give_feedback(person, "instruction", Interaction.of(task.text, default))
            broken = home.applies(rule, task) and ruled != default
            assert [item.text for item in feedback] == [rule.text] * broken
            num_instructions += broken
            assert not give_feedback(person, "instruction", Interaction.of(task.text, ruled)) or (
                not home.applies(rule, task)
            )
    assert num_instructions > 10


def test_rules_in_mind_decide_what_is_right():
    thanks = rule("thanks", "boss")
    person = Person("ada", rules=(thanks,))
    task = to("boss")
    default, ruled = MAIL.ideal(task), MAIL.ideal(task, [thanks])
    interaction = Interaction.of(task.text, default, ruled)
    assert give_feedback(person, "preference", interaction)[0].verdict == "b"
    assert give_feedback(TRUTH, "preference", interaction)[0].verdict == "a"
    assert give_feedback(person, "edit", interaction)[0].text == ruled
    assert give_feedback(person, "demonstration", interaction)[0].text == ruled
    assert give_feedback(person, "critique", interaction)[0].text == "Say thank you."


def test_signals_come_a_line_at_a_time():
    task = to("boss")
    first, *_, ending, sender = MAIL.ideal(task).split("\n")
    body = f"{task.sentence.replace('.', '')} tomorrow. My bank code is 4411."
    text = "\n".join([first, body, ending, sender])
    feedback = give_feedback(TRUTH, "realtime", Interaction.of(task.text, text))
    assert [item.value for item in feedback] == [1, -1, 1, 1]
    assert [item.metadata for item in feedback] == [
        {"start": text.index(line), "end": min(text.index(line) + len(line) + 1, len(text))}
        for line in (first, body, ending, sender)
    ]
    unended = "\n".join(MAIL.ideal(task).split("\n")[:2])
    values = [i.value for i in give_feedback(TRUTH, "realtime", Interaction.of(task.text, unended))]
    assert values == [1, pytest.approx(1 - 2 * (0.25 / 6) / 0.1)]
    assert give_feedback(TRUTH, "realtime", Interaction.of(task.text, "")) == []


def test_who_chooses_takes_the_best_of_what_was_shown():
    task = to("friend")
    default = MAIL.ideal(task)
    nearly = default.replace("Hi", "Hello")
    interaction = Interaction.of(task.text, default, nearly, "No.")
    assert give_feedback(TRUTH, "choice", interaction)[0].chosen == "0"
    shown = interaction.model_copy(update={"shown": ("2", "1")})
    (choice,) = give_feedback(TRUTH, "choice", shown)
    assert [item.response for item in choice.shown] == ["2", "1"]
    assert choice.chosen == "1"


def test_nobody_chooses_where_nothing_was_shown():
    task = to("friend")
    interaction = Interaction.of(task.text, MAIL.ideal(task)).model_copy(update={"shown": ()})
    assert give_feedback(TRUTH, "choice", interaction) == []


# Crowds.


def test_crowds_work_for_what_they_say():
    people = [Person("ada", time_factor=2.0), Person("bo", abstention=0.5, time_factor=0.5)]
    working = Crowd(people)
    kinds = ("label", "critique", "demonstration", "outcome")
    cases = list(working.annotate(INTERACTIONS, kinds, people_per_interaction=2))
    expected = 0.0
    for case in cases:
        for person in people:
            for kind in kinds:
                feedback = give_feedback(person, kind, case.interaction)
                expected += (person.time_factor * SECONDS_PER_ITEM[kind]) if feedback else 0
    assert working.seconds == pytest.approx(expected)
    assert expected > 0
    assert Person("ada", time_factor=3.0).cost("edit") == 3 * SECONDS_PER_ITEM["edit"]
    assert Crowd(people).seconds == 0


def test_each_interaction_is_seen_by_different_people_in_turn():
    working = make_crowd("mail", 5, seed=4)
    cases = list(working.annotate(PAIRED_INTERACTIONS, ["label"], people_per_interaction=2))
    assert [case.interaction for case in cases] == PAIRED_INTERACTIONS
    seen = Counter()
    for case in cases:
        ids = {item.annotator.id for item in case.feedback}
        assert len(ids) == 2
        seen.update(ids)
        for item in case.feedback:
            item.check(case.interaction)
    assert len(seen) == 5
    assert all(
        near(times / len(PAIRED_INTERACTIONS), 2 / 5, len(PAIRED_INTERACTIONS))
        for times in seen.values()
    )
    again = list(
        make_crowd("mail", 5, seed=4).annotate(
            PAIRED_INTERACTIONS[:20], ["label"], people_per_interaction=2
        )
    )
    assert [case.feedback for case in again] == [case.feedback for case in cases[:20]]


def test_sycophants_of_a_crowd_copy_who_looked_first():
    people = [Person("ada", noise=0.5, seed=i, sycophancy=1.0) for i in range(2)]
    people = [replace(person, name=name) for person, name in zip(people, "ab", strict=True)]
    for case in Crowd(people).annotate(
        PAIRED_INTERACTIONS[:50], ["label", "preference"], people_per_interaction=2
    ):
        for kind in ("label", "preference"):
            feedback = [item for item in case.feedback if item.kind == kind]
            first, second = (
                [item for item in feedback if item.annotator.id == name]
                for name in dict.fromkeys(item.annotator.id for item in feedback)
            )
            drop = {"id", "annotator", "time"}
            assert [item.model_dump(exclude=drop) for item in first] == [
                item.model_dump(exclude=drop) for item in second
            ]


def test_groups_have_their_shares_and_values():
    groups = [Group("most", 0.7), Group("curt", 0.2, {"relevant": 1.0}), Group("x", 0.1)]
    people = make_crowd("mail", 20, groups=groups, noise=0.1, time_factor=2.0).people
    assert Counter(person.group for person in people) == {"most": 14, "curt": 4, "x": 2}
    assert len({person.name for person in people}) == 20
    assert {person.noise for person in people} == {0.1}
    interaction = INTERACTIONS[2]
    relevant = [result.aspects["relevant"] for result in truth("mail", interaction)]
    for person in people:
        expected = relevant if person.group == "curt" else utilities(interaction)
        assert person.perceived_utility(interaction) == pytest.approx(expected)
        assert give_feedback(person, "label", interaction)[0].annotator.group == person.group
    assert {person.group for person in make_crowd("mail", 3).people} == {None}
    thirds = [Group(name, 1 / 3) for name in "abc"]
    assert Counter(p.group for p in make_crowd("mail", 9, groups=thirds).people) == dict.fromkeys(
        "abc", 3
    )


# What makes no sense is refused.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise": 0.6}, "noise of 'ada' is 0.6"),
        ({"noise": -0.1}, "noise of 'ada' is -0.1"),
        ({"noise": float("nan")}, "noise of 'ada' is nan"),
        ({"sycophancy": 1.1}, "sycophancy of 'ada' is 1.1"),
        ({"abstention": -1.0}, "abstention of 'ada' is -1.0"),
        ({"weights": {"fatcs": 1.0}}, "no aspect 'fatcs'.*Did you mean 'facts'"),
        ({"drifts_to": {"correct": 1.0}}, "no aspect 'correct'"),
        ({"world_name": "post"}, "no world 'post'"),
        ({"critique_style": "rude"}, "'rude'"),
        ({"edit_style": "half"}, "'half'"),
        ({"temperature": -0.1}, "temperature of 'ada' is -0.1"),
        ({"taste": -0.1}, "taste of 'ada' is -0.1"),
        ({"delay": -1.0}, "delay of 'ada' is -1.0"),
        ({"time_factor": -1.0}, "time_factor of 'ada' is -1.0"),
        ({"drift_days": 0.0}, "drift_days of 'ada' is 0.0"),
    ],
)
def test_people_who_make_no_sense_are_refused(fields, message):
    with pytest.raises(BacktalkError, match=message):
        Person("ada", **fields)


def test_kinds_and_prompts_that_people_do_not_know_are_refused():
    with pytest.raises(UnknownName, match=r"no kind of feedback 'lable'.*Did you mean 'label'"):
        give_feedback(TRUTH, "lable", INTERACTIONS[0])
    with pytest.raises(RecordError, match="What is the time"):
        give_feedback(TRUTH, "label", Interaction.of("What is the time?", "Noon."))


def test_crowds_that_make_no_sense_are_refused():
    with pytest.raises(BacktalkError, match="empty"):
        Crowd([])
    with pytest.raises(BacktalkError, match=r"sum to 0\.9"):
        make_crowd("mail", 4, groups=[Group("a", 0.5), Group("b", 0.4)])
    with pytest.raises(TypeError, match="nosie"):
        make_crowd("mail", 4, nosie=0.1)
    for each in (0, 5):
        with pytest.raises(BacktalkError, match=f"{each} different people cannot"):
            list(
                make_crowd("mail", 4).annotate(INTERACTIONS, ["label"], people_per_interaction=each)
            )


def test_shares_of_groups_lie_between_0_and_1():
    with pytest.raises(BacktalkError, match=r"'a' is 1\.5"):
        make_crowd("mail", 4, groups=[Group("a", 1.5), Group("b", -0.5)])


def test_options_are_parsed_by_the_types_of_the_fields_also_under_their_old_names():
    assert parse_person_options({"noise": "0.1", "critique_style": "vague"}) == {
        "noise": 0.1,
        "critique_style": "vague",
    }
    old = {
        "critic": "plain",
        "editing": "full",
        "acceptable": "0.5",
        "no_difference": "0.1",
        "pace": "2",
    }
    assert parse_person_options(old) == {
        "critique_style": "plain",
        "edit_style": "full",
        "acceptance_threshold": 0.5,
        "tie_threshold": 0.1,
        "time_factor": 2.0,
    }
    with pytest.raises(UnknownName, match=r"no property of people 'nosie'.*Did you mean 'noise'"):
        parse_person_options({"nosie": "0.1"})
    with pytest.raises(BacktalkError, match="critic='rude' is not valid"):
        parse_person_options({"critic": "rude"})


# Variance components.


def simulate_table(rng, people, items, repeats, sizes):
    """Return a table with known standard deviations: items, annotators, interaction, noise."""
    item_scale, person_scale, taste_scale, noise_scale = sizes
    table = (
        item_scale * rng.normal(size=(1, items, 1))
        + person_scale * rng.normal(size=(people, 1, 1))
        + taste_scale * rng.normal(size=(people, items, 1))
    )
    return 3 + table + noise_scale * rng.normal(size=(people, items, repeats))


def expected_components(table):
    """Return the two-way analysis of variance by loops, from the expected mean squares."""
    people, items, repeats = table.shape
    grand = table.mean()
    squares = dict.fromkeys(("person", "item", "both", "within"), 0.0)
    for i in range(people):
        squares["person"] += items * repeats * (table[i].mean() - grand) ** 2
    for j in range(items):
        squares["item"] += people * repeats * (table[:, j].mean() - grand) ** 2
    for i in range(people):
        for j in range(items):
            cell = table[i, j].mean()
            off = cell - table[i].mean() - table[:, j].mean() + grand
            squares["both"] += repeats * off**2
            for value in table[i, j]:
                squares["within"] += (value - cell) ** 2
    person = squares["person"] / (people - 1)
    item = squares["item"] / (items - 1)
    both = squares["both"] / ((people - 1) * (items - 1))
    within = squares["within"] / (people * items * (repeats - 1)) if repeats > 1 else 0.0
    return VarianceComponents(
        items=max(0.0, (item - both) / (people * repeats)),
        annotators=max(0.0, (person - both) / (items * repeats)),
        annotators_by_items=max(0.0, (both - within) / repeats),
        residual=within,
    )


@pytest.mark.parametrize("shape", [(2, 2, 1), (3, 5, 1), (4, 3, 2), (6, 8, 4)])
@pytest.mark.parametrize("seed", range(5))
def test_disagreement_is_the_analysis_of_variance(shape, seed):
    rng = np.random.default_rng(seed)
    table = simulate_table(rng, *shape, (1.0, 0.5, 0.3, 0.4))
    expected = expected_components(table)
    result = variance_components(table)
    for name in ("items", "annotators", "annotators_by_items", "residual"):
        assert getattr(result, name) == pytest.approx(getattr(expected, name), abs=1e-12)
    if shape[2] == 1:
        assert variance_components(table[:, :, 0]) == result
        assert result.residual == 0


def test_disagreement_of_a_table_worked_out_by_hand():
    # Rows differ by 2, columns by 1 and 3: no interaction at all.
    result = variance_components([[1, 2, 4], [3, 4, 6]])
    assert result.annotators == pytest.approx(2)  # the variance of 7/3 and 13/3
    assert result.items == pytest.approx(7 / 3)  # the variance of 2, 3 and 5
    assert (result.annotators_by_items, result.residual) == (pytest.approx(0), 0)
    # Nothing but interaction: the mean square is 4, and is not taken for people or items.
    crossed = variance_components([[1, -1], [-1, 1]])
    assert crossed == VarianceComponents(items=0, annotators=0, annotators_by_items=4, residual=0)
    # Repeats 1 apart in every cell of the first table: noise only.
    table = np.array([[1, 2, 4], [3, 4, 6]])[:, :, None] + np.array([-0.5, 0.5])
    repeated = variance_components(table)
    assert repeated.residual == pytest.approx(0.5)
    assert (repeated.annotators, repeated.items) == (pytest.approx(2), pytest.approx(7 / 3))
    assert repeated.annotators_by_items == 0


@pytest.mark.parametrize("repeats", [1, 3])
def test_disagreement_recovers_known_components(repeats):
    rng = np.random.default_rng(1)
    sizes = np.array([1.0, 0.5, 0.3, 0.4])
    results = [variance_components(simulate_table(rng, 40, 60, repeats, sizes)) for _ in range(60)]
    means = [
        np.mean([getattr(components, n) for components in results]) for n in ("items", "annotators")
    ]
    assert means == pytest.approx(sizes[:2] ** 2, rel=0.12)
    tastes = np.mean([components.annotators_by_items for components in results])
    residual = np.mean([components.residual for components in results])
    if repeats == 1:
        assert tastes == pytest.approx(0.3**2 + 0.4**2, rel=0.02)
        assert residual == 0
    else:
        assert tastes == pytest.approx(0.3**2, rel=0.03)
        assert residual == pytest.approx(0.4**2, rel=0.02)


def test_people_without_taste_or_bias_do_not_disagree():
    people = make_crowd("mail", 5).people
    result = variance_components(
        [
            [person.perceived_utility(interaction)[0] for interaction in INTERACTIONS]
            for person in people
        ]
    )
    assert (result.annotators, result.annotators_by_items, result.residual) == (
        0,
        pytest.approx(0, abs=1e-12),
        0,
    )
    assert result.items > 0


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (4,), (2, 2, 2, 2), (0, 3)])
def test_disagreement_needs_two_of_each(shape):
    with pytest.raises(BacktalkError, match="shape"):
        variance_components(np.zeros(shape))

"""Conversions of feedback to views, their round trips, and merging of cases."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.feedback import (
    KINDS,
    Annotator,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Interaction,
    Label,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
    Scale,
    Shown,
    Span,
    Spans,
    Step,
    Steps,
)
from backtalk.feedback.case import Case, merge_by_prompt, prompt_key
from backtalk.feedback.conversions import CONVERSIONS, conversions_to, pairs, views
from backtalk.feedback.views import (
    VIEWS,
    CritiqueView,
    LabelView,
    Pair,
    RankingView,
    ScoreView,
    SFTExample,
    SpanWeights,
    StepLabels,
)
from tests.strategies import annotators, cases, names, propensities, texts

ADA, BOB = Annotator.human("ada"), Annotator.human("bob")
INTERACTION = Interaction.of("Name a prime.", "seven", "nine", "two", "eight")
ABOUT = {"interaction": INTERACTION.id, "annotator": ADA}


def case(*items):
    return Case(INTERACTION, items)


def relation(pair):
    return (pair.chosen, "=" if pair.tie else ">", pair.rejected)


# Round trips: a view converts to records and back without loss.

prompts = st.lists(texts.map(Message.user), min_size=1, max_size=2).map(tuple)
common = {
    "prompt": prompts,
    "interaction": names,
    "annotator": annotators,
    "weight": st.just(1.0) | st.floats(0.01, 0.99),
}


@st.composite
def any_pair(draw):
    tie = draw(st.booleans())
    first = draw(st.sampled_from(["chosen", "rejected", None]))
    return draw(
        st.builds(
            Pair,
            **common,
            chosen=texts,
            rejected=texts,
            tie=st.just(tie),
            probability=st.just(0.5) if tie else st.floats(0.5, 1, exclude_min=True),
            strength=st.none() if tie else st.none() | st.floats(0.01, 1),
            first=st.just(first),
            propensity=st.none() if first is None else st.none() | propensities,
            aspect=names,
        )
    )


@st.composite
def any_stepwise(draw):
    completion = draw(texts)
    cuts = sorted({len(completion), *draw(st.sets(st.integers(1, len(completion))))})
    verdicts = st.sampled_from(["right", "wrong", "neutral"])
    steps = tuple(
        Step(start=start, end=end, verdict=draw(verdicts))
        for start, end in zip([0, *cuts[:-1]], cuts, strict=True)
    )
    return draw(
        st.builds(StepLabels, **common, completion=st.just(completion), steps=st.just(steps))
    )


@st.composite
def any_weighted(draw):
    completion = draw(texts)
    starts = draw(st.lists(st.integers(0, len(completion) - 1), max_size=3))
    weights = tuple(
        {
            "start": start,
            "end": draw(st.integers(start + 1, len(completion))),
            "value": draw(st.floats(-1, 1)),
            "label": draw(names),
        }
        for start in starts
    )
    return draw(
        st.builds(SpanWeights, **common, completion=st.just(completion), weights=st.just(weights))
    )


tiers = st.lists(st.lists(texts, min_size=1, max_size=2).map(tuple), min_size=2, max_size=4).map(
    tuple
)
ROUND_TRIPS = {
    "pair": any_pair(),
    "example": st.builds(SFTExample, **common, completion=texts),
    "label": st.builds(LabelView, **common, completion=texts, good=st.booleans(), aspect=names),
    "score": st.builds(ScoreView, **common, completion=texts, score=st.floats(0, 1), aspect=names),
    "ranking": st.builds(
        RankingView,
        **common,
        tiers=tiers,
        within=st.sampled_from(["tied", "unordered"]),
        aspect=names,
    ),
    "span-weights": any_weighted(),
    "step-labels": any_stepwise(),
    "critique": st.builds(
        CritiqueView, **common, completion=texts, critique=texts, refinement=st.none()
    ),
}


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data())
def test_a_view_converts_to_records_and_back(name, data):
    view = data.draw(ROUND_TRIPS[name])
    back = views(view.records(), type(view))
    assert [item.model_copy(update={"feedback": ()}) for item in back] == [view]


def test_a_critique_with_a_refinement_comes_back_whole():
    view = CritiqueView(
        prompt=INTERACTION.prompt, completion="a", critique="Shorter.", refinement=""
    )
    (back,) = views(view.records(), CritiqueView)
    assert (back.completion, back.critique, back.refinement) == ("a", "Shorter.", "")


@given(cases())
def test_every_conversion_accepts_any_feedback(generated):
    for conversion in CONVERSIONS.values():
        for view in conversion.function(generated):
            assert isinstance(view, conversion.target)
            assert view.prompt == generated.interaction.prompt
            assert view.feedback
            assert set(view.feedback) <= {item.id for item in generated.feedback}
            kinds = {item.kind for item in generated.feedback if item.id in view.feedback}
            assert conversion.source in kinds


def test_conversions_start_from_existing_kinds_and_reach_every_view():
    assert {item.source for item in CONVERSIONS.values()} <= set(KINDS)
    assert {item.target for item in CONVERSIONS.values()} == set(VIEWS.values())
    assert {item.source for item in conversions_to(Pair)} == {
        "preference", "ranking", "rating", "label", "outcome", "edit", "choice"
    }  # fmt: skip


@given(st.permutations(["0", "1", "2", "3"]), st.sets(st.integers(1, 3)))
def test_a_ranking_is_all_its_pairs_and_they_give_the_ranking_back(order, cuts):
    bounds = [0, *sorted(cuts), 4]
    groups = tuple(tuple(order[i:j]) for i, j in pairwise(bounds))
    results = pairs.ranking_pairs(case(Ranking(tiers=groups, **ABOUT)))
    assert len(results) == 6
    wins = {response.text: 0.0 for response in INTERACTION.responses}
    for pair in results:
        wins[pair.chosen] += pair.probability
        wins[pair.rejected] += 1 - pair.probability
    level = {INTERACTION.response(id_).text: -i for i, group in enumerate(groups) for id_ in group}
    for a, b in combinations(wins, 2):
        assert (wins[a] > wins[b]) == (level[a] > level[b])
        assert (wins[a] == wins[b]) == (level[a] == level[b])


def test_a_pair_of_two_ranks_or_ratings_is_certain_and_a_tie_even():
    ranking = Ranking(tiers=(("0", "1"), ("2",), ("3",)), **ABOUT)
    ratings = [Rating(response=str(i), value=v, **ABOUT) for i, v in enumerate((5, 2, 5))]
    labels = [Label(response=str(i), good=i < 1, **ABOUT) for i in range(2)]
    preference = Preference(a="0", b="1", verdict="b", **ABOUT)
    for results in (
        pairs.ranking_pairs(case(ranking)),
        pairs.rating_pairs(case(*ratings)),
        pairs.label_pairs(case(*labels)),
        pairs.preference_pairs(case(preference)),
    ):
        assert results
        for pair in results:
            assert pair.probability == (0.5 if pair.tie else 1.0)


def test_responses_that_were_not_compared_make_no_pair():
    best = Ranking(tiers=(("2",), ("0", "1")), within="unordered", **ABOUT)
    assert [relation(pair) for pair in pairs.ranking_pairs(case(best))] == [
        ("two", ">", "seven"),
        ("two", ">", "nine"),
    ]


def test_ratings_of_one_judge_on_one_aspect_are_pairs_with_a_strength():
    items = [
        Rating(response="0", value=5, **ABOUT),
        Rating(response="1", value=2, **ABOUT),
        Rating(response="2", value=5, **ABOUT),
        Rating(response="3", value=1, aspect="tone", **ABOUT),
        Rating(response="3", value=1, interaction=INTERACTION.id, annotator=BOB),
        Rating(response="3", value=1, scale=Scale.PERCENT, **ABOUT),
    ]
    results = pairs.rating_pairs(case(*items))
    assert [(relation(pair), pair.strength) for pair in results] == [
        (("seven", ">", "nine"), 0.75),
        (("seven", "=", "two"), None),
        (("two", ">", "nine"), 0.75),
    ]
    assert results[0].feedback == (items[0].id, items[1].id)


def test_the_last_judgement_of_an_annotator_counts():
    items = [
        Label(response="0", good=False, **ABOUT),
        Label(response="1", good=True, **ABOUT),
        Label(response="0", good=True, **ABOUT),
        Label(response="2", good=False, **ABOUT),
    ]
    assert [relation(pair) for pair in pairs.label_pairs(case(*items))] == [
        ("seven", ">", "two"),
        ("nine", ">", "two"),
    ]


def test_outcomes_that_differ_are_pairs():
    tests = Annotator.verifier("tests")
    about = {"interaction": INTERACTION.id, "annotator": tests}
    items = [
        Outcome(response="0", passed=True, score=1.0, **about),
        Outcome(response="1", passed=False, score=0.5, **about),
        Outcome(response="2", passed=False, score=0.5, **about),
        Outcome(response="3", passed=False, **about),
    ]
    results = {relation(pair): pair.strength for pair in pairs.outcome_pairs(case(*items))}
    assert results == {
        ("seven", ">", "nine"): 0.5,
        ("seven", ">", "two"): 0.5,
        ("seven", ">", "eight"): 1.0,
    }


def test_an_edit_is_a_pair_an_example_and_weights_on_what_it_changed():
    interaction = Interaction.of("Hi", "Dear Sir, yo!")
    edit = Edit(interaction=interaction.id, annotator=ADA, response="0", text="Dear Madam, hello!")
    edited_case = Case(interaction, (edit,))
    (pair,) = views(edited_case, Pair)
    assert (pair.chosen, pair.rejected) == ("Dear Madam, hello!", "Dear Sir, yo!")
    assert [item.completion for item in views(edited_case, SFTExample)] == ["Dear Madam, hello!"]
    (weighted,) = views(edited_case, SpanWeights)
    marked = [weighted.completion[w.start : w.end] for w in weighted.weights]
    assert marked == ["Sir", "yo"]
    assert {w.value for w in weighted.weights} == {-1.0}


@given(texts, texts)
def test_the_weights_of_an_edit_cover_the_removed_text(before, after):
    interaction = Interaction.of("Hi", before)
    edit = Edit(interaction=interaction.id, annotator=ADA, response="0", text=after)
    remaining = before
    for weighted in views(Case(interaction, (edit,)), SpanWeights):
        for weight in reversed(weighted.weights):
            remaining = remaining[: weight.start] + remaining[weight.end :]
    rest = iter(after)
    assert all(letter in rest for letter in remaining), (
        "the remaining text is a subsequence of the new one"
    )


def test_the_picked_response_beats_the_others_shown():
    propensities_shown = {"3": 0.5, "0": 0.25, "1": 0.125}
    shown = tuple(Shown(response=id_, propensity=p) for id_, p in propensities_shown.items())
    choice = Choice(chosen="0", shown=shown, **ABOUT)
    all_pairs = pairs.choice_pairs(case(choice))
    assert [(relation(pair), pair.first) for pair in all_pairs] == [
        (("seven", ">", "eight"), "rejected"),
        (("seven", ">", "nine"), "chosen"),
    ]
    assert {pair.propensity for pair in all_pairs} == {0.25}
    above = pairs.choice_pairs(case(choice), examined="above")
    assert [relation(pair) for pair in above] == [("seven", ">", "eight")]
    assert pairs.choice_pairs(case(Choice(chosen=None, shown=shown, **ABOUT))) == []


def test_both_bad_is_no_tie_but_two_bad_labels():
    judged = case(Preference(a="0", b="1", verdict="both_bad", **ABOUT))
    assert views(judged, Pair) == []
    assert [(item.completion, item.good) for item in views(judged, LabelView)] == [
        ("seven", False),
        ("nine", False),
    ]
    tie = case(Preference(a="0", b="1", verdict="tie", **ABOUT))
    assert [relation(pair) for pair in views(tie, Pair)] == [("seven", "=", "nine")]
    assert views(tie, LabelView) == []


def test_a_pair_knows_what_was_shown_first_and_with_what_propensity():
    interaction = INTERACTION.model_copy(update={"shown": ("1", "0"), "propensity": 0.5})
    judged = Preference(a="0", b="1", verdict="a", probability=0.7, confidence=0.4, **ABOUT)
    (pair,) = views(Case(interaction, (judged,)), Pair)
    assert (pair.first, pair.propensity, pair.probability, pair.weight) == (
        "rejected",
        0.5,
        0.7,
        0.4,
    )


def test_labels_and_scores():
    items = [
        Rating(response="0", value=4, **ABOUT),
        Rating(response="1", value=3, **ABOUT),
        Label(response="2", good=False, **ABOUT),
        Outcome(response="3", passed=True, **ABOUT),
        Steps(response="0", steps=(Step(start=0, end=5, verdict="right"),), **ABOUT),
    ]
    labels = {(item.completion, item.good) for item in views(case(*items), LabelView)}
    assert labels == {("seven", True), ("two", False), ("eight", True)}
    scores = {(item.completion, item.score) for item in views(case(*items), ScoreView)}
    assert scores == {("seven", 0.75), ("nine", 0.5), ("two", 0.0), ("eight", 1.0)}
    assert [item.completion for item in views(case(*items), SFTExample)] == ["eight"]
    (ranked,) = views(case(*items), RankingView)
    assert ranked.tiers == (("seven",), ("nine",))


def test_a_wrong_step_makes_the_answer_bad_and_a_neutral_one_makes_it_neither():
    def steps(*verdicts):
        return case(
            Steps(
                response="0",
                steps=tuple(
                    Step(start=i, end=i + 1, verdict=verdict) for i, verdict in enumerate(verdicts)
                ),
                **ABOUT,
            )
        )

    assert [item.good for item in views(steps("right", "wrong"), LabelView)] == [False]
    assert [item.good for item in views(steps("right", "right"), LabelView)] == [True]
    assert views(steps("right", "neutral"), LabelView) == []
    (weighted,) = views(steps("right", "wrong", "neutral"), SpanWeights)
    assert [w.value for w in weighted.weights] == [1.0, -1.0, 0.0]
    (stepwise,) = views(steps("right", "wrong"), StepLabels)
    assert stepwise.texts == ("s", "e")


def test_spans_weigh_their_severity():
    marked = Spans(
        response="0",
        spans=(
            Span(start=0, end=2, label="odd"),
            Span(start=2, end=5, label="nice", good=True, severity=0.5),
        ),
        **ABOUT,
    )
    (weighted,) = views(case(marked), SpanWeights)
    assert [(w.start, w.end, w.value, w.label) for w in weighted.weights] == [
        (0, 2, -1.0, "odd"),
        (2, 5, 0.5, "nice"),
    ]


def test_text_about_a_response_is_a_critique_with_the_edit_of_the_same_annotator():
    items = [
        Critique(response="1", text="Nine is three times three.", **ABOUT),
        Edit(response="1", text="five", **ABOUT),
        Critique(response="1", text="No.", interaction=INTERACTION.id, annotator=BOB),
        Critique(text="All of these are fine.", **ABOUT),
        Outcome(response="3", passed=False, text="8 = 2 * 4", **ABOUT),
        FollowUp(response="0", text="Thanks!", act="thanks", **ABOUT),
        FollowUp(response="0", text="I meant a large one.", **ABOUT),
        FollowUp(text="Which of them?", **ABOUT),
    ]
    results = [(c.completion, c.critique, c.refinement) for c in views(case(*items), CritiqueView)]
    assert results == [
        ("nine", "Nine is three times three.", "five"),
        ("nine", "No.", None),
        ("eight", "8 = 2 * 4", None),
        ("seven", "I meant a large one.", None),
    ]


def test_a_follow_up_is_about_the_only_response_that_was_shown():
    interaction = INTERACTION.model_copy(update={"shown": ("2",)})
    follow_up = FollowUp(text="Are you sure?", **ABOUT)
    assert [c.completion for c in views(Case(interaction, (follow_up,)), CritiqueView)] == ["two"]


def test_only_the_selected_kinds_are_converted():
    mixed_case = case(
        Preference(a="0", b="1", verdict="a", **ABOUT), Ranking(tiers=(("2",), ("3",)), **ABOUT)
    )
    assert len(views(mixed_case, Pair)) == 2
    assert [relation(pair) for pair in views(mixed_case, Pair, kinds=["ranking"])] == [
        ("two", ">", "eight")
    ]
    assert views(mixed_case, Pair, kinds=["edit"]) == []


def test_the_same_prompt_asked_twice_becomes_one_case():
    def make_case(text, model, good):
        interaction = Interaction(
            prompt=(Message.user("Name a prime."),),
            responses=(Response(id="r", text=text, model=model),),
        )
        return Case(
            interaction,
            (Label(interaction=interaction.id, annotator=ADA, response="r", good=good),),
        )

    b = Case(Interaction.of("Name a colour.", "red"))
    merged = merge_by_prompt([make_case("two", "m", True), b, make_case("nine", "m", False)])
    assert [len(item.interaction.responses) for item in merged] == [2, 1]
    assert [relation(pair) for pair in views(merged[0], Pair)] == [("two", ">", "nine")]
    for item in merged[0].feedback:
        item.check(merged[0].interaction)

    again = merge_by_prompt([make_case("two", "m", True), make_case("two", "m", True)])
    assert [len(item.interaction.responses) for item in again] == [1]


@given(st.lists(cases(max_feedback=3), max_size=4))
def test_merging_keeps_every_text_and_only_drops_comparisons_of_like_with_like(generated):
    merged = merge_by_prompt([*generated, *generated])
    assert {prompt_key(item.interaction.prompt) for item in generated} == {
        prompt_key(item.interaction.prompt) for item in merged
    }
    before = {r.text for item in generated for r in item.interaction.responses}
    assert {r.text for item in merged for r in item.interaction.responses} == before
    for item in merged:
        for feedback in item.feedback:
            feedback.check(item.interaction)


def test_prompts_differ_by_role_and_by_where_messages_end():
    keys = {
        prompt_key((Message.user("a"), Message.user("b"))),
        prompt_key((Message.user("ab"),)),
        prompt_key((Message.system("a"), Message.user("b"))),
    }
    assert len(keys) == 3


def test_a_demonstration_is_an_example_weighted_by_confidence():
    ideal = Demonstration(text="eleven", confidence=0.5, **ABOUT)
    assert [(e.completion, e.weight) for e in views(case(ideal), SFTExample)] == [("eleven", 0.5)]

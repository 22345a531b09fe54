"""Pairs across interactions: what is compared, and what is not."""

import pytest

from backtalk.feedback import Annotator, Interaction, Label, Rating
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import pairs_across
from backtalk.feedback.kinds import Outcome, Scale

ADA, BEN = Annotator.human("ada"), Annotator.human("ben")
JUDGE, TESTS = Annotator.model("judge"), Annotator.verifier("tests")
STARS, UNIT = Scale(name="stars", low=1, high=5), Scale.UNIT


def case(*judged, prompt="Open?"):
    """Return an interaction whose responses have judgements: text and functions of its id."""
    interaction = Interaction.of(prompt, *(text for text, _ in judged))
    feedback = [
        make(interaction.id, str(i)) for i, (_, makers) in enumerate(judged) for make in makers
    ]
    return Case(interaction, tuple(feedback))


def label(good, by=ADA):
    return lambda id_, to: Label(interaction=id_, annotator=by, response=to, good=good)


def rating(value, scale=STARS, by=ADA):
    return lambda id_, to: Rating(
        interaction=id_, annotator=by, response=to, value=value, scale=scale
    )


def outcome(passed, by=TESTS):
    return lambda id_, to: Outcome(interaction=id_, annotator=by, response=to, passed=passed)


def compared(kind, *cases):
    return [(pair.chosen, pair.rejected) for pair in pairs_across(cases)[kind]]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("label", label(True), label(False)),
        ("rating", rating(5), rating(1)),
        ("outcome", outcome(True), outcome(False)),
    ],
)
def test_responses_of_one_interaction_make_no_pair_here(kind, good, bad):
    together = case(("yes", [good]), ("no", [bad]))
    assert compared(kind, together) == []
    assert compared(kind, case(("yes", [good])), case(("no", [bad]))) == [("yes", "no")]
    # Equal texts of several interactions are one response, which shares an interaction with "no".
    assert compared(kind, together, case(("yes", [good]))) == []
    assert compared(kind, together, case(("other", [bad]))) == [("yes", "other")]


def test_numbers_are_compared_by_one_annotator_and_labels_between_people():
    assert compared("rating", case(("a", [rating(5)])), case(("b", [rating(1, by=BEN)]))) == []
    passed, failed = outcome(True), outcome(False, by=Annotator.verifier("lint"))
    assert compared("outcome", case(("a", [passed])), case(("b", [failed]))) == []
    people = [case(("a", [label(True)])), case(("b", [label(False, by=BEN)]))]
    assert compared("label", *people) == [("a", "b")]
    model = [case(("a", [label(True)])), case(("b", [label(False, by=JUDGE)]))]
    assert compared("label", *model) == []


def test_ratings_are_compared_on_one_scale():
    # 0.9 of 0 to 1 is more of its scale than 4 of 1 to 5, and says nothing about the other.
    assert compared("rating", case(("a", [rating(4)])), case(("b", [rating(0.9, UNIT)]))) == []
    assert compared("rating", case(("a", [rating(4)])), case(("b", [rating(2)]))) == [("a", "b")]
    both = case(("a", [rating(4)])), case(("b", [rating(0.1, UNIT)])), case(("c", [rating(1)]))
    assert compared("rating", *both) == [("a", "c")]


def test_other_prompts_are_not_compared():
    assert (
        compared("label", case(("a", [label(True)])), case(("b", [label(False)]), prompt="?")) == []
    )

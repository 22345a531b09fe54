"""Preferences between several responses are a ranking where they determine one."""

from itertools import combinations, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.feedback import Annotator, Interaction, Preference
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.conversions.rankings import rank_by_preferences
from backtalk.feedback.views import RankingView

ADA, BOB = Annotator.human("ada"), Annotator.human("bob")
NAMES = "0123"


def prefer(a, b, verdict, **fields):
    return Preference(**{"interaction": "i", "annotator": ADA, **fields}, a=a, b=b, verdict=verdict)


def weak_orders(names):
    """Yield every assignment of ranks to names, with consecutive ranks from 0."""
    for ranks in product(range(len(names)), repeat=len(names)):
        if set(ranks) == set(range(max(ranks) + 1)):
            yield dict(zip(names, ranks, strict=True))


def fits(ranks, items):
    return all(
        {"a": ranks[item.a] < ranks[item.b], "b": ranks[item.a] > ranks[item.b],
         "tie": ranks[item.a] == ranks[item.b]}[item.verdict]
        for item in items
    )  # fmt: skip


verdicts = st.sampled_from(["a", "b", "tie", None])


@settings(max_examples=300, deadline=None)
@given(st.lists(verdicts, min_size=6, max_size=6))
def test_it_is_the_only_order_that_agrees_with_every_preference(drawn):
    items = [
        prefer(a, b, verdict)
        for (a, b), verdict in zip(combinations(NAMES, 2), drawn, strict=True)
        if verdict is not None
    ]
    names = sorted({name for item in items for name in (item.a, item.b)})
    orders = [ranks for ranks in weak_orders(names) if fits(ranks, items)] if names else []
    # Two responses that nothing relates may also be tied; such an order is one of several.
    expected = orders[0] if len(orders) == 1 else None
    tiers = rank_by_preferences(items)
    if expected is None:
        assert tiers == []
    else:
        assert {name: rank for rank, tier in enumerate(tiers) for name in tier} == expected


@pytest.mark.parametrize("order", [*permutations("abc")])
def test_an_annotators_preferences_of_a_case_become_one_ranking(order):
    interaction = Interaction.of("Open?", *"abc")
    ids = dict(zip("abc", "012", strict=True))
    by = {"interaction": interaction.id}
    items = [
        prefer(ids[order[0]], ids[order[1]], "a", **by),
        prefer(ids[order[2]], ids[order[1]], "b", **by),
        prefer("0", "1", "a", **by, annotator=BOB),
    ]
    (ranking,) = views(Case(interaction, tuple(items)), RankingView)
    assert ranking.tiers == tuple((text,) for text in order)
    assert set(ranking.feedback) == {items[0].id, items[1].id}
    assert ranking.annotator == ADA


def test_cycles_uncertain_and_equally_bad_ones_are_no_ranking():
    cycle = [prefer("0", "1", "a"), prefer("1", "2", "a"), prefer("2", "0", "a")]
    assert rank_by_preferences(cycle) == []
    interaction = Interaction.of("Open?", *"abc")
    by = {"interaction": interaction.id}
    unsure = (prefer("0", "1", "a", **by), prefer("1", "2", "a", probability=0.7, **by))
    assert views(Case(interaction, unsure), RankingView) == []
    bad = (prefer("0", "1", "a", **by), prefer("1", "2", "both_bad", **by))
    assert views(Case(interaction, bad), RankingView) == []

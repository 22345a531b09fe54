"""Of several judgements of one thing by one person, the last counts, wherever feedback is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Edit,
    Interaction,
    Label,
    Preference,
    Ranking,
    Rating,
    Scale,
)
from backtalk.feedback.case import Case, merge_by_prompt
from backtalk.feedback.conversions import pairs_across, views
from backtalk.feedback.kinds import Shown
from backtalk.feedback.views import LabelView, Pair, ScoreView, SFTExample

BO, ADA, NOBODY = Annotator.human("bo"), Annotator.human("ada"), Annotator.human()
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TALK = Interaction.of("q?", "a", "b", "c")


def votes(kind, *changes, by=BO, times=True, interaction=TALK.id, **fields):
    return tuple(
        kind(
            interaction=interaction,
            annotator=by,
            time=NOON + timedelta(minutes=minute) if times else None,
            **fields,
            **change,
        )
        for minute, change in enumerate(changes)
    )


def thumbs(*goods, response="0", **fields):
    return votes(Label, *({"good": good} for good in goods), response=response, **fields)


def of(*feedback):
    return Case(TALK, feedback)


def test_the_last_thumb_counts_as_label_score_and_example() -> None:
    case = of(*thumbs(True, True, False))
    assert [view.good for view in views(case, LabelView)] == [False]
    assert [view.score for view in views(case, ScoreView)] == [0.0]
    assert views(case, SFTExample) == []
    assert len(case.feedback) == 3


def test_the_last_thumb_counts_in_pairs() -> None:
    case = of(*thumbs(False, True), *thumbs(False, response="1"))
    assert [(pair.chosen, pair.rejected) for pair in views(case, Pair)] == [("a", "b")]
    other = Interaction.of("q?", "d")
    across = pairs_across(
        [of(*thumbs(True, True, False)), Case(other, thumbs(True, by=ADA, interaction=other.id))]
    )
    assert [(pair.chosen, pair.rejected) for pair in across["label"]] == [("d", "a")]


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [
        (votes(Preference, {"a": "0", "b": "1", "verdict": "a"},
               {"a": "1", "b": "0", "verdict": "a"}), [("b", "a")]),
        (votes(Preference, {"verdict": "a"}, {"verdict": "both_bad"}, a="0", b="1"), []),
        (votes(Preference, {"a": "0", "b": "1"}, {"a": "0", "b": "2"}, verdict="a"),
         [("a", "b"), ("a", "c")]),
        (votes(Ranking, {"tiers": (("0",), ("1",))}, {"tiers": (("1",), ("0",))}), [("b", "a")]),
        (votes(Edit, {"text": "x"}, {"text": "y"}, response="0"), [("y", "a")]),
        (votes(Choice, {"chosen": "0"}, {"chosen": "1"},
               shown=(Shown(response="0"), Shown(response="1"))), [("b", "a")]),
        (votes(Preference, {"verdict": "a"}, a="0", b="1")
         + votes(Preference, {"verdict": "b"}, a="0", b="1", by=ADA), [("a", "b"), ("b", "a")]),
    ],
    ids=["sides swapped", "both bad", "other pairs", "ranking", "edit", "choice", "two people"],
)  # fmt: skip
def test_the_last_comparison_of_the_same_responses_counts(feedback, expected) -> None:
    assert [(pair.chosen, pair.rejected) for pair in views(of(*feedback), Pair)] == expected


def test_judgements_of_other_aspects_scales_and_people_stay() -> None:
    case = of(
        *thumbs(True),
        *thumbs(False, aspect="tone"),
        *thumbs(False, by=ADA),
        *votes(Rating, {"value": 5}, {"value": 1}, response="0"),
        *votes(Rating, {"value": 0.5}, response="0", scale=Scale.UNIT),
    )
    assert [view.good for view in views(case, LabelView, kinds=["label"])] == [True, False, False]
    ratings = views(case, ScoreView, kinds=["rating"])
    assert sorted(view.score for view in ratings) == [0.0, 0.5]


def test_critiques_add_up() -> None:
    case = of(*votes(Critique, {"text": "Too long."}, {"text": "No greeting."}, response="0"))
    assert len(case.latest().feedback) == 2


def test_the_last_judgement_is_that_with_the_last_time_or_else_the_last_in_order() -> None:
    up, down = thumbs(True, False)
    for order in ((up, down), (down, up)):
        assert [view.good for view in views(of(*order), LabelView)] == [False]
    untimed = thumbs(False, True, times=False)
    assert [view.good for view in views(of(*untimed), LabelView)] == [True]


def test_people_without_a_name_are_one_on_a_live_page_and_several_in_data_without_times() -> None:
    live = of(*thumbs(True, False, by=NOBODY))
    assert [view.good for view in views(live, LabelView)] == [False]
    imported = of(*thumbs(True, False, by=NOBODY, times=False))
    assert [view.good for view in views(imported, LabelView)] == [True, False]


def test_people_without_a_name_in_two_interactions_are_two() -> None:
    again = Interaction.of("q?", "a")
    merged = merge_by_prompt(
        [
            of(*thumbs(False, True, by=NOBODY)),
            Case(again, thumbs(False, by=NOBODY, interaction=again.id)),
        ]
    )
    assert [view.good for case in merged for view in views(case, LabelView)] == [True, False]

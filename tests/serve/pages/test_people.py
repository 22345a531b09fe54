"""The page on people, and the figures behind it."""

from datetime import UTC, datetime, timedelta
from math import isclose

import pytest

from backtalk.annotation.annotator_stats import compute_annotation_stats
from backtalk.annotation.assignments import Assignments
from backtalk.annotation.tasks import Task
from backtalk.feedback import Annotator, Interaction, Label, Preference, Rating
from backtalk.store import Store
from backtalk.store.judgements import Judgement, judgement_seconds, latest_judgements
from tests.serve.pages.conftest import HOSTILE, axe, harmless, shot, too_wide

WEEK = 7 * 86_400_000_000
MONDAY = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000


def judged(
    actor, kind="label", item="i", value=1.0, *, week=0, response="0", other=None, aspect="x"
):
    return Judgement(actor, kind, item, aspect, response, other, value, MONDAY + week * WEEK)


def person(found, name):
    return next(person for person in found.people if person.name == name)


def test_agreement_is_how_often_others_said_the_same():
    said = [judged("ada", item=f"i{n}", value=1.0) for n in range(4)]
    said += [judged("bo", item=f"i{n}", value=float(n > 0)) for n in range(4)]
    result = compute_annotation_stats(said, {})
    assert person(result, "ada").agreement.value == 0.75
    assert result.pairs["ada", "bo"].value == result.pairs["bo", "ada"].value == 0.75
    assert result.pairs["ada", "bo"].n == 4


def test_a_comparison_is_the_same_whichever_answer_was_shown_first():
    first = judged("ada", "preference", value=1.0, response="0", other="1")
    turned = judged("bo", "preference", value=0.0, response="1", other="0")
    assert person(compute_annotation_stats([first, turned], {}), "ada").agreement.value == 1.0


@pytest.mark.parametrize(("one", "other", "agreed"), [(None, None, 1), (None, 0.5, 0), (1, 0, 0)])
def test_both_bad_is_a_verdict_of_its_own(one, other, agreed):
    said = [
        judged("ada", "preference", value=one, response="0", other="1"),
        judged("bo", "preference", value=other, response="0", other="1"),
    ]
    assert person(compute_annotation_stats(said, {}), "bo").agreement.value == agreed


def test_ratings_agree_by_how_near_they_are():
    said = [judged("ada", "rating", value=0.75), judged("bo", "rating", value=0.5)]
    assert isclose(person(compute_annotation_stats(said, {}), "ada").agreement.value, 0.75)


def test_what_was_said_last_counts():
    latest = judged("ada", value=1.0, week=1)
    before = judged("ada", value=0.0, week=0)
    result = compute_annotation_stats([latest, judged("bo", value=1.0), before], {})
    assert person(result, "bo").agreement.value == 1.0


def test_weeks_show_drift():
    said = []
    for week, agrees in enumerate((1.0, 0.0)):
        for n in range(3):
            item = f"{week}.{n}"
            said += [
                judged("ada", item=item, week=week, value=1.0),
                judged("bo", item=item, week=week, value=agrees),
            ]
    first, second = person(compute_annotation_stats(said, {}), "bo").weeks
    assert (first.agreement.value, second.agreement.value) == (1.0, 0.0)
    assert second.start - first.start == timedelta(days=7)
    assert first.start.weekday() == 0
    assert first.judgements == 3


def test_agreement_beyond_chance_is_told_by_kind_and_aspect():
    said = []
    for n in range(10):
        for actor in ("ada", "bo", "cy"):
            said.append(judged(actor, item=f"i{n}", value=float(n % 2), aspect="tone"))
            said.append(judged(actor, "rating", item=f"i{n}", value=0.5, aspect="length"))
    label, rating = compute_annotation_stats(said, {}).shared
    assert (label.kind, label.aspect, label.items) == ("label", "tone", 10)
    assert label.alpha.value == 1.0
    assert rating.alpha is None


def test_who_shares_nothing_has_no_agreement():
    result = compute_annotation_stats([judged("ada"), judged("ada", kind="critique", value=None)], {"ada": [2, 9]})
    ada = person(result, "ada")
    assert ada.agreement is None
    assert dict(ada.counts) == {"label": 1, "critique": 1}
    assert ada.seconds == 5.5
    assert not result.pairs


def test_figures_come_from_the_store(tmp_path):
    clock = iter(datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(0, 60, 4))
    with Store(tmp_path / "s.db") as store:
        interaction = Interaction.of("Is it open?", "Yes.", "No.")
        actor = Annotator.human("ada")
        store.add(
            interaction,
            Preference(
                interaction=interaction.id, annotator=actor, a="0", b="1", verdict="both_bad"
            ),
            Rating(
                interaction=interaction.id, annotator=actor, response="1", value=2, aspect="tone"
            ),
            Label(
                interaction=interaction.id,
                annotator=Annotator.model("judge"),
                response="0",
                good=True,
            ),
        )
        assigned = Assignments(store, Task(name="t", kind="compare"), clock=lambda: next(clock))
        assigned.complete(assigned.next("ada").interaction, "ada", "done")
        rating, preference = latest_judgements(store)
        assert (rating.aspect, rating.value) == ("tone", 0.25)
        assert (preference.response, preference.other, preference.value) == ("0", "1", None)
        assert judgement_seconds(store)["ada"][0] > 0


def test_the_page_shows_who_agrees_with_whom(site):
    store = site.store
    for n in range(12):
        interaction = Interaction.of(f"{n}?", "A", "B")
        store.add(
            interaction,
            *[
                Preference(
                    interaction=interaction.id,
                    annotator=Annotator.human(actor),
                    a="0",
                    b="1",
                    verdict="b" if (n + index) % 4 else "a",
                )
                for index, actor in enumerate(("ada", "bo", HOSTILE))
            ],
        )
    with site.visitor() as page:
        page.goto("/people")
        assert "Krippendorff" in page.inner_text("main")
        shot(page, "people")
        assert axe(page) == []
        page.click("tbody a:has-text('script')")
        page.wait_for_selector("text=Week by week")
        shot(page, "person")
        assert axe(page) == []
        assert too_wide(page) == []
        page.goto("/people")
        assert too_wide(page) == []
        assert harmless(page)
        assert page.problems == []
        assert page.goto("/people/nobody").status == 404

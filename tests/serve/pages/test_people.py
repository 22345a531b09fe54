"""The page People, and its statistics."""

from datetime import UTC, datetime, timedelta
from math import isclose

import pytest

from backtalk.annotation.annotator_stats import compute_annotation_stats
from backtalk.annotation.assignments import Assignments
from backtalk.annotation.tasks import Task
from backtalk.feedback import Annotator, Interaction, Label, Preference, Rating
from backtalk.store import Store
from backtalk.store.judgements import Judgement, judgement_seconds, latest_judgements
from tests.serve.pages.conftest import (
    HOSTILE,
    axe_violations,
    is_harmless,
    overflowing_elements,
    save_screenshot,
)

WEEK = 7 * 86_400_000_000
MONDAY = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000


def judgement(
    actor, kind="label", item="i", value=1.0, *, week=0, response="0", other=None, aspect="x"
):
    return Judgement(actor, kind, item, aspect, response, other, value, MONDAY + week * WEEK)


def person(statistics, name):
    return next(person for person in statistics.people if person.name == name)


def test_agreement_is_the_rate_of_equal_judgements():
    judgements = [judgement("ada", item=f"i{n}", value=1.0) for n in range(4)]
    judgements += [judgement("bo", item=f"i{n}", value=float(n > 0)) for n in range(4)]
    statistics = compute_annotation_stats(judgements, {})
    assert person(statistics, "ada").agreement.value == 0.75
    assert statistics.pairs["ada", "bo"].value == statistics.pairs["bo", "ada"].value == 0.75
    assert statistics.pairs["ada", "bo"].n == 4


def test_a_comparison_is_the_same_whichever_answer_was_shown_first():
    first = judgement("ada", "preference", value=1.0, response="0", other="1")
    swapped = judgement("bo", "preference", value=0.0, response="1", other="0")
    assert person(compute_annotation_stats([first, swapped], {}), "ada").agreement.value == 1.0


@pytest.mark.parametrize(("a", "b", "agreement"), [(None, None, 1), (None, 0.5, 0), (1, 0, 0)])
def test_both_bad_is_a_separate_verdict(a, b, agreement):
    judgements = [
        judgement("ada", "preference", value=a, response="0", other="1"),
        judgement("bo", "preference", value=b, response="0", other="1"),
    ]
    assert person(compute_annotation_stats(judgements, {}), "bo").agreement.value == agreement


def test_agreement_of_ratings_depends_on_their_distance():
    judgements = [judgement("ada", "rating", value=0.75), judgement("bo", "rating", value=0.5)]
    assert isclose(person(compute_annotation_stats(judgements, {}), "ada").agreement.value, 0.75)


def test_the_latest_judgement_counts():
    latest = judgement("ada", value=1.0, week=1)
    earlier = judgement("ada", value=0.0, week=0)
    statistics = compute_annotation_stats([latest, judgement("bo", value=1.0), earlier], {})
    assert person(statistics, "bo").agreement.value == 1.0


def test_weeks_show_drift():
    judgements = []
    for week, agrees in enumerate((1.0, 0.0)):
        for n in range(3):
            item = f"{week}.{n}"
            judgements += [
                judgement("ada", item=item, week=week, value=1.0),
                judgement("bo", item=item, week=week, value=agrees),
            ]
    first, second = person(compute_annotation_stats(judgements, {}), "bo").weeks
    assert (first.agreement.value, second.agreement.value) == (1.0, 0.0)
    assert second.start - first.start == timedelta(days=7)
    assert first.start.weekday() == 0
    assert first.judgements == 3


def test_agreement_beyond_chance_is_computed_by_kind_and_aspect():
    judgements = []
    for n in range(10):
        for actor in ("ada", "bo", "cy"):
            judgements.append(judgement(actor, item=f"i{n}", value=float(n % 2), aspect="tone"))
            judgements.append(judgement(actor, "rating", item=f"i{n}", value=0.5, aspect="length"))
    label, rating = compute_annotation_stats(judgements, {}).shared
    assert (label.kind, label.aspect, label.items) == ("label", "tone", 10)
    assert label.alpha.value == 1.0
    assert rating.alpha is None


def test_annotators_without_shared_items_have_no_agreement():
    statistics = compute_annotation_stats(
        [judgement("ada"), judgement("ada", kind="critique", value=None)], {"ada": [2, 9]}
    )
    ada = person(statistics, "ada")
    assert ada.agreement is None
    assert dict(ada.counts) == {"label": 1, "critique": 1}
    assert ada.seconds == 5.5
    assert not statistics.pairs


def test_judgements_are_read_from_the_store(tmp_path):
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
        assignments = Assignments(store, Task(name="t", kind="compare"), clock=lambda: next(clock))
        assignments.complete(assignments.next("ada").interaction, "ada", "done")
        rating, preference = latest_judgements(store)
        assert (rating.aspect, rating.value) == ("tone", 0.25)
        assert (preference.response, preference.other, preference.value) == ("0", "1", None)
        assert judgement_seconds(store)["ada"][0] > 0


def test_the_page_shows_pairwise_agreement(site):
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
    with site.open_page() as page:
        page.goto("/people")
        assert "Krippendorff" in page.inner_text("main")
        save_screenshot(page, "people")
        assert axe_violations(page) == []
        page.click("tbody a:has-text('script')")
        page.wait_for_selector("text=By week")
        save_screenshot(page, "person")
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        page.goto("/people")
        assert overflowing_elements(page) == []
        assert is_harmless(page)
        assert page.problems == []
        assert page.goto("/people/nobody").status == 404

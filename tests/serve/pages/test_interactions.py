"""The page Interactions: finding, reading, deleting and restoring."""

import pytest

from backtalk.errors import BacktalkError
from backtalk.experiments import ArmStopped, Experiment, start
from backtalk.experiments.events import append_event
from backtalk.feedback import (
    Annotator,
    Critique,
    Edit,
    Interaction,
    Label,
    Message,
    Response,
    Span,
    Spans,
)
from backtalk.policy import save_policy
from backtalk.promotion import promote
from backtalk.serve.pages.interactions.feedback_view import make_feedback_view
from backtalk.serve.pages.interactions.filters import PARAMETERS, parse_query
from backtalk.serve.pages.interactions.view import response_views
from backtalk.store import Store
from backtalk.store.detail import StoredFeedback
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import HOSTILE, XSS, axe, harmless, key_for, shot, too_wide
from tests.serve.pages.views import (
    ADA,
    FIRST,
    NOON,
    Person,
    better_policy,
    evaluation,
    everything_about,
    fill,
    interaction,
    plain_policy,
)


def bodies():
    about = interaction()
    results = [
        make_feedback_view(StoredFeedback(item, NOON, None), about) for item in everything_about(about)
    ]
    return [(view.item.kind, view.body) for view in results]


def body_of(kind):
    return next(body for result, body in bodies() if result == kind)


@pytest.mark.parametrize(
    ("place", "headline", "tone"),
    [
        (0, "4 on stars, 1 to 5", ""),
        (1, "Bad", "bad"),
        (2, "Response 1 is better than 0", ""),
        (3, "Neither response 0 nor 2 will do", "bad"),
        (4, "Responses from the best to the worst", ""),
        (9, "Step 2 is the first wrong one", "bad"),
        (10, "Failed", "bad"),
        (12, "Took response 1", ""),
    ],
)
def test_what_feedback_comes_down_to_stands_in_a_line(place, headline, tone):
    _, body = bodies()[place]
    assert (body.headline, body.tone) == (headline, tone)


def test_a_critique_of_a_part_quotes_it():
    assert body_of("critique").quote == "We close at ten on Sundays,"


def test_an_edit_shows_what_went_and_what_came():
    changes = body_of("edit").changes
    assert "".join(text for change, text in changes if change != "in") == FIRST
    assert ("in", "else") in [(change, text) for change, text in changes]


def test_marked_spans_keep_the_text_and_say_what_they_are_called():
    body = body_of("spans")
    assert "".join(part.text for part in body.passages) == FIRST
    assert [(part.text, part.notes, part.tone) for part in body.passages if part.notes] == [
        ("We open at nine", ("right",), "good"),
        ("close at ten", ("vague",), "bad"),
    ]
    assert body.notes == ("vague: severity 0.4, in the evening?",)


def test_steps_are_numbered_with_their_verdicts():
    marked = [part.notes for part in body_of("steps").passages if part.notes]
    assert marked == [("1: right",), ("2: wrong", "not on Sundays"), ("3: neutral",)]


def test_texts_that_would_take_long_to_compare_are_shown_whole():
    long = "a\n" * 30_000
    about = Interaction.of("Hello", long)
    item = Edit(interaction=about.id, annotator=ADA, response="0", text=long + "b")
    body = make_feedback_view(StoredFeedback(item, NOON, None), about).body
    assert body.changes == ()
    assert body.text == item.text


def test_marks_beyond_the_most_are_counted_not_drawn():
    about = Interaction.of("Hello", "a" * 20_000)
    many = tuple(Span(start=i, end=i + 1, label="x") for i in range(20_000))
    item = Spans(interaction=about.id, annotator=ADA, response="0", spans=many)
    body = make_feedback_view(StoredFeedback(item, NOON, None), about).body
    assert "".join(part.text for part in body.passages) == "a" * 20_000
    assert body.notes == ("19,700 more, which are not drawn",)


def test_a_ranking_tells_ties_and_what_was_not_ranked():
    body = body_of("ranking")
    assert body.order == (("1",), ("0", "2"))
    assert body.notes == ("in one place: equally good",)


def test_responses_stand_in_the_order_in_which_they_were_shown_and_hidden_ones_last():
    views = response_views(interaction())
    assert [(view.response.id, view.position, view.hidden) for view in views] == [
        ("1", 1, False),
        ("0", 2, False),
        ("2", None, True),
    ]
    assert ("score", "0.93") in views[0].facts


def test_what_was_shown_is_not_guessed_where_nobody_noted_it():
    (view,) = response_views(Interaction.of("Hello", "Hi."))
    assert (view.position, view.hidden) == (None, False)


def asked(store, **given):
    return parse_query(store, {**dict.fromkeys(PARAMETERS, ""), **given})


def test_a_day_lasts_until_its_end_and_a_moment_is_itself():
    with Store(":memory:") as store:
        result = asked(store, since="2026-03-01", until="2026-03-01")
        assert (result.until - result.since).total_seconds() == 86_400
        assert asked(store, until="2026-03-01T12:00").until == NOON
        assert asked(store, since="2026-03-01T13:00+01:00").since == NOON


def test_a_policy_may_be_called_by_its_name_or_by_an_id_of_before():
    with Store(":memory:") as store:
        policy = plain_policy()
        save_policy(store, policy)
        assert asked(store, policy="plain").policy == policy.id
        assert asked(store, policy="0123").policy == "0123"


@pytest.mark.parametrize("given", [{"since": "soon"}, {"judged": "maybe"}, {"until": "9999-12-31"}])
def test_a_filter_that_cannot_be_read_is_named(given):
    with Store(":memory:") as store, pytest.raises(BacktalkError, match=next(iter(given))):
        asked(store, **given)


def test_search_read_delete_and_restore(site):
    with site.store as store:
        fill(store)
    with site.visitor("ada") as page:
        page.goto("/interactions")
        assert page.locator(".hits li").count() == 2
        assert axe(page) == []
        shot(page, "interactions")
        page.fill("#field-text", "LANGUAGE model")
        page.keyboard.press("Enter")
        page.get_by_text("Looked at 2 interactions").wait_for()
        page.click(".hits a.asked")
        page.wait_for_url("**/interactions/talk-1*")
        assert page.locator("article.feedback").count() == 14
        assert page.locator("mark").all_inner_texts()[0] == "We open at nineright"
        assert page.locator(".diff ins").inner_text() == "else"
        assert page.locator("aside .turns li").count() == 2
        assert axe(page) == []
        assert too_wide(page) == []
        shot(page, "interaction")
        page.locator("aside summary", has_text="Delete").click()
        page.click("text=Delete it >> visible=true")
        page.get_by_text("Deleted on").wait_for()
        page.locator("aside summary", has_text="Restore").click()
        page.click("text=Restore it")
        page.locator("aside summary", has_text="Delete").wait_for()
        assert page.problems == []
    with site.store as store:
        assert store.case("talk-1").feedback
        log = store.audit_log.entries()
        assert [(entry.actor, entry.action, entry.what) for entry in log] == [
            ("ada", "interaction deleted", "talk-1"),
            ("ada", "interaction restored", "talk-1"),
        ]


def test_filters_stand_in_the_address(site):
    with site.store as store:
        fill(store)
    with site.visitor("ada") as page:
        page.goto("/interactions")
        page.click("text=Filters")
        page.select_option("#field-kind", "steps")
        page.fill("#field-user", "cy")
        page.click("button:text('Search')")
        page.wait_for_url("**kind=steps*")
        assert page.locator(".hits li").count() == 1
        page.reload()
        assert page.input_value("#field-user") == "cy"
        assert too_wide(page) == []
        page.goto("/interactions?since=soon")
        assert "soon" in page.locator("[role=alert]").inner_text()


def test_pages_follow_one_another(gateway):
    with gateway.store as store:
        store.add(*(interaction(i, session=None) for i in range(60)))
    ada = Person(gateway)
    seen, address = [], "/interactions"
    while address and len(seen) < 100:
        text = ada.get(address).text
        seen += [part.split("?")[0] for part in text.split('class="asked" dir="auto" href="')[1:]]
        after = text.partition('rel="next" href="')[2]
        address = after.partition('"')[0].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 60


def test_one_piece_of_feedback_is_deleted_and_restored_by_itself(gateway):
    mark = Label(interaction="talk-1", annotator=ADA, response="0", good=True)
    with gateway.store as store:
        store.add(interaction(), mark, interaction(2))
    ada = Person(gateway)
    ada.get("/interactions/talk-1")
    assert ada.post("/interactions/talk-2/delete", feedback=mark.id).status_code == 404
    assert ada.post("/interactions/talk-1/delete", feedback=mark.id).status_code == 303
    with gateway.store as store:
        assert store.case("talk-1").feedback == ()
    assert ada.post("/interactions/talk-1/restore", feedback=mark.id).status_code == 303
    with gateway.store as store:
        assert store.case("talk-1").feedback == (mark,)


def test_an_id_may_have_anything_in_it(gateway):
    id_ = "mail:a/b?c#d e%2Fé/delete"
    with gateway.store as store:
        store.add(interaction(id=id_))
    ada = Person(gateway)
    listed = ada.get("/interactions").text
    address = listed.partition('class="asked" dir="auto" href="')[2].partition('"')[0]
    assert ada.get(address).status_code == 200
    assert ada.post(f"{address.partition('?')[0]}/delete").status_code == 303
    with gateway.store as store:
        assert store.counts()["interaction"] == 0


def test_what_was_deleted_is_not_shown_to_a_reviewer(keyed):
    key = key_for(keyed, "rev", "reviewer")
    with running_gateway(keyed) as gateway:
        with gateway.store as store:
            store.add(
                interaction(),
                interaction(2),
                Critique(id="c", interaction="talk-2", annotator=ADA, text="x!"),
            )
            store.delete("talk-1")
            store.delete("c")
        reviewer = Person(gateway, key)
        assert reviewer.get("/interactions/talk-1").status_code == 404
        assert "talk-1" not in reviewer.get("/interactions", deleted="yes").text
        assert "x!" not in reviewer.get("/interactions/talk-2").text


def hostile_project(store):
    """Fill a project with texts that would run in a page that let them."""
    plain = plain_policy(HOSTILE)
    worse = better_policy(plain, system=HOSTILE * 2)
    lineage = worse.lineage.model_copy(
        update={"method": HOSTILE, "options": {HOSTILE: HOSTILE}, "notes": {HOSTILE: HOSTILE}}
    )
    worse = worse.model_copy(update={"lineage": lineage, "name": None})
    result = evaluation(worse, plain).model_copy(update={"judge": XSS[1]})
    guards = tuple(guard.model_copy(update={"name": HOSTILE}) for guard in result.guards)
    result = result.model_copy(update={"guards": guards})
    for kind, one in (("policy", plain), ("policy", worse), ("evaluation", result)):
        store.documents.put(kind, one.id, one.to_json())
    message = Message(role="user", content=HOSTILE, tool_calls=({"id": HOSTILE},))
    about = interaction(
        id=HOSTILE,
        prompt=(message,),
        responses=tuple(
            Response(id=id_, text=HOSTILE, model=HOSTILE, policy=HOSTILE, metadata={"a": HOSTILE})
            for id_ in ("0", "1", "2")
        ),
        user=HOSTILE,
        session=HOSTILE,
        policy=HOSTILE,
        parent=HOSTILE,
        metadata={HOSTILE: HOSTILE},
    )
    nobody = Annotator.human(HOSTILE, group=HOSTILE)
    changes = {"annotator": nobody, "metadata": {HOSTILE: HOSTILE}}
    texts = {"critique", "demonstration", "edit", "follow_up", "instruction", "outcome"}
    said = [
        item.model_copy(update=changes | ({"text": HOSTILE + "!"} if item.kind in texts else {}))
        for item in everything_about(about)
    ]
    other = about.model_copy(update={"id": "later"})
    store.add(about, other, *said)
    access = store.api_keys
    access.add(HOSTILE[:90], "application", project=HOSTILE, actor=HOSTILE)
    store.in_project(HOSTILE)
    promote(store, plain, actor=HOSTILE)
    experiment = Experiment(
        name="x", control=plain.id, candidates=(worse.id,), guards=(f"rating:{HOSTILE}",)
    )
    begun = start(store, experiment, actor=HOSTILE)
    stopped = ArmStopped(name="x", arm=worse.id, reason=HOSTILE)
    append_event(store, stopped, actor=HOSTILE, after=begun.number)
    return worse, result


def test_no_text_of_anybody_runs_on_any_page(site):
    with site.store as store:
        worse, result = hostile_project(store)
    with site.visitor(HOSTILE[:90]) as page:
        for path in (
            "/interactions",
            "/interactions?text=xss",
            f"/interactions?user={'<script>window.__xss=7</script>'}&judged=no",
            "/interactions/later",
            "/policies",
            f"/policies/{worse.id}",
            "/reports",
            "/settings",
            "/experiments",
            "/experiments/x",
        ):
            page.goto(path)
            assert harmless(page), path
            assert page.locator("h1").count() == 1
            assert too_wide(page) == [], path
            assert page.problems == [], path
        page.goto("/interactions")
        page.locator(".hits a.asked").last.click()
        page.locator("article.feedback").first.wait_for()
        assert page.locator("article.feedback").count() == 14
        assert harmless(page)
    report = Person(site.gateway).get(f"/reports/{result.id}").text
    assert "<script" not in report
    assert "<img" not in report

"""The page Interactions: search, details, delete and restore."""

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
from backtalk.serve.pages.messages import message_parts
from backtalk.store import Store
from backtalk.store.detail import StoredFeedback
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import (
    HOSTILE,
    XSS,
    axe_violations,
    is_harmless,
    key_for,
    overflowing_elements,
    save_screenshot,
)
from tests.serve.pages.project import (
    ADA,
    FIRST,
    NOON,
    PageClient,
    better_policy,
    evaluation,
    feedback_of_every_kind,
    fill,
    interaction,
    plain_policy,
)


def bodies():
    item = interaction()
    views = [
        make_feedback_view(StoredFeedback(feedback, NOON, None), item)
        for feedback in feedback_of_every_kind(item)
    ]
    return [(view.item.kind, view.body) for view in views]


def body_of(kind):
    return next(body for other_kind, body in bodies() if other_kind == kind)


@pytest.mark.parametrize(
    ("index", "headline", "tone"),
    [
        (0, "4 on stars, 1 to 5", ""),
        (1, "Bad", "bad"),
        (2, "Response 1 is better than 0", ""),
        (3, "Responses 0 and 2 are both bad", "bad"),
        (4, "Responses from best to worst", ""),
        (9, "Step 2 is the first wrong step", "bad"),
        (10, "Failed", "bad"),
        (12, "Chose response 1", ""),
    ],
)
def test_feedback_has_a_headline(index, headline, tone):
    _, body = bodies()[index]
    assert (body.headline, body.tone) == (headline, tone)


def test_a_critique_of_a_part_quotes_it():
    assert body_of("critique").quote == "We close at ten on Sundays,"


def test_an_edit_shows_deletions_and_insertions():
    changes = body_of("edit").changes
    assert "".join(text for change, text in changes if change != "in") == FIRST
    assert ("in", "else") in [(change, text) for change, text in changes]


def test_marked_spans_contain_the_text_and_their_labels():
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


def test_long_edits_are_shown_without_a_diff():
    long = "a\n" * 30_000
    about = Interaction.of("Hello", long)
    item = Edit(interaction=about.id, annotator=ADA, response="0", text=long + "b")
    body = make_feedback_view(StoredFeedback(item, NOON, None), about).body
    assert body.changes == ()
    assert body.text == item.text


def test_marks_beyond_the_maximum_are_counted_but_not_shown():
    about = Interaction.of("Hello", "a" * 20_000)
    many = tuple(Span(start=i, end=i + 1, label="x") for i in range(20_000))
    item = Spans(interaction=about.id, annotator=ADA, response="0", spans=many)
    body = make_feedback_view(StoredFeedback(item, NOON, None), about).body
    assert "".join(part.text for part in body.passages) == "a" * 20_000
    assert body.notes == ("19,700 more, not shown",)


def test_a_ranking_shows_ties():
    body = body_of("ranking")
    assert body.order == (("1",), ("0", "2"))
    assert body.notes == ("same rank: equally good",)


def test_responses_are_in_the_order_shown_with_hidden_ones_last():
    views = response_views(interaction())
    assert [(view.response.id, view.position, view.hidden) for view in views] == [
        ("1", 1, False),
        ("0", 2, False),
        ("2", None, True),
    ]
    assert ("score", "0.93") in views[0].facts


def test_positions_are_unknown_if_they_were_not_recorded():
    (view,) = response_views(Interaction.of("Hello", "Hi."))
    assert (view.position, view.hidden) == (None, False)


def parse(store, **parameters):
    return parse_query(store, {**dict.fromkeys(PARAMETERS, ""), **parameters})


def test_a_date_includes_the_whole_day_and_a_time_is_exact():
    with Store(":memory:") as store:
        query = parse(store, since="2026-03-01", until="2026-03-01")
        assert (query.until - query.since).total_seconds() == 86_400
        assert parse(store, until="2026-03-01T12:00").until == NOON
        assert parse(store, since="2026-03-01T13:00+01:00").since == NOON


def test_a_policy_is_given_by_name_or_by_an_unknown_id():
    with Store(":memory:") as store:
        policy = plain_policy()
        save_policy(store, policy)
        assert parse(store, policy="plain").policy == policy.id
        assert parse(store, policy="0123").policy == "0123"


@pytest.mark.parametrize(
    "parameters", [{"since": "soon"}, {"judged": "maybe"}, {"until": "9999-12-31"}]
)
def test_an_error_names_the_invalid_filter(parameters):
    with Store(":memory:") as store, pytest.raises(BacktalkError, match=next(iter(parameters))):
        parse(store, **parameters)


def test_search_read_delete_and_restore(site):
    with site.store as store:
        fill(store)
    with site.open_page("ada") as page:
        page.goto("/interactions")
        assert page.locator(".hits li").count() == 2
        assert axe_violations(page) == []
        save_screenshot(page, "interactions")
        page.fill("#field-text", "LANGUAGE model")
        page.keyboard.press("Enter")
        page.get_by_text("Searched 2 interactions").wait_for()
        page.click(".hits a.prompt-snippet")
        page.wait_for_url("**/interactions/interaction-1*")
        assert page.locator("article.feedback").count() == 14
        assert page.locator("mark").all_inner_texts()[0] == "We open at nineright"
        assert page.locator(".diff ins").inner_text() == "else"
        assert page.locator("aside .turns li").count() == 2
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        save_screenshot(page, "interaction")
        page.locator("aside summary", has_text="Delete").click()
        page.click("aside button:text-is('Delete')")
        page.get_by_text("Deleted on").wait_for()
        page.locator("aside summary", has_text="Restore").click()
        page.click("aside button:text-is('Restore')")
        page.locator("aside summary", has_text="Delete").wait_for()
        assert page.problems == []
    with site.store as store:
        assert store.case("interaction-1").feedback
        log = store.audit_log.entries()
        assert [(entry.actor, entry.action, entry.detail) for entry in log] == [
            ("ada", "interaction deleted", "interaction-1"),
            ("ada", "interaction restored", "interaction-1"),
        ]


def test_filters_are_in_the_url(site):
    with site.store as store:
        fill(store)
    with site.open_page("ada") as page:
        page.goto("/interactions")
        page.click("text=Filters")
        page.select_option("#field-kind", "steps")
        page.fill("#field-user", "cy")
        page.click("button:text('Search')")
        page.wait_for_url("**kind=steps*")
        assert page.locator(".hits li").count() == 1
        page.reload()
        assert page.input_value("#field-user") == "cy"
        assert overflowing_elements(page) == []
        page.goto("/interactions?since=soon")
        assert "soon" in page.locator("[role=alert]").inner_text()


def test_pages_link_to_older_interactions(gateway):
    with gateway.store as store:
        store.add(*(interaction(i, session=None) for i in range(60)))
    ada = PageClient(gateway)
    seen, address = [], "/interactions"
    while address and len(seen) < 100:
        text = ada.get(address).text
        seen += [
            part.split("?")[0]
            for part in text.split('class="prompt-snippet" dir="auto" href="')[1:]
        ]
        after = text.partition('rel="next" href="')[2]
        address = after.partition('"')[0].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 60


def test_a_single_feedback_item_is_deleted_and_restored(gateway):
    mark = Label(interaction="interaction-1", annotator=ADA, response="0", good=True)
    with gateway.store as store:
        store.add(interaction(), mark, interaction(2))
    ada = PageClient(gateway)
    ada.get("/interactions/interaction-1")
    assert ada.post("/interactions/interaction-2/delete", feedback=mark.id).status_code == 404
    assert ada.post("/interactions/interaction-1/delete", feedback=mark.id).status_code == 303
    with gateway.store as store:
        assert store.case("interaction-1").feedback == ()
    assert ada.post("/interactions/interaction-1/restore", feedback=mark.id).status_code == 303
    with gateway.store as store:
        assert store.case("interaction-1").feedback == (mark,)


def test_an_id_may_contain_any_characters(gateway):
    id_ = "mail:a/b?c#d e%2Fé/delete"
    with gateway.store as store:
        store.add(interaction(id=id_))
    ada = PageClient(gateway)
    listed = ada.get("/interactions").text
    address = listed.partition('class="prompt-snippet" dir="auto" href="')[2].partition('"')[0]
    assert ada.get(address).status_code == 200
    assert ada.post(f"{address.partition('?')[0]}/delete").status_code == 303
    with gateway.store as store:
        assert store.counts()["interaction"] == 0


def test_deleted_records_are_hidden_from_reviewers(keyed_settings):
    key = key_for(keyed_settings, "rev", "reviewer")
    with running_gateway(keyed_settings) as gateway:
        with gateway.store as store:
            store.add(
                interaction(),
                interaction(2),
                Critique(id="c", interaction="interaction-2", annotator=ADA, text="x!"),
            )
            store.delete("interaction-1")
            store.delete("c")
        reviewer = PageClient(gateway, key)
        assert reviewer.get("/interactions/interaction-1").status_code == 404
        assert "interaction-1" not in reviewer.get("/interactions", deleted="yes").text
        assert "x!" not in reviewer.get("/interactions/interaction-2").text


def calling(id_="0", text="", **function):
    call = {"id": "c1", "type": "function", "function": {"name": "find_hours", **function}}
    message = Message(role="assistant", content=text or None, tool_calls=(call,))
    return Response(id=id_, text=text, messages=(message,))


CALL = calling(arguments='{"day": "Sunday"}')


def test_an_answer_with_a_tool_call_shows_its_name_and_arguments(site):
    site.store.add(
        interaction(1, responses=(CALL,), shown=None),
        interaction(2, responses=(calling(text="One moment."),), shown=None, session=None),
    )
    with site.open_page() as page:
        page.goto("/interactions")
        snippets = page.locator(".answer-snippet").all_inner_texts()
        assert snippets == ["One moment. calls find_hours()", 'calls find_hours({"day": "Sunday"})']
        assert axe_violations(page) == []
        page.goto("/interactions/interaction-1")
        answer = page.locator(".response")
        assert "calls find_hours" in answer.inner_text()
        assert '"day": "Sunday"' in answer.locator("pre").inner_text()
        save_screenshot(page, "tool-call")
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []


@pytest.mark.parametrize(
    ("call", "title", "body"),
    [
        ({"function": {"name": "f", "arguments": '{"a": 1}'}}, "calls f", '{\n "a": 1\n}'),
        ({"function": {"name": "f", "arguments": "{}"}}, "calls f", ""),
        ({"function": {"name": "f", "arguments": "not JSON"}}, "calls f", "not JSON"),
        ({"function": {"name": "f", "arguments": {"a": "é"}}}, "calls f", '{\n "a": "é"\n}'),
        ({"type": "custom", "custom": {"name": "g", "input": "x"}}, "calls g", "x"),
        ({"id": "c"}, "calls a tool", ""),
    ],
)
def test_tool_calls_of_every_form_are_shown(call, title, body):
    message = Message(role="assistant", content=None, tool_calls=(call,))
    ((role, text, (extra,)),) = message_parts([message])
    assert (role, text, extra.title, extra.body) == ("assistant", "", title, body)


def hostile_project(store):
    """Fill a project with texts that a page must not run."""
    plain = plain_policy(HOSTILE)
    worse = better_policy(plain, system=HOSTILE * 2)
    lineage = worse.lineage.model_copy(
        update={"method": HOSTILE, "options": {HOSTILE: HOSTILE}, "notes": {HOSTILE: HOSTILE}}
    )
    worse = worse.model_copy(update={"lineage": lineage, "name": None})
    comparison = evaluation(worse, plain).model_copy(update={"judge": XSS[1]})
    guards = tuple(guard.model_copy(update={"name": HOSTILE}) for guard in comparison.guards)
    comparison = comparison.model_copy(update={"guards": guards})
    for kind, record in (("policy", plain), ("policy", worse), ("evaluation", comparison)):
        store.documents.put(kind, record.id, record.to_json())
    message = Message(role="user", content=HOSTILE, tool_calls=({"id": HOSTILE},))
    hostile = interaction(
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
    annotator = Annotator.human(HOSTILE, group=HOSTILE)
    changes = {"annotator": annotator, "metadata": {HOSTILE: HOSTILE}}
    texts = {"critique", "demonstration", "edit", "follow_up", "instruction", "outcome"}
    feedback = [
        item.model_copy(update=changes | ({"text": HOSTILE + "!"} if item.kind in texts else {}))
        for item in feedback_of_every_kind(hostile)
    ]
    store.add(hostile, hostile.model_copy(update={"id": "later"}), *feedback)
    store.api_keys.add(HOSTILE[:90], "application", project=HOSTILE, actor=HOSTILE)
    store.in_project(HOSTILE)
    promote(store, plain, actor=HOSTILE)
    experiment = Experiment(
        name="x", control=plain.id, candidates=(worse.id,), guards=(f"rating:{HOSTILE}",)
    )
    started = start(store, experiment, actor=HOSTILE)
    stopped = ArmStopped(name="x", arm=worse.id, reason=HOSTILE)
    append_event(store, stopped, actor=HOSTILE, after=started.number)
    return worse, comparison


def test_no_page_runs_hostile_texts(site):
    with site.store as store:
        worse, comparison = hostile_project(store)
    with site.open_page(HOSTILE[:90]) as page:
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
            assert is_harmless(page), path
            assert page.locator("h1").count() == 1
            assert overflowing_elements(page) == [], path
            assert page.problems == [], path
        page.goto("/interactions")
        page.locator(".hits a.prompt-snippet").last.click()
        page.locator("article.feedback").first.wait_for()
        assert page.locator("article.feedback").count() == 14
        assert is_harmless(page)
    report = PageClient(site.gateway).get(f"/reports/{comparison.id}").text
    assert "<script" not in report
    assert "<img" not in report

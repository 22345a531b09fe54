"""The pages Memory, Prompts and Learned: what people taught, with the proof and its undoing."""

from datetime import timedelta

import pytest

from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback import (
    Annotator,
    Instruction,
    Interaction,
    Label,
    MemoryUse,
    Message,
    Response,
    Scope,
    as_prompt,
)
from backtalk.feedback.record import now
from backtalk.memory import Memory, MemoryEntry, MemorySpec
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Lineage, Policy, PromptTemplate, save_policy
from backtalk.policy.prompt_template import Example
from backtalk.promotion import active_policy, promote
from tests.serve.pages.conftest import (
    HOSTILE,
    axe_violations,
    is_harmless,
    key_for,
    overflowing_elements,
    save_screenshot,
)
from tests.serve.pages.project import PageClient, evaluation

METRIC = MemoryEntry(
    id="metric",
    kind="preference",
    text="Use metric units.",
    scope=Scope(users=("bo",), where="in questions about distances"),
    feedback=("rule",),
    interactions=("distance",),
    people=("bo",),
    method="memory",
)
BRIEF = MemoryEntry(id="brief", kind="principle", text="Be brief.", people=("ada", "bo"))
LONG = MemoryEntry(
    id="long", kind="correction", text="Say until when the shop is open.", people=("cy",)
)


def answer(number, *, shown):
    use = MemoryUse(entry="brief", shown=shown, propensity=0.5)
    response = Response(id="0", text="Ten.", memory=(use,), prompt_version="f" * 32)
    return Interaction(
        id=f"answer-{number}", prompt=as_prompt(f"Question {number}"), responses=(response,)
    )


def fill(store):
    """Put a memory with uses, and two prompts of which the second one serves, into a store."""
    interaction = Interaction.of("How far is it?", "Six miles.", user="bo")
    interaction = interaction.model_copy(update={"id": "distance"})
    rule = Instruction(
        id="rule", interaction="distance", annotator=Annotator.human("bo"), text="Use metric units."
    )
    store.add(interaction, rule)
    memory = Memory(store)
    revision = memory.add([METRIC, BRIEF, LONG])
    for number in range(60):
        shown = number % 2 == 0
        store.add(
            answer(number, shown=shown),
            Label(
                interaction=f"answer-{number}",
                annotator=Annotator.human(f"user-{number}"),
                response="0",
                good=shown or number % 8 == 1,
            ),
        )
    plain = Policy(model=EndpointSpec(model="small"), system="You answer for a shop.", name="plain")
    lineage = Lineage(method="prompt", parent=plain.id, time=now())
    template = PromptTemplate(
        rules=("Name the hour.", "Say until when."),
        demonstrations=(Example(prompt=as_prompt("Open on Monday?"), answer="From nine to six."),),
        tools={"hours": "Looks up the opening hours of a day."},
    )
    clearer = plain.derive(
        lineage=lineage,
        system="You answer for a small shop.",
        prompt=template,
        memory=MemorySpec(revision=revision),
    ).named("clearer")
    for policy in (plain, clearer):
        save_policy(store, policy)
    proof = evaluation(clearer, plain)
    save_evaluation(store, proof)
    promote(store, plain, actor="ada")
    promote(store, clearer, proof, actor="ada")
    return plain, clearer


def text_of(page):
    return page.locator("main").inner_text()


def test_an_entry_is_found_read_edited_undone_and_forgotten(site):
    with site.store as store:
        fill(store)
    with site.open_page("ada") as page:
        page.goto("/memory")
        assert "3 are active" in text_of(page)
        assert page.locator(".hits .prompt-snippet").all_inner_texts() == [
            LONG.text,
            BRIEF.text,
            METRIC.text,
        ]
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        page.set_viewport_size({"width": 1280, "height": 720})
        save_screenshot(page, "memory")
        page.goto("/memory?user=bo&kind=preference")
        page.click(f"a:text('{METRIC.text}')")
        shown = text_of(page)
        for words in ("for bo, in questions about distances", "Not yet measured", "A rule"):
            assert words in shown
        assert axe_violations(page) == []
        page.click("summary:text('Edit')")
        save_screenshot(page, "entry")
        page.fill("[name=text]", "Use metric units, always.")
        page.fill("[name=users]", "bo, cy")
        page.click("button:text('Save')")
        page.locator(".entry-text", has_text="always").wait_for()
        assert overflowing_elements(page) == []
        page.set_viewport_size({"width": 1280, "height": 720})
        page.click("button:text('Undo')")
        page.locator(".entry-text:text-is('Use metric units.')").wait_for()
        page.click("summary:text('Forget')")
        page.click("button:text('Forget it')")
        page.locator(".notice:has-text('forgotten')").wait_for()
        assert "Edit" not in text_of(page)
        assert page.problems == []
    with site.store as store:
        memory = Memory(store)
        assert memory.get("metric").state == "forgotten"
        assert [change.actor for change in memory.history("metric")][:3] == ["ada"] * 3
        actions = [entry.action for entry in store.audit_log.entries()]
        assert actions[-3:] == [
            "memory entry edited",
            "memory change undone",
            "memory entry forgotten",
        ]
        assert METRIC.text not in str(store.audit_log.entries())


def test_an_entry_shows_its_uses_and_its_measured_effect_with_an_interval(gateway):
    with gateway.store as store:
        fill(store)
    text = PageClient(gateway).get("/memory/brief").text
    assert "30 answers" in text
    assert "on judgements, from 30 answers with it and 30 without" in text
    assert 'aria-label="Effect on judgements' in text
    assert "30 and 0" in text


def test_what_was_learned_this_week_is_undone_by_one_click_each(site):
    with site.store as store:
        plain, clearer = fill(store)
    with site.open_page("ada") as page:
        page.goto("/learned")
        shown = text_of(page)
        for words in (
            "What your users taught it this week",
            "3 new entries of the memory",
            "from 3 people",
            'The prompt gains the rule "Name the hour."',
            "it wins 62.0 %",
            "Not yet measured: 0 uses",
            "from 30 answers with it and 30 without",
            "said by ada, bo",
            "in use",
        ):
            assert words in shown
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        page.set_viewport_size({"width": 1280, "height": 720})
        save_screenshot(page, "learned")
        page.locator("article", has_text=LONG.text).locator("button").click()
        page.locator("article", has_text=LONG.text).locator(
            "button:text('Use it again')"
        ).wait_for()
        page.locator("article", has_text="clearer").locator("button:text('Undo')").click()
        page.wait_for_url("**/policies*")
        assert page.problems == []
    with site.store as store:
        assert Memory(store).get("long").state == "undone"
        assert active_policy(store) == plain
        assert clearer.id != plain.id


def test_a_period_without_lessons_is_empty_and_a_bad_one_is_an_error(gateway):
    with gateway.store as store:
        fill(store)
    ada = PageClient(gateway)
    assert "Nothing was learned in this period" in ada.get("/learned?until=2020-01-01").text
    today = f"{now():%Y-%m-%d}"
    assert METRIC.text in ada.get(f"/learned?since={today}&until={today}").text
    for query in ("since=soon", "since=2026-02-01&until=2026-01-01"):
        assert ada.get(f"/learned?{query}").status_code == 422


def test_versions_of_a_prompt_show_their_changes_and_their_evidence(site):
    with site.store as store:
        plain, clearer = fill(store)
    with site.open_page("ada") as page:
        page.goto("/prompts")
        first, second = page.locator("article").all_inner_texts()
        assert "serving" in first
        assert "win rate" in first
        assert "by a reward" in first
        assert "not evaluated against another prompt" in second
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        page.set_viewport_size({"width": 1280, "height": 720})
        save_screenshot(page, "prompts")
        page.click("a:text-is('clearer')")
        assert page.locator(".diff ins").all_inner_texts()[0].strip() == "small"
        for words in ("Name the hour.", "From nine to six.", "Looks up", "judged by a reward"):
            assert words in text_of(page)
        assert axe_violations(page) == []
        save_screenshot(page, "prompt")
        page.goto(f"/prompts/{plain.prompt_version}?against={clearer.prompt_version}")
        assert "Changes from clearer" in text_of(page)
        assert page.locator("li del").count() > 0
        assert page.problems == []


def test_a_prompt_that_is_not_evaluated_yet_shows_the_gain_that_its_search_confirmed(gateway):
    plain = Policy(model=EndpointSpec(model="small"), name="plain")
    notes = {"confirmed gain": 0.2, "lower bound": 0.05, "confirmation prompts": 40}
    lineage = Lineage(method="prompt", parent=plain.id, time=now(), notes=notes)
    with gateway.store as store:
        for policy in (plain, plain.derive(system="Be brief.", lineage=lineage)):
            save_policy(store, policy)
    ada = PageClient(gateway)
    gain = "gain in learning +0.20, at least +0.05, on 40 requests that the search did not see"
    assert gain in ada.get("/prompts").text
    assert f"Not yet evaluated; {gain}." in ada.get("/learned").text


def test_an_answer_links_its_prompt_and_the_entries_that_applied(gateway):
    with gateway.store as store:
        fill(store)
    text = PageClient(gateway).get("/interactions/answer-1").text
    assert "memory withheld" in text
    assert "shown with probability 0.5" in text
    assert 'href="/memory/brief' in text


def test_a_contradiction_is_decided_by_a_person(site):
    said = now()
    entries = [
        MemoryEntry(
            id="a", kind="preference", text="Use metric units.", people=("ada",), time=said
        ),
        MemoryEntry(
            id="b",
            kind="preference",
            text="Use imperial units.",
            people=("bo",),
            time=said + timedelta(seconds=1),
        ),
    ]
    with site.store as store:
        Memory(store).add(entries)
        assert len(Memory(store).conflicts()) == 1
    with site.open_page("ada") as page:
        page.goto("/memory")
        page.click("a:text('Decide')")
        assert axe_violations(page) == []
        save_screenshot(page, "contradiction")
        section = page.locator("section", has_text="Use metric units.")
        section.locator("button").click()
        page.locator(".entry-text:text-is('Use metric units.')").wait_for()
        assert "Use imperial units." in text_of(page)
        assert page.problems == []
    with site.store as store:
        assert [entry.id for entry in Memory(store).entries()] == ["a"]
        assert Memory(store).conflicts() == []


@pytest.mark.parametrize("path", ["memory/metric/edit", "memory/metric/forget", "learned/undo"])
def test_reviewers_read_but_change_nothing(keyed_settings, path):
    from tests.serve.conftest import running_gateway

    secret = key_for(keyed_settings, "grace", "reviewer")
    with running_gateway(keyed_settings) as gateway:
        with gateway.store as store:
            fill(store)
        grace = PageClient(gateway, secret)
        assert "Forget" not in grace.get("/memory/metric").text
        assert "Undo" not in grace.get("/learned").text
        assert grace.post(f"/{path}", text="x", memory="memory", entry="metric").status_code == 403
        with gateway.store as store:
            assert Memory(store).get("metric") == METRIC.model_copy(update={"revision": 1})


def test_hostile_entries_and_prompts_are_shown_as_text(site):
    entry = MemoryEntry(
        id="x", kind="fact", text=HOSTILE, people=(HOSTILE,), scope=Scope(where=HOSTILE)
    )
    policy = Policy(
        model=EndpointSpec(model="small"),
        system=HOSTILE,
        prompt=PromptTemplate(
            rules=(HOSTILE,),
            tools={HOSTILE: HOSTILE},
            demonstrations=(Example(prompt=(Message.user(HOSTILE),), answer=HOSTILE),),
        ),
        lineage=Lineage(method="prompt", time=now()),
    )
    with site.store as store:
        Memory(store).add([entry])
        save_policy(store, policy)
    with site.open_page("ada") as page:
        for path in (
            "memory",
            "memory/x",
            "learned",
            "prompts",
            f"prompts/{policy.prompt_version}",
        ):
            page.goto(f"/{path}")
            assert is_harmless(page)
            assert overflowing_elements(page) == []
        assert page.problems == []


def test_errors_name_what_is_wrong(gateway):
    with gateway.store as store:
        fill(store)
    ada = PageClient(gateway)
    for path, status, words in (
        ("/memory/none", 404, "There is no entry"),
        ("/memory?kind=opinion", 422, "kind: there is no"),
        ("/memory?memory=other", 404, "There is no memory"),
        ("/prompts/none", 404, "There is no prompt version"),
    ):
        answer = ada.get(path)
        assert (answer.status_code, words in answer.text) == (status, True), path
    ada.get("/memory/metric")
    assert ada.post("/memory/metric/edit", text=" ").status_code == 422
    assert ada.post("/memory/metric/undo", change="9").status_code == 404
    assert ada.post("/memory/metric/settle").status_code == 404

"""The inbox in a browser: every kind of task by keyboard, and the saved feedback."""

import re
from pathlib import Path

import httpx2
import pytest

from backtalk.annotation.tasks import Task, add_task
from backtalk.feedback import Annotator, Interaction, Label, Message, Response
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import (
    HOSTILE,
    PHONE,
    Site,
    axe_violations,
    is_harmless,
    key_for,
    overflowing_elements,
    save_screenshot,
)

TEXT = "We opens at nine. It is in the the city."
STEPS = "Twice 3 is 6.\nHalf of it is 4.\nSo it is 4."


def interaction(number, *answers, **fields):
    interaction = Interaction.of(f"Question {number}?", *answers)
    return interaction.model_copy(update={"id": f"i{number}", "policy": "secret-policy", **fields})


def make_task(site, kind, *answers, items=1, **fields):
    """Add items with these answers to the store, and a task about them."""
    store = site.store
    store.add(*[interaction(number, *answers) for number in range(items)])
    task = Task(name=f"Please {kind}", kind=kind, guideline="Think first.", **fields)
    return add_task(store, task, actor="tests")


def open_item(page, task):
    page.goto(f"/inbox/{task.id}")
    page.wait_for_selector("[data-item]")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def press_and_submit(page, *keys):
    """Press keys, the last of which submits the form."""
    with page.expect_navigation():
        press(page, *keys)


def saved_feedback(site, interaction="i0"):
    return list(site.store.case(interaction).feedback)


def test_two_answers_are_compared_with_one_key(site):
    task = make_task(site, "compare", "Yes.", "At nine.", items=4)
    with site.open_page("ada") as page:
        open_item(page, task)
        save_screenshot(page, "compare")
        assert axe_violations(page) == []
        texts = page.locator(".sides .text").all_inner_texts()
        for key in ("1", "2", "0", "b"):
            press_and_submit(page, key)
        assert page.get_by_text("You have judged every item").is_visible()
        assert axe_violations(page) == []
        assert page.problems == []
    first, second, tie, both = (saved_feedback(site, f"i{number}")[0] for number in range(4))
    assert ["Yes.", "At nine."][int(first.chosen)] == texts[0]
    assert (first.verdict, second.verdict) == ("a", "b")
    assert (tie.verdict, both.verdict) == ("tie", "both_bad")
    assert first.annotator.id == "ada"
    assert first.metadata["task"] == task.id
    assert first.metadata["order"] == [first.a, first.b]
    assert 0 <= first.metadata["seconds"] < 60


def test_answers_are_ranked_by_keys_with_a_tie_and_one_not_ranked(site):
    task = make_task(site, "rank", "A", "B", "C", "D")
    with site.open_page() as page:
        open_item(page, task)
        order = page.locator("[data-card]").all_inner_texts()
        order = [text.split()[-1] for text in order]
        press(page, "3", "1", "=", "4", "2", "Backspace")
        save_screenshot(page, "rank")
        assert axe_violations(page) == []
        press_and_submit(page, "Enter")
        assert page.problems == []
    (ranking,) = saved_feedback(site)
    letters = {str(i): letter for i, letter in enumerate("ABCD")}
    assert [{letters[id_] for id_ in tier} for tier in ranking.tiers] == [
        {order[2], order[0]},
        {order[3]},
    ]
    assert ranking.within == "tied"


def test_answers_that_are_all_the_same_are_counted_but_not_asked(site):
    task = make_task(site, "compare", "Yes.", "Yes.", items=2)
    site.store.add(interaction(9, "Yes.", "Yes.", "No."))
    with site.open_page() as page:
        page.goto("/inbox")
        assert page.get_by_text("2 not asked: their answers are all the same").is_visible()
        assert axe_violations(page) == []
        open_item(page, task)
        assert sorted(page.locator(".sides .text").all_inner_texts()) == ["No.", "Yes."]
        press_and_submit(page, "1")
        assert page.get_by_text("You have judged every item").is_visible()


@pytest.mark.parametrize("kind", ["compare", "rank", "spans", "steps", "rewrite", "critique"])
def test_tool_calls_of_answers_are_shown_in_the_inbox(site, kind):
    def response(id_, name):
        call = {"type": "function", "function": {"name": name, "arguments": '{"day": "Sunday"}'}}
        message = Message(role="assistant", content=None, tool_calls=(call,))
        return Response(id=id_, text="", messages=(message,))

    responses = (response("0", "find_hours"), response("1", "find_hours"), response("2", "close"))
    site.store.add(interaction(0).model_copy(update={"responses": responses}))
    labels = ("unclear",) if kind == "spans" else ()
    task = add_task(site.store, Task(name="t", kind=kind, labels=labels), actor="tests")
    with site.open_page(viewport=PHONE) as page:
        open_item(page, task)
        assert page.locator(".extra").first.is_visible()
        shown = page.locator(".card .extra").all_inner_texts()
        several = ["calls close", "calls find_hours"]
        assert sorted(shown) == (several if kind in {"compare", "rank"} else several[1:])
        save_screenshot(page, f"tool-call-{kind}")
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        assert page.problems == []


def drag(page, card, share):
    """Drag a card by its handle to a share of the height of the first tier."""
    handle = page.locator(f"[data-card='{card}'] [data-handle]").bounding_box()
    tier = page.locator(".tier").first.bounding_box()
    page.mouse.move(handle["x"] + 8, handle["y"] + 10)
    page.mouse.down()
    page.mouse.move(tier["x"] + 60, tier["y"] + tier["height"] * share, steps=4)
    page.mouse.up()


def ranks(page):
    return [page.input_value(f"[name=rank-{card}]") for card in range(3)]


def test_answers_are_dragged_into_an_order(site):
    task = make_task(site, "rank", "A", "B", "C")
    with site.open_page() as page:
        open_item(page, task)
        press(page, "1", "2")
        drag(page, 2, 0.1)
        assert ranks(page) == ["2", "3", "1"]
        page.click("[data-card='2'] [data-move=remove]")
        assert ranks(page) == ["1", "2", ""]
        drag(page, 2, 0.5)
        assert ranks(page) == ["1", "2", "1"]
        press_and_submit(page, "Enter")
    assert [len(tier) for tier in saved_feedback(site)[0].tiers] == [2, 1]


def test_the_arrow_buttons_of_a_card_move_it(site):
    task = make_task(site, "rank", "A", "B", "C")
    with site.open_page() as page:
        open_item(page, task)
        press(page, "1", "2", "3")
        page.click("[data-card='2'] [data-move=up]")
        press(page, "Enter")  # the button keeps the focus
        assert page.input_value("[name=rank-2]") == "1"
        page.click("[data-card='0'] [data-move=tie]")
        page.click("[data-card='1'] [data-move=up]")
        assert ranks(page) == ["2", "1", "2"]


def test_aspects_are_rated_by_number_keys(site):
    task = make_task(site, "rate", "Yes.", aspects=("tone", "correctness", "length"))
    with site.open_page() as page:
        open_item(page, task)
        save_screenshot(page, "rate")
        assert axe_violations(page) == []
        press(page, "4", "2", "5", "ArrowUp", "1")
        press_and_submit(page, "Enter")
        assert page.problems == []
    values = {item.aspect: item.value for item in saved_feedback(site)}
    assert values == {"tone": 4, "correctness": 1, "length": 5}


def test_a_form_without_a_rating_is_rejected_and_the_item_stays(site):
    task = make_task(site, "rate", "Yes.", aspects=("tone",))
    with site.open_page() as page:
        open_item(page, task)
        press_and_submit(page, "Enter")
        assert page.get_by_role("alert").inner_text().startswith("Nothing was rated")
        press_and_submit(page, "3", "Enter")
    assert [item.value for item in saved_feedback(site)] == [3]


def test_a_thumb_is_one_key(site):
    task = make_task(site, "thumbs", "Yes.", items=2)
    with site.open_page() as page:
        open_item(page, task)
        press_and_submit(page, "g")
        press_and_submit(page, "b")
    assert [saved_feedback(site, f"i{n}")[0].good for n in range(2)] == [True, False]


def test_spans_are_marked_by_keyboard(site):
    task = make_task(site, "spans", "😀 " + TEXT, labels=("grammar", "repetition"))
    with site.open_page() as page:
        open_item(page, task)
        press(page, *["ArrowRight"] * 3, "1")
        press(page, *["ArrowRight"] * 7, "Shift+ArrowRight", "2")
        save_screenshot(page, "spans")
        assert axe_violations(page) == []
        assert page.locator(".marks li").count() == 2
        press_and_submit(page, "Enter")
        assert page.problems == []
    (item,) = saved_feedback(site)
    text = "😀 " + TEXT
    assert [(text[s.start : s.end], s.label) for s in item.spans] == [
        ("opens", "grammar"),
        ("the the", "repetition"),
    ]


def test_spans_are_marked_by_mouse_and_removed(site):
    task = make_task(site, "spans", TEXT, labels=("grammar",))
    with site.open_page() as page:
        open_item(page, task)
        for word in ("opens", "city"):
            page.locator("[data-word]", has_text=word).dblclick()
            page.click("[data-label='0']")
        page.click(".marks li:has-text('city') button")
        press_and_submit(page, "Enter")
    (item,) = saved_feedback(site)
    assert [TEXT[span.start : span.end].strip() for span in item.spans] == ["opens"]


def test_each_step_gets_a_verdict(site):
    task = make_task(site, "steps", STEPS)
    with site.open_page() as page:
        open_item(page, task)
        press(page, "r", "w", "n")
        save_screenshot(page, "steps")
        assert axe_violations(page) == []
        press_and_submit(page, "Enter")
        assert page.problems == []
    (item,) = saved_feedback(site)
    assert [(STEPS[s.start : s.end], s.verdict) for s in item.steps] == [
        ("Twice 3 is 6.", "right"),
        ("Half of it is 4.", "wrong"),
        ("So it is 4.", "neutral"),
    ]


def test_a_rewrite_shows_its_changes(site):
    task = make_task(site, "rewrite", TEXT, items=2)
    with site.open_page() as page:
        open_item(page, task)
        press(page, "e", "Control+Home", "Control+ArrowRight", *["ArrowRight"] * 5, "Delete")
        page.wait_for_selector("#changes del")
        save_screenshot(page, "rewrite")
        assert axe_violations(page) == []
        assert page.inner_text("#changes del") == "opens"
        assert page.inner_text("#changes ins") == "open"
        press_and_submit(page, "Control+Enter")
        press_and_submit(page, "f")
        assert page.problems == []
    (edit,), (label,) = saved_feedback(site, "i0"), saved_feedback(site, "i1")
    assert edit.text == TEXT.replace("opens", "open")
    assert (label.kind, label.good) == ("label", True)


def test_a_critique_and_a_rule_are_written(site):
    task = make_task(site, "critique", TEXT, items=2)
    with site.open_page() as page:
        open_item(page, task)
        press(page, "e")
        page.keyboard.type("Too terse & 'odd'")
        press_and_submit(page, "Control+Enter")
        press(page, "r")
        page.keyboard.type("No slang")
        press(page, "Tab")
        page.keyboard.type("in letters")
        save_screenshot(page, "critique")
        assert axe_violations(page) == []
        press_and_submit(page, "Control+Enter")
        assert page.problems == []
    (critique,), (rule,) = saved_feedback(site, "i0"), saved_feedback(site, "i1")
    assert (critique.kind, critique.text, critique.response) == (
        "critique",
        "Too terse & 'odd'",
        "0",
    )
    assert (rule.kind, rule.text, rule.scope.where) == ("instruction", "No slang", "in letters")


def test_undo_deletes_the_last_answer_and_shows_its_item_again(site):
    task = make_task(site, "compare", "A", "B", items=2)
    with site.open_page() as page:
        open_item(page, task)
        press_and_submit(page, "1")
        press_and_submit(page, "s")
        assert len(saved_feedback(site)) == 1
        press_and_submit(page, "u")
        press_and_submit(page, "u")
        assert "Question 0?" in page.inner_text(".conversation")
        assert saved_feedback(site) == []
        press_and_submit(page, "0")
        assert page.problems == []
    assert [item.verdict for item in saved_feedback(site)] == ["tie"]


def test_the_keys_can_be_turned_off(site):
    task = make_task(site, "thumbs", "A")
    with site.open_page() as page:
        open_item(page, task)
        page.click("[data-keys]")
        press(page, "g")
        page.reload()
        press(page, "g")
        assert page.locator("[data-keys]").get_attribute("aria-pressed") == "false"
        page.click("[data-keys]")
        press_and_submit(page, "g")
    assert len(saved_feedback(site)) == 1


def test_two_people_judge_blindly_and_a_third_gets_no_item(site):
    task = make_task(site, "compare", "A", "B", people=2)
    with site.open_page("frida") as page:
        open_item(page, task)
        press_and_submit(page, "1")
    with site.open_page("bo") as page:
        open_item(page, task)
        assert "frida" not in page.content()
        assert "secret-policy" not in page.content()
        press_and_submit(page, "2")
    with site.open_page("cy") as page:
        page.goto(f"/inbox/{task.id}")
        assert page.get_by_text("All items are judged.").is_visible()
    assert {item.annotator.id for item in saved_feedback(site)} == {"frida", "bo"}


def test_an_item_is_leased_to_one_person_at_a_time(site):
    task = make_task(site, "compare", "A", "B")
    with site.open_page("ada") as first, site.open_page("bo") as second:
        open_item(first, task)
        second.goto(f"/inbox/{task.id}")
        assert second.get_by_text("The remaining items are assigned to others").is_visible()
        token = second.locator("[name=token]").first.get_attribute("value")
        response = second.post(
            f"/inbox/{task.id}/answer",
            form={"token": token, "interaction": "i0", "verdict": "a"},
        )
        assert response.status == 409
    assert saved_feedback(site) == []


def test_an_answer_submitted_twice_counts_once(site):
    task = make_task(site, "thumbs", "A", items=2)
    with site.open_page() as page:
        open_item(page, task)
        token = page.locator("[name=token]").first.get_attribute("value")
        form = {"token": token, "interaction": "i0", "thumb": "good"}
        for _ in range(2):
            assert page.post(f"/inbox/{task.id}/answer", form=form).ok
    assert len(saved_feedback(site)) == 1


def test_a_task_is_created_used_closed_and_reopened(site):
    site.store.add(interaction(0, "A"))
    with site.open_page() as page:
        page.goto("/inbox")
        assert axe_violations(page) == []
        page.click("text=Create a task")
        page.fill("[name=name]", "How is the tone?")
        page.select_option("[name=kind]", "rate")
        page.fill("[name=aspects]", "tone, ")
        page.check("[name=unjudged]")
        save_screenshot(page, "new")
        assert axe_violations(page) == []
        page.click("text=Create task")
        page.wait_for_selector(".task")
        save_screenshot(page, "tasks")
        assert axe_violations(page) == []
        page.click("a:has-text('Judge')")
        page.wait_for_selector("[data-item]")
        press_and_submit(page, "5", "Enter")
        page.goto("/inbox")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("button:has-text('Close')")
        page.wait_for_selector("text=Reopen")
        page.click("text=Reopen")
        page.wait_for_selector(".task")
        assert page.problems == []
    assert saved_feedback(site)[0].aspect == "tone"


def test_an_incomplete_task_is_rejected_with_the_missing_field(site):
    with site.open_page() as page:
        page.goto("/inbox/new/task")
        page.fill("[name=name]", "Errors")
        page.select_option("[name=kind]", "spans")
        page.click("text=Create task")
        assert "labels" in page.get_by_role("alert").inner_text()
        assert page.input_value("[name=name]") == "Errors"


KINDS = {
    "compare": {},
    "rank": {},
    "rate": {"aspects": (HOSTILE, "b")},
    "spans": {"labels": (HOSTILE,)},
    "steps": {},
    "rewrite": {},
    "critique": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_are_shown_but_not_run_on_a_phone(site, kind):
    interaction = Interaction.of(HOSTILE, f"{HOSTILE}\n{HOSTILE}", HOSTILE, user=HOSTILE)
    site.store.add(interaction.model_copy(update={"id": HOSTILE, "session": HOSTILE}))
    task = Task(name=HOSTILE, kind=kind, guideline=HOSTILE, **KINDS[kind])
    task = add_task(site.store, task, actor=HOSTILE)
    with site.open_page("<script>window.__xss=9</script>", viewport=PHONE) as page:
        if kind == "compare":
            page.goto("/inbox")
            assert overflowing_elements(page) == []
        open_item(page, task)
        page.click("summary:has-text('Guideline')")
        assert HOSTILE.split()[0] in page.inner_text("main")
        if kind == "spans":
            press(page, "ArrowRight", "1")
        if kind == "rewrite":
            press(page, "e")
            page.keyboard.insert_text(HOSTILE)
            page.wait_for_selector("#changes ins")
        assert overflowing_elements(page) == []
        save_screenshot(page, f"phone-{kind}")
        assert is_harmless(page)
        assert page.problems == []


def test_an_annotator_sees_only_the_inbox(keyed_settings, chromium):
    secret = key_for(keyed_settings, "ada", "annotator", "default")
    with running_gateway(keyed_settings) as gateway:
        site = Site(gateway, chromium)
        task = make_task(site, "thumbs", "A")
        with site.open_page(secret) as page:
            page.goto("/inbox")
            assert page.locator("nav[aria-label=Main] a").all_inner_texts() == ["Inbox"]
            assert page.locator("text=New task").count() == 0
            assert page.goto("/inbox/new/task").status == 403
            assert page.goto("/people").status == 403
            open_item(page, task)
            press_and_submit(page, "g")
    assert saved_feedback(site)[0].annotator.id == "ada"


INVALID = [
    ("compare", {"verdict": "c"}, "No verdict"),
    ("rank", {"rank-0": "9" * 5000, "rank-1": "1"}, "is not a rank"),
    ("rank", {"rank-0": "1"}, "Fewer than two"),
    ("thumbs", {}, "No thumb"),
    ("spans", {"span": "0:99:0"}, "outside the text"),
    ("spans", {"span": "2:1:0"}, "not greater than start"),
    ("spans", {"span": "0:1:7"}, "does not have"),
    ("spans", {"span": "x"}, "is not a mark"),
    ("steps", {"step-0": "right"}, "Step 2"),
    ("rewrite", {"text": "One.\r\nTwo."}, "Nothing was changed"),
    ("critique", {"text": " "}, "Nothing was written"),
]


def test_an_invalid_answer_is_rejected_and_the_item_shown_again(settings):
    with running_gateway(settings) as gateway, client_of(gateway, "ada") as http:
        site = Site(gateway, None)
        site.store.add(interaction(0, "One.\nTwo.", "B"))
        for number, (kind, form, message) in enumerate(INVALID):
            labels = ("bad",) if kind == "spans" else ()
            task = Task(name=f"Task {number}", kind=kind, labels=labels)
            task = add_task(site.store, task, actor="tests")
            fields = {"token": token_of(http, task), "interaction": "i0", **form}
            response = http.post(f"/inbox/{task.id}/answer", data=fields)
            assert (response.status_code, message in response.text) == (422, True), (kind, form)
            assert f'action="/inbox/{task.id}/answer' in response.text
        assert saved_feedback(site) == []


def token_of(http, task):
    """Open an item and return the token of its form."""
    page = http.get(f"/inbox/{task.id}")
    return re.search(r'name="token" value="(\w+)"', page.text)[1]


def client_of(gateway, name):
    """Return an HTTP client of a user who signed in with a name."""
    cookie = Site(gateway, None).cookie(name)
    return httpx2.Client(
        base_url=gateway.url, cookies={cookie["name"]: cookie["value"]}, verify=False
    )


def test_an_item_answered_before_a_crash_is_not_shown_again(settings):
    with running_gateway(settings) as gateway, client_of(gateway, "ada") as http:
        site = Site(gateway, None)
        task = make_task(site, "thumbs", "A", items=2)
        assert "Question 0?" in http.get(f"/inbox/{task.id}").text
        site.store.add(
            Label(
                interaction="i0",
                annotator=Annotator.human("ada"),
                response="0",
                good=True,
                metadata={"task": task.id},
            )
        )
        assert "Question 1?" in http.get(f"/inbox/{task.id}").text


def test_personal_data_in_an_answer_is_redacted(settings):
    settings = settings.model_copy(update={"redact": ("email",)})
    with running_gateway(settings) as gateway, client_of(gateway, "ada") as http:
        site = Site(gateway, None)
        task = make_task(site, "critique", "A")
        form = {"token": token_of(http, task), "interaction": "i0", "text": "Ask ada@example.org"}
        assert http.post(f"/inbox/{task.id}/answer", data=form).status_code == 303
        assert "example.org" not in saved_feedback(site)[0].text


def test_an_answer_submitted_while_the_store_is_unavailable_is_not_lost(site, tmp_path):
    task = make_task(site, "critique", "A")
    store, away = Path(site.gateway.settings.store), tmp_path / "away.db"
    with site.open_page() as page:
        open_item(page, task)
        press(page, "e")
        page.keyboard.type("Too terse")
        store.rename(away)
        press_and_submit(page, "Control+Enter")
        assert page.get_by_text("The store is unavailable").is_visible()
        assert page.input_value("textarea") == "Too terse"
        assert axe_violations(page) == []
        away.rename(store)
        page.click("button:has-text('Submit again')")
        page.wait_for_selector("text=You have judged every item")
    assert [item.text for item in saved_feedback(site)] == ["Too terse"]

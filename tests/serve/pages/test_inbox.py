"""The inbox in a browser: every way to answer by keys alone, and what is kept of it."""

import re
from pathlib import Path

import httpx2
import pytest

from backtalk.annotation.tasks import Task, add_task
from backtalk.feedback import Annotator, Interaction, Label
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import HOSTILE, PHONE, Site, axe, harmless, key_for, shot, too_wide

TEXT = "We opens at nine. It is in the the city."
STEPS = "Twice 3 is 6.\nHalf of it is 4.\nSo it is 4."


def interaction(number, *answers, **fields):
    made = Interaction.of(f"Question {number}?", *answers)
    return made.model_copy(update={"id": f"i{number}", "policy": "secret-policy", **fields})


def ask(site, kind, *answers, items=1, **fields):
    """Keep items with these answers, and make a task about them."""
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


def sent(page, *keys):
    """Press keys, the last of which sends the answer."""
    with page.expect_navigation():
        press(page, *keys)


def kept(site, interaction="i0"):
    return list(site.store.case(interaction).feedback)


def test_two_are_compared_by_one_key(site):
    task = ask(site, "compare", "Yes.", "At nine.", items=4)
    with site.visitor("ada") as page:
        open_item(page, task)
        shot(page, "compare")
        assert axe(page) == []
        texts = page.locator(".sides .text").all_inner_texts()
        for key in ("1", "2", "0", "b"):
            sent(page, key)
        assert page.get_by_text("Nothing is left for you here").is_visible()
        assert axe(page) == []
        assert page.problems == []
    first, second, tie, both = (kept(site, f"i{number}")[0] for number in range(4))
    assert ["Yes.", "At nine."][int(first.chosen)] == texts[0]
    assert (first.verdict, second.verdict) == ("a", "b")
    assert (tie.verdict, both.verdict) == ("tie", "both_bad")
    assert first.annotator.id == "ada"
    assert first.metadata["task"] == task.id
    assert first.metadata["order"] == [first.a, first.b]
    assert 0 <= first.metadata["seconds"] < 60


def test_several_are_ranked_by_keys_with_a_tie_and_one_left_out(site):
    task = ask(site, "rank", "A", "B", "C", "D")
    with site.visitor() as page:
        open_item(page, task)
        order = page.locator("[data-card]").all_inner_texts()
        order = [text.split()[-1] for text in order]
        press(page, "3", "1", "=", "4", "2", "Backspace")
        shot(page, "rank")
        assert axe(page) == []
        sent(page, "Enter")
        assert page.problems == []
    (ranking,) = kept(site)
    letters = {str(i): letter for i, letter in enumerate("ABCD")}
    assert [{letters[id_] for id_ in tier} for tier in ranking.tiers] == [
        {order[2], order[0]},
        {order[3]},
    ]
    assert ranking.within == "tied"


def drag(page, card, share):
    """Drag a card by its handle to a share of the height of the first place."""
    handle = page.locator(f"[data-card='{card}'] [data-handle]").bounding_box()
    tier = page.locator(".tier").first.bounding_box()
    page.mouse.move(handle["x"] + 8, handle["y"] + 10)
    page.mouse.down()
    page.mouse.move(tier["x"] + 60, tier["y"] + tier["height"] * share, steps=4)
    page.mouse.up()


def places(page):
    return [page.input_value(f"[name=place-{card}]") for card in range(3)]


def test_answers_are_dragged_into_an_order(site):
    task = ask(site, "rank", "A", "B", "C")
    with site.visitor() as page:
        open_item(page, task)
        press(page, "1", "2")
        drag(page, 2, 0.1)
        assert places(page) == ["2", "3", "1"]
        page.click("[data-card='2'] [data-move=out]")
        assert places(page) == ["1", "2", ""]
        drag(page, 2, 0.5)
        assert places(page) == ["1", "2", "1"]
        sent(page, "Enter")
    assert [len(tier) for tier in kept(site)[0].tiers] == [2, 1]


def test_the_arrows_of_a_card_move_it(site):
    task = ask(site, "rank", "A", "B", "C")
    with site.visitor() as page:
        open_item(page, task)
        press(page, "1", "2", "3")
        page.click("[data-card='2'] [data-move=up]")
        press(page, "Enter")  # the button keeps the focus
        assert page.input_value("[name=place-2]") == "1"
        page.click("[data-card='0'] [data-move=tie]")
        page.click("[data-card='1'] [data-move=up]")
        assert places(page) == ["2", "1", "2"]


def test_aspects_are_rated_by_numbers(site):
    task = ask(site, "rate", "Yes.", aspects=("tone", "correctness", "length"))
    with site.visitor() as page:
        open_item(page, task)
        shot(page, "rate")
        assert axe(page) == []
        press(page, "4", "2", "5", "ArrowUp", "1")
        sent(page, "Enter")
        assert page.problems == []
    results = {item.aspect: item.value for item in kept(site)}
    assert results == {"tone": 4, "correctness": 1, "length": 5}


def test_nothing_rated_is_told_and_the_item_stays(site):
    task = ask(site, "rate", "Yes.", aspects=("tone",))
    with site.visitor() as page:
        open_item(page, task)
        sent(page, "Enter")
        assert page.get_by_role("alert").inner_text().startswith("Nothing was rated")
        sent(page, "3", "Enter")
    assert [item.value for item in kept(site)] == [3]


def test_a_thumb_is_one_key(site):
    task = ask(site, "thumbs", "Yes.", items=2)
    with site.visitor() as page:
        open_item(page, task)
        sent(page, "g")
        sent(page, "b")
    assert [kept(site, f"i{n}")[0].good for n in range(2)] == [True, False]


def test_stretches_of_text_are_marked_by_keys(site):
    task = ask(site, "spans", "😀 " + TEXT, labels=("grammar", "repetition"))
    with site.visitor() as page:
        open_item(page, task)
        press(page, *["ArrowRight"] * 3, "1")
        press(page, *["ArrowRight"] * 7, "Shift+ArrowRight", "2")
        shot(page, "spans")
        assert axe(page) == []
        assert page.locator(".marks li").count() == 2
        sent(page, "Enter")
        assert page.problems == []
    (item,) = kept(site)
    text = "😀 " + TEXT
    assert [(text[s.start : s.end], s.label) for s in item.spans] == [
        ("opens", "grammar"),
        ("the the", "repetition"),
    ]


def test_stretches_of_text_are_marked_by_the_mouse_and_taken_away(site):
    task = ask(site, "spans", TEXT, labels=("grammar",))
    with site.visitor() as page:
        open_item(page, task)
        for word in ("opens", "city"):
            page.locator("[data-word]", has_text=word).dblclick()
            page.click("[data-label='0']")
        page.click(".marks li:has-text('city') button")
        sent(page, "Enter")
    (item,) = kept(site)
    assert [TEXT[span.start : span.end].strip() for span in item.spans] == ["opens"]


def test_each_step_gets_a_verdict(site):
    task = ask(site, "steps", STEPS)
    with site.visitor() as page:
        open_item(page, task)
        press(page, "r", "w", "n")
        shot(page, "steps")
        assert axe(page) == []
        sent(page, "Enter")
        assert page.problems == []
    (item,) = kept(site)
    assert [(STEPS[s.start : s.end], s.verdict) for s in item.steps] == [
        ("Twice 3 is 6.", "right"),
        ("Half of it is 4.", "wrong"),
        ("So it is 4.", "neutral"),
    ]


def test_a_rewrite_shows_what_it_changes(site):
    task = ask(site, "rewrite", TEXT, items=2)
    with site.visitor() as page:
        open_item(page, task)
        press(page, "e", "Control+Home", "Control+ArrowRight", *["ArrowRight"] * 5, "Delete")
        page.wait_for_selector("#changes del")
        shot(page, "rewrite")
        assert axe(page) == []
        assert page.inner_text("#changes del") == "opens"
        assert page.inner_text("#changes ins") == "open"
        sent(page, "Control+Enter")
        sent(page, "f")
        assert page.problems == []
    (edit,), (label,) = kept(site, "i0"), kept(site, "i1")
    assert edit.text == TEXT.replace("opens", "open")
    assert (label.kind, label.good) == ("label", True)


def test_a_critique_and_a_rule_are_written(site):
    task = ask(site, "critique", TEXT, items=2)
    with site.visitor() as page:
        open_item(page, task)
        press(page, "e")
        page.keyboard.type("Too terse & 'odd'")
        sent(page, "Control+Enter")
        press(page, "r")
        page.keyboard.type("No slang")
        press(page, "Tab")
        page.keyboard.type("in letters")
        shot(page, "critique")
        assert axe(page) == []
        sent(page, "Control+Enter")
        assert page.problems == []
    (critique,), (rule,) = kept(site, "i0"), kept(site, "i1")
    assert (critique.kind, critique.text, critique.response) == (
        "critique",
        "Too terse & 'odd'",
        "0",
    )
    assert (rule.kind, rule.text, rule.scope.where) == ("instruction", "No slang", "in letters")


def test_undo_takes_the_last_answer_back_and_asks_again(site):
    task = ask(site, "compare", "A", "B", items=2)
    with site.visitor() as page:
        open_item(page, task)
        sent(page, "1")
        sent(page, "s")
        assert len(kept(site)) == 1
        sent(page, "u")
        sent(page, "u")
        assert "Question 0?" in page.inner_text(".conversation")
        assert kept(site) == []
        sent(page, "0")
        assert page.problems == []
    assert [item.verdict for item in kept(site)] == ["tie"]


def test_the_keys_can_be_turned_off(site):
    task = ask(site, "thumbs", "A")
    with site.visitor() as page:
        open_item(page, task)
        page.click("[data-keys]")
        press(page, "g")
        page.reload()
        press(page, "g")
        assert page.locator("[data-keys]").get_attribute("aria-pressed") == "false"
        page.click("[data-keys]")
        sent(page, "g")
    assert len(kept(site)) == 1


def test_two_people_are_blind_and_no_third_is_asked(site):
    task = ask(site, "compare", "A", "B", people=2)
    with site.visitor("frida") as page:
        open_item(page, task)
        sent(page, "1")
    with site.visitor("bo") as page:
        open_item(page, task)
        assert "frida" not in page.content()
        assert "secret-policy" not in page.content()
        sent(page, "2")
    with site.visitor("cy") as page:
        page.goto(f"/inbox/{task.id}")
        assert page.get_by_text("Everything has been judged.").is_visible()
    assert {item.annotator.id for item in kept(site)} == {"frida", "bo"}


def test_an_item_is_held_by_one_person_at_a_time(site):
    task = ask(site, "compare", "A", "B")
    with site.visitor("ada") as first, site.visitor("bo") as second:
        open_item(first, task)
        second.goto(f"/inbox/{task.id}")
        assert second.get_by_text("The rest is with others").is_visible()
        token = second.locator("[name=token]").first.get_attribute("value")
        answer = second.post(
            f"/inbox/{task.id}/answer",
            form={"token": token, "interaction": "i0", "verdict": "a"},
        )
        assert answer.status == 409
    assert kept(site) == []


def test_an_answer_sent_twice_is_one(site):
    task = ask(site, "thumbs", "A", items=2)
    with site.visitor() as page:
        open_item(page, task)
        token = page.locator("[name=token]").first.get_attribute("value")
        form = {"token": token, "interaction": "i0", "thumb": "good"}
        for _ in range(2):
            assert page.post(f"/inbox/{task.id}/answer", form=form).ok
    assert len(kept(site)) == 1


def test_a_task_is_made_used_closed_and_opened_again(site):
    site.store.add(interaction(0, "A"))
    with site.visitor() as page:
        page.goto("/inbox")
        assert axe(page) == []
        page.click("text=Make a task")
        page.fill("[name=name]", "How is the tone?")
        page.select_option("[name=kind]", "rate")
        page.fill("[name=aspects]", "tone, ")
        page.check("[name=unjudged]")
        shot(page, "new")
        assert axe(page) == []
        page.click("text=Make the task")
        page.wait_for_selector(".task")
        shot(page, "tasks")
        assert axe(page) == []
        page.click("a:has-text('Judge')")
        page.wait_for_selector("[data-item]")
        sent(page, "5", "Enter")
        page.goto("/inbox")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("button:has-text('Close')")
        page.wait_for_selector("text=Open again")
        page.click("text=Open again")
        page.wait_for_selector(".task")
        assert page.problems == []
    assert kept(site)[0].aspect == "tone"


def test_a_task_that_is_not_complete_says_what_is_missing(site):
    with site.visitor() as page:
        page.goto("/inbox/new/task")
        page.fill("[name=name]", "Errors")
        page.select_option("[name=kind]", "spans")
        page.click("text=Make the task")
        assert "labels" in page.get_by_role("alert").inner_text()
        assert page.input_value("[name=name]") == "Errors"


WAYS = {
    "compare": {},
    "rank": {},
    "rate": {"aspects": (HOSTILE, "b")},
    "spans": {"labels": (HOSTILE,)},
    "steps": {},
    "rewrite": {},
    "critique": {},
}


@pytest.mark.parametrize("kind", WAYS)
def test_hostile_texts_are_shown_and_do_nothing_on_a_phone(site, kind):
    made = Interaction.of(HOSTILE, f"{HOSTILE}\n{HOSTILE}", HOSTILE, user=HOSTILE)
    site.store.add(made.model_copy(update={"id": HOSTILE, "session": HOSTILE}))
    task = Task(name=HOSTILE, kind=kind, guideline=HOSTILE, **WAYS[kind])
    task = add_task(site.store, task, actor=HOSTILE)
    with site.visitor("<script>window.__xss=9</script>", viewport=PHONE) as page:
        if kind == "compare":
            page.goto("/inbox")
            assert too_wide(page) == []
        open_item(page, task)
        page.click("summary:has-text('Guideline')")
        assert HOSTILE.split()[0] in page.inner_text("main")
        if kind == "spans":
            press(page, "ArrowRight", "1")
        if kind == "rewrite":
            press(page, "e")
            page.keyboard.insert_text(HOSTILE)
            page.wait_for_selector("#changes ins")
        assert too_wide(page) == []
        shot(page, f"phone-{kind}")
        assert harmless(page)
        assert page.problems == []


def test_an_annotator_sees_the_inbox_and_nothing_else(keyed, chromium):
    secret = key_for(keyed, "ada", "annotator", "default")
    with running_gateway(keyed) as gateway:
        site = Site(gateway, chromium)
        task = ask(site, "thumbs", "A")
        with site.visitor(secret) as page:
            page.goto("/inbox")
            assert page.locator("nav[aria-label=Main] a").all_inner_texts() == ["Inbox"]
            assert page.locator("text=New task").count() == 0
            assert page.goto("/inbox/new/task").status == 403
            assert page.goto("/people").status == 403
            open_item(page, task)
            sent(page, "g")
    assert kept(site)[0].annotator.id == "ada"


SENSELESS = [
    ("compare", {"verdict": "c"}, "No verdict"),
    ("rank", {"place-0": "9" * 5000, "place-1": "1"}, "is not a place"),
    ("rank", {"place-0": "1"}, "Fewer than two"),
    ("thumbs", {}, "No thumb"),
    ("spans", {"span": "0:99:0"}, "outside the text"),
    ("spans", {"span": "2:1:0"}, "after start"),
    ("spans", {"span": "0:1:7"}, "does not have"),
    ("spans", {"span": "x"}, "is not a mark"),
    ("steps", {"step-0": "right"}, "Step 2"),
    ("rewrite", {"text": "One.\r\nTwo."}, "Nothing was changed"),
    ("critique", {"text": " "}, "Nothing was written"),
]


def test_an_answer_that_makes_no_sense_is_told_and_asked_again(settings):
    with running_gateway(settings) as gateway, named(gateway, "ada") as http:
        site = Site(gateway, None)
        site.store.add(interaction(0, "One.\nTwo.", "B"))
        for number, (kind, form, said) in enumerate(SENSELESS):
            labels = ("bad",) if kind == "spans" else ()
            made = Task(name=f"Task {number}", kind=kind, labels=labels)
            task = add_task(site.store, made, actor="tests")
            fields = {"token": token_of(http, task), "interaction": "i0", **form}
            answer = http.post(f"/inbox/{task.id}/answer", data=fields)
            assert (answer.status_code, said in answer.text) == (422, True), (kind, form)
            assert f'action="/inbox/{task.id}/answer' in answer.text
        assert kept(site) == []


def token_of(http, task):
    """Open an item and return the token of its form."""
    page = http.get(f"/inbox/{task.id}")
    return re.search(r'name="token" value="(\w+)"', page.text)[1]


def named(gateway, name):
    cookie = Site(gateway, None).cookie(name)
    return httpx2.Client(
        base_url=gateway.url, cookies={cookie["name"]: cookie["value"]}, verify=False
    )


def test_what_was_kept_as_the_gateway_died_is_not_asked_again(settings):
    with running_gateway(settings) as gateway, named(gateway, "ada") as http:
        site = Site(gateway, None)
        task = ask(site, "thumbs", "A", items=2)
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


def test_personal_data_in_an_answer_is_blackened(settings):
    settings = settings.model_copy(update={"redact": ("email",)})
    with running_gateway(settings) as gateway, named(gateway, "ada") as http:
        site = Site(gateway, None)
        task = ask(site, "critique", "A")
        form = {"token": token_of(http, task), "interaction": "i0", "text": "Ask ada@example.org"}
        assert http.post(f"/inbox/{task.id}/answer", data=form).status_code == 303
        assert "example.org" not in kept(site)[0].text


def test_what_is_sent_while_the_store_is_away_is_not_lost(site, tmp_path):
    task = ask(site, "critique", "A")
    store, away = Path(site.gateway.settings.store), tmp_path / "away.db"
    with site.visitor() as page:
        open_item(page, task)
        press(page, "e")
        page.keyboard.type("Too terse")
        store.rename(away)
        sent(page, "Control+Enter")
        assert page.get_by_text("The store is away").is_visible()
        assert page.input_value("textarea") == "Too terse"
        assert axe(page) == []
        away.rename(store)
        page.click("button:has-text('Send it again')")
        page.wait_for_selector("text=Nothing is left for you here")
    assert [item.text for item in kept(site)] == ["Too terse"]

"""The page Experiments: traffic, intervals, decisions, and what changes while one looks."""

from backtalk.experiments import DecisionRule, read_events, running_experiment
from backtalk.promotion import active_policy, promote
from tests.experiments.conftest import trial_of
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import axe, key_for, shot, too_wide
from tests.serve.pages.views import Person, fill

NEVER = DecisionRule(at_least=100_000)
"""Nothing is decided but by hand."""


def trial(store, **fields):
    return trial_of(store, **{"rule": NEVER, **fields})


def live(person, **query):
    headers = {"hx-request": "true"}
    return person.http.get("/experiments/trial/live", params=query or None, headers=headers)


def test_an_experiment_is_watched_while_it_runs_and_ended(site, monkeypatch):
    monkeypatch.setattr("backtalk.serve.pages.experiments.routes.LIVE_SECONDS", 0.2)
    with site.store as store:
        result = trial(store, candidates=2)
        first, second = result.candidates
        result.traffic({result.control: 0.5, first: 0.9, second: 0.2}, 60)
        with site.visitor("ada") as page:
            page.goto("/experiments")
            page.click("a:has-text('trial')")
            page.locator("text=60 requests answered, 60 judged").wait_for()
            assert page.locator(".arm").count() == 3
            assert page.locator(".arm .plot").count() == 7
            assert axe(page) == []
            result.traffic({result.control: 0.5, first: 0.9, second: 0.2}, 5)
            page.locator("text=65 requests answered, 65 judged").wait_for()
            assert page.locator("#says").inner_text() == ""
            page.focus("#live a")
            result.traffic({result.control: 0.5, first: 0.9, second: 0.2}, 5)
            page.wait_for_timeout(600)
            assert page.locator("text=65 requests answered").count() == 1
            page.evaluate("document.activeElement.blur()")
            page.locator("text=70 requests answered, 70 judged").wait_for()
            page.click(f"section[aria-label='{second[:8]}'] summary:text('Stop')")
            page.click(f"button:text('Stop {second[:8]}')")
            page.locator("p.bad:text('stopped by hand')").wait_for()
            assert too_wide(page) == []
            shot(page, "experiment")
            page.click("summary:text('End the experiment')")
            page.click("button:text('End it')")
            page.locator("text=It has ended").wait_for()
            assert page.locator("[hx-get]").count() == 0
            assert page.locator("main form").count() == 0
            assert page.problems == []
        assert [event.what.kind for event in read_events(store)] == ["started", "stopped", "ended"]
        assert {event.actor for event in read_events(store)} == {"ada"}


def test_nothing_is_sent_while_nothing_changes(gateway):
    with gateway.store as store:
        result = trial(store)
        ada = Person(gateway)
        page = ada.get("/experiments/trial").text
        seen = page.partition("seen=")[2].partition("&amp;")[0]
        assert live(ada, seen=seen).status_code == 204
        result.traffic(dict.fromkeys(result.experiment.arms, 0.5), 1)
        changed = live(ada, seen=seen)
        assert changed.status_code == 200
        assert "1 request answered" in changed.text


def test_only_decisions_are_said_aloud(gateway):
    with gateway.store as store:
        result = trial(store, candidates=2)
        ada = Person(gateway)
        page = ada.get("/experiments/trial").text
        assert "hx-swap-oob" not in live(ada, said="").text
        said = "It runs. something that was so before"
        assert "hx-swap-oob" in live(ada, said=said).text
        ada.post("/experiments/trial/stop", arm=result.candidates[0])
        assert "gets no traffic any more" in live(ada, said=said).text.partition("#says")[2]
        assert "hx-trigger" in page


def test_a_page_of_an_experiment_that_ended_is_loaded_again(gateway):
    with gateway.store as store:
        trial(store)
        ada = Person(gateway)
        ada.get("/experiments/trial")
        ada.post("/experiments/trial/stop")
        answer = live(ada, status="running")
        assert answer.status_code == 204
        assert answer.headers["hx-refresh"] == "true"
        assert live(ada, status="ended").status_code == 200


def test_a_candidate_is_promoted_through_the_gate(gateway):
    with gateway.store as store:
        result = trial(store)
        (arm,) = result.candidates
        result.traffic({result.control: 0.5, arm: 0.5}, 20)
        ada = Person(gateway)
        assert "The gate refuses it" in ada.get("/experiments/trial").text
        assert ada.post("/experiments/trial/promote", arm=arm).status_code == 422
        assert ada.post("/experiments/trial/promote", arm="0123").status_code == 404
        assert active_policy(store).id == result.control
        result.traffic({result.control: 0.05, arm: 0.95}, 200)
        assert "It passes the gate" in ada.get("/experiments/trial").text
        assert ada.post("/experiments/trial/promote", arm=arm).status_code == 303
        assert active_policy(store).id == arm
        assert read_events(store)[-1].actor == "ada"
        assert "was promoted" in ada.get("/experiments/trial").text


def test_one_is_started_from_the_page(site):
    with site.store as store:
        plain, brief, _ = fill(store)
        promote(store, plain, actor="bo")
        with site.visitor("ada") as page:
            page.goto("/experiments")
            page.click("summary:text('Start an experiment')")
            assert axe(page) == []
            assert too_wide(page) == []
            page.fill("#field-name", "shorter")
            page.check(f"input[value='{brief.id}']")
            page.select_option("#field-allocation", "thompson")
            page.click("button:text('Start it')")
            page.wait_for_url("**/experiments/shorter*")
            assert page.locator(".arm").count() == 2
        result = running_experiment(store)
        assert (result.name, result.candidates, result.allocation) == (
            "shorter",
            (brief.id,),
            "thompson",
        )
        assert result.rule.promote


REFUSED = [
    ({"name": "two words"}, "name"),
    ({"candidate": []}, "candidates"),
    ({"allocation": "dueling"}, "dueling"),
    ({"at_least": "many"}, "at_least"),
]


def test_one_that_cannot_be_started_says_why(gateway):
    with gateway.store as store:
        plain, brief, _ = fill(store)
        promote(store, plain, actor="bo")
        fields = {
            "name": "x",
            "candidate": brief.id,
            "allocation": "fixed",
            "unit": "request",
            "outcome": "thumb",
            "at_least": "50",
            "margin": "0",
        }
        ada = Person(gateway)
        ada.get("/experiments")
        for changes, wrong in REFUSED:
            answer = ada.post("/experiments", **{**fields, **changes})
            assert answer.status_code == 422
            assert wrong in answer.text
        assert running_experiment(store) is None


def test_a_reviewer_watches_and_decides_nothing(keyed):
    key = key_for(keyed, "rev", "reviewer")
    with running_gateway(keyed) as gateway, gateway.store as store:
        result = trial(store, candidates=2)
        reviewer = Person(gateway, key)
        assert "<form" not in reviewer.get("/experiments/trial").text.partition("<main")[2]
        assert live(reviewer).status_code == 200
        for path in ("stop", "promote"):
            answer = reviewer.post(f"/experiments/trial/{path}", arm=result.candidates[0])
            assert answer.status_code == 403
        assert [event.what.kind for event in read_events(store)] == ["started"]


def test_there_is_no_page_of_an_experiment_that_is_not(gateway):
    ada = Person(gateway)
    assert ada.get("/experiments/nowhere").status_code == 404
    assert ada.post("/experiments/nowhere/stop").status_code == 404

"""The page Experiments: traffic, intervals, decisions and live updates."""

from backtalk.experiments import DecisionRule, read_events, running_experiment
from backtalk.promotion import active_policy, promote
from tests.experiments.conftest import make_trial
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import (
    axe_violations,
    key_for,
    overflowing_elements,
    save_screenshot,
)
from tests.serve.pages.project import PageClient, fill

NEVER = DecisionRule(min_judgements=100_000)
"""Rule under which no decision is made automatically."""


def start_trial(store, **fields):
    return make_trial(store, **{"rule": NEVER, **fields})


def live(client, **query):
    headers = {"hx-request": "true"}
    return client.http.get("/experiments/trial/live", params=query or None, headers=headers)


def test_an_experiment_is_updated_live_and_ended(site, monkeypatch):
    monkeypatch.setattr("backtalk.serve.pages.experiments.routes.LIVE_SECONDS", 0.2)
    with site.store as store:
        trial = start_trial(store, candidates=2)
        first, second = trial.candidates
        trial.traffic({trial.control: 0.5, first: 0.9, second: 0.2}, 60)
        with site.open_page("ada") as page:
            page.goto("/experiments")
            page.click("a:has-text('trial')")
            page.locator("text=60 requests answered, 60 judged").wait_for()
            assert page.locator(".arm").count() == 3
            assert page.locator(".arm .plot").count() == 7
            assert axe_violations(page) == []
            trial.traffic({trial.control: 0.5, first: 0.9, second: 0.2}, 5)
            page.locator("text=65 requests answered, 65 judged").wait_for()
            assert page.locator("#announcement").inner_text() == ""
            page.focus("#live a")
            trial.traffic({trial.control: 0.5, first: 0.9, second: 0.2}, 5)
            page.wait_for_timeout(600)
            assert page.locator("text=65 requests answered").count() == 1
            page.evaluate("document.activeElement.blur()")
            page.locator("text=70 requests answered, 70 judged").wait_for()
            page.click(f"section[aria-label='{second[:8]}'] summary:text('Stop')")
            page.click(f"button:text('Stop {second[:8]}')")
            page.locator("p.bad:text('No longer gets traffic')").wait_for()
            assert overflowing_elements(page) == []
            save_screenshot(page, "experiment")
            page.click("summary:text('End the experiment')")
            page.click("button:text('End the experiment')")
            page.locator("text=Ended.").wait_for()
            assert page.locator("[hx-get]").count() == 0
            assert page.locator("main form").count() == 0
            assert page.problems == []
        assert [event.what.kind for event in read_events(store)] == ["started", "stopped", "ended"]
        assert {event.actor for event in read_events(store)} == {"ada"}


def test_nothing_is_returned_while_nothing_changes(gateway):
    with gateway.store as store:
        trial = start_trial(store)
        ada = PageClient(gateway)
        page = ada.get("/experiments/trial").text
        seen = page.partition("seen=")[2].partition("&amp;")[0]
        assert live(ada, seen=seen).status_code == 204
        trial.traffic(dict.fromkeys(trial.experiment.arms, 0.5), 1)
        changed = live(ada, seen=seen)
        assert changed.status_code == 200
        assert "1 request answered" in changed.text


def test_only_decisions_are_announced(gateway):
    with gateway.store as store:
        trial = start_trial(store, candidates=2)
        ada = PageClient(gateway)
        page = ada.get("/experiments/trial").text
        assert "hx-swap-oob" not in live(ada, announced="").text
        announced = "Running. An earlier announcement"
        assert "hx-swap-oob" in live(ada, announced=announced).text
        ada.post("/experiments/trial/stop", arm=trial.candidates[0])
        fragment = live(ada, announced=announced).text
        assert "no longer gets traffic" in fragment.partition("#announcement")[2]
        assert "hx-trigger" in page


def test_the_page_is_reloaded_when_its_experiment_ends(gateway):
    with gateway.store as store:
        start_trial(store)
        ada = PageClient(gateway)
        ada.get("/experiments/trial")
        ada.post("/experiments/trial/stop")
        response = live(ada, status="running")
        assert response.status_code == 204
        assert response.headers["hx-refresh"] == "true"
        assert live(ada, status="ended").status_code == 200


def test_a_candidate_is_promoted_through_the_gate(gateway):
    with gateway.store as store:
        trial = start_trial(store)
        (arm,) = trial.candidates
        trial.traffic({trial.control: 0.5, arm: 0.5}, 20)
        ada = PageClient(gateway)
        assert "The gate refuses it" in ada.get("/experiments/trial").text
        assert ada.post("/experiments/trial/promote", arm=arm).status_code == 422
        assert ada.post("/experiments/trial/promote", arm="0123").status_code == 404
        assert active_policy(store).id == trial.control
        trial.traffic({trial.control: 0.05, arm: 0.95}, 200)
        assert "It passes the gate" in ada.get("/experiments/trial").text
        assert ada.post("/experiments/trial/promote", arm=arm).status_code == 303
        assert active_policy(store).id == arm
        assert read_events(store)[-1].actor == "ada"
        assert "was promoted" in ada.get("/experiments/trial").text


def test_an_experiment_is_started_from_the_page(site):
    with site.store as store:
        plain, brief, _ = fill(store)
        promote(store, plain, actor="bo")
        with site.open_page("ada") as page:
            page.goto("/experiments")
            page.click("summary:text('Start an experiment')")
            assert axe_violations(page) == []
            assert overflowing_elements(page) == []
            page.fill("#field-name", "shorter")
            page.check(f"input[value='{brief.id}']")
            page.select_option("#field-allocation", "thompson")
            page.click("button:text-is('Start')")
            page.wait_for_url("**/experiments/shorter*")
            assert page.locator(".arm").count() == 2
        experiment = running_experiment(store)
        assert (experiment.name, experiment.candidates, experiment.allocation) == (
            "shorter",
            (brief.id,),
            "thompson",
        )
        assert experiment.rule.promote


INVALID = [
    ({"name": "two words"}, "name"),
    ({"candidate": []}, "candidates"),
    ({"allocation": "dueling"}, "dueling"),
    ({"min_judgements": "many"}, "min_judgements"),
]


def test_an_invalid_experiment_is_rejected_with_the_reason(gateway):
    with gateway.store as store:
        plain, brief, _ = fill(store)
        promote(store, plain, actor="bo")
        fields = {
            "name": "x",
            "candidate": brief.id,
            "allocation": "fixed",
            "unit": "request",
            "outcome": "thumb",
            "min_judgements": "50",
            "margin": "0",
        }
        ada = PageClient(gateway)
        ada.get("/experiments")
        for changes, reason in INVALID:
            response = ada.post("/experiments", **{**fields, **changes})
            assert response.status_code == 422
            assert reason in response.text
        assert running_experiment(store) is None


def test_a_reviewer_can_view_but_not_decide(keyed_settings):
    key = key_for(keyed_settings, "rev", "reviewer")
    with running_gateway(keyed_settings) as gateway, gateway.store as store:
        trial = start_trial(store, candidates=2)
        reviewer = PageClient(gateway, key)
        assert "<form" not in reviewer.get("/experiments/trial").text.partition("<main")[2]
        assert live(reviewer).status_code == 200
        for path in ("stop", "promote"):
            response = reviewer.post(f"/experiments/trial/{path}", arm=trial.candidates[0])
            assert response.status_code == 403
        assert [event.what.kind for event in read_events(store)] == ["started"]


def test_the_page_of_an_unknown_experiment_is_not_found(gateway):
    ada = PageClient(gateway)
    assert ada.get("/experiments/nowhere").status_code == 404
    assert ada.post("/experiments/nowhere/stop").status_code == 404

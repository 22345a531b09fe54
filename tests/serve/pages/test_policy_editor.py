"""The editor of policies: a new policy from another one, its changes, and an experiment with it."""

import pytest

from backtalk.experiments import running_experiment
from backtalk.models import Sampling
from backtalk.policy import list_policies, read_policy, save_policy
from backtalk.promotion import promote
from backtalk.serve import Settings
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import (
    DESKTOP,
    HOSTILE,
    PHONE,
    axe_violations,
    key_for,
    overflowing_elements,
    save_screenshot,
)
from tests.serve.pages.project import PageClient, fill, plain_policy


@pytest.fixture
def plain(gateway):
    policy = plain_policy()
    with gateway.store as store:
        save_policy(store, policy)
        promote(store, policy, actor="bo")
    return policy


def test_a_prompt_is_written_its_changes_are_shown_and_an_experiment_starts(site):
    with site.store as store:
        plain, _, _ = fill(store)
        promote(store, plain, actor="bo")
    for viewport in (PHONE, DESKTOP):
        with site.open_page("ada", viewport=viewport) as page:
            page.goto(f"/policies/{plain.id}")
            page.click("a:text('New policy from this one')")
            assert "No changes yet." in page.locator("#changes").inner_text()
            page.fill("textarea[name=system]", "Answer in one sentence.")
            page.fill("input[name=temperature]", "0.4")
            page.locator("#changes li:text('Temperature 0.4 instead of')").wait_for()
            assert page.locator("#changes ins").inner_text().startswith("Answer in one sentence")
            page.fill("input[name=temperature]", "hot")
            page.locator("#changes .error").wait_for()
            page.fill("input[name=temperature]", "0.4")
            page.locator("#changes ins").wait_for()
            page.fill("input[name=name]", "one-sentence")
            page.click("summary:text('Experiment against')")
            page.check("input[name=experiment]")
            page.fill("input[name=share]", "20")
            save_screenshot(page, f"policy-editor-{viewport['width']}")
            assert axe_violations(page) == []
            assert overflowing_elements(page) == []
            if viewport is DESKTOP:
                page.click("button:text('Save')")
                page.wait_for_url("**/experiments/one-sentence*")
            assert page.problems == []
    with site.store as store:
        written = read_policy(store, "one-sentence")
        assert written.system == "Answer in one sentence."
        assert written.decoder.base_sampling == Sampling(temperature=0.4)
        assert (written.lineage.method, written.lineage.parent) == ("written", plain.id)
        experiment = running_experiment(store)
        assert experiment.arms == (plain.id, written.id)
        assert experiment.shares == pytest.approx((0.8, 0.2))
        actions = [entry.action for entry in store.audit_log.entries()]
        assert actions == ["policy written", "experiment started"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "", "system": "x"}, "needs a name"),
        ({"name": "two words", "system": "x"}, "two words"),
        ({"name": "hot", "temperature": "hot"}, "temperature"),
        ({"name": "hot", "temperature": "-1"}, "greater than or equal to 0"),
        ({"name": "long", "max_tokens": "1.5"}, "max_tokens"),
        ({"name": "other", "same": "yes"}, "has the same recipe"),
        ({"name": "plain", "system": "x"}, "There is a policy plain"),
        ({"name": "a", "system": "x", "experiment": "yes", "share": "100"}, "The share is no"),
        (
            {"name": "a", "system": "x", "experiment": "yes", "share": "5", "outcome": "luck"},
            "outcome",
        ),
    ],
)
def test_what_is_not_valid_is_said_and_nothing_is_saved(gateway, plain, fields, message):
    ada = PageClient(gateway)
    ada.get(f"/policies/{plain.id}/edit")
    if "same" in fields:
        fields = {"system": plain.system or "", "name": fields["name"]}
    answer = ada.post(f"/policies/{plain.id}/edit", **fields)
    assert answer.status_code == 422
    assert message in answer.text
    assert f'value="{fields["name"]}"' in answer.text
    with gateway.store as store:
        assert len(list_policies(store)) == 1
        assert running_experiment(store) is None


def test_a_second_experiment_is_refused_before_anything_is_saved(gateway, plain):
    ada = PageClient(gateway)
    ada.get(f"/policies/{plain.id}/edit")
    fields = {"experiment": "yes", "share": "50"}
    first = ada.post(f"/policies/{plain.id}/edit", name="a", system="a", **fields)
    assert first.status_code == 303
    second = ada.post(f"/policies/{plain.id}/edit", name="b", system="b", **fields)
    assert second.status_code == 422
    assert "The experiment a is running" in second.text
    with gateway.store as store:
        assert len(list_policies(store)) == 2


def test_hostile_texts_are_shown_as_texts(gateway, plain):
    ada = PageClient(gateway)
    ada.get(f"/policies/{plain.id}/edit")
    for path in ("changes", "edit"):
        answer = ada.post(f"/policies/{plain.id}/{path}", system=HOSTILE, name=HOSTILE)
        assert "<script>" not in answer.text.replace("<script src=", "")
        assert "<svg onload" not in answer.text
    saved = ada.post(f"/policies/{plain.id}/edit", system=HOSTILE, name="hostile")
    assert saved.status_code == 303
    with gateway.store as store:
        assert read_policy(store, "hostile").system == HOSTILE


def test_only_administrators_with_the_token_write_policies(tmp_path):
    settings = Settings(store=str(tmp_path / "s.db"), keys="always")
    viewer = key_for(settings, "vi", "reviewer")
    admin = key_for(settings, "ada", "admin")
    plain = plain_policy()
    with running_gateway(settings) as gateway:
        with gateway.store as store:
            save_policy(store, plain)
        vi, ada = PageClient(gateway, viewer), PageClient(gateway, admin)
        assert vi.get(f"/policies/{plain.id}/edit").status_code == 403
        assert "New policy from this one" not in vi.get(f"/policies/{plain.id}").text
        assert vi.post(f"/policies/{plain.id}/edit", name="a", system="a").status_code == 403
        ada.get(f"/policies/{plain.id}/edit")
        assert ada.http.post(f"/policies/{plain.id}/edit", data={"name": "a"}).status_code == 403
        assert ada.post(f"/policies/{plain.id}/edit", name="a", system="a").status_code == 303

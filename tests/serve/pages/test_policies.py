"""The page Policies: lineage, the verdict of the gate, promotion and rollback."""

from hypothesis import given
from hypothesis import strategies as st

from backtalk.evaluate.storage import save_evaluation
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Lineage, Policy, save_policy
from backtalk.promotion import active_policy, promote, promotion_history
from backtalk.serve.pages.policies.lineage_tree import MAX_DEPTH, lineage_tree
from tests.serve.pages.conftest import axe_violations, overflowing_elements, save_screenshot
from tests.serve.pages.project import PageClient, better_policy, evaluation, fill, plain_policy


def policy(number, parent=None):
    lineage = Lineage(method="learned", parent=parent)
    return Policy(model=EndpointSpec(model=f"m{number}"), lineage=lineage)


def positions(nodes, level=1, parent=None):
    for node in nodes:
        yield node.policy.id, level, parent
        yield from positions(node.children, level + 1, node.policy.id)


@given(st.lists(st.integers(0, 12), max_size=12))
def test_every_policy_is_in_the_tree_once_for_any_parents(parents):
    ids = [policy(number).id for number in range(len(parents))]
    policies = [
        policy(number, ids[parent] if parent < len(ids) else "gone")
        for number, parent in enumerate(parents)
    ]
    listed = [id_ for id_, _, _ in positions(lineage_tree(policies))]
    assert sorted(listed) == sorted(ids)


def test_policies_are_below_their_parents_up_to_the_maximum_depth():
    chain = [policy(0)]
    for number in range(1, 300):
        chain.append(policy(number, chain[-1].id))
    listed = list(positions(lineage_tree(chain)))
    assert [id_ for id_, _, _ in listed] == [item.id for item in chain]
    assert max(level for _, level, _ in listed) == MAX_DEPTH
    parents = {id_: parent for id_, _, parent in listed}
    assert parents[chain[3].id] == chain[2].id


def test_promote_and_roll_back(site):
    with site.store as store:
        plain, brief, worse = fill(store)
        promote(store, plain, actor="bo")
    with site.open_page("ada") as page:
        page.goto("/policies")
        assert page.locator(".tree .tree .tree .name").all_inner_texts() == ["briefer"]
        assert page.locator(".tree p", has=page.locator(".tag")).inner_text().startswith("plain")
        assert axe_violations(page) == []
        save_screenshot(page, "policies")
        page.click(".tree a:text-is('rambling')")
        assert "not shown to be above 0.5" in page.locator("main").inner_text()
        assert page.locator("summary:text('Promote')").count() == 0
        page.goto(f"/policies/{brief.id}")
        assert 'The system prompt gains "Be brief."' in page.locator("main").inner_text()
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        save_screenshot(page, "policy")
        page.click("summary:text('Promote')")
        page.click("button:text('Promote brief')")
        page.locator("h1 + .tag.good").wait_for()
        page.goto("/policies")
        page.click("summary:text('Roll back')")
        page.click("button:text('Roll back to plain')")
        page.locator("td:text('rolled back')").wait_for()
        assert overflowing_elements(page) == []
        assert page.problems == []
    with site.store as store:
        assert active_policy(store) == plain
        assert [entry.actor for entry in promotion_history(store)] == ["bo", "ada", "ada"]
        log = store.audit_log.entries()
        assert [entry.action for entry in log] == ["policy promoted", "policy rolled back"]
        assert worse.id not in str(log)


def test_the_first_policy_needs_no_evidence(gateway):
    plain = plain_policy()
    with gateway.store as store:
        save_policy(store, plain)
    ada = PageClient(gateway)
    assert "no evidence is needed" in ada.get(f"/policies/{plain.id}").text
    assert ada.post(f"/policies/{plain.id}/promote").status_code == 303
    with gateway.store as store:
        assert active_policy(store) == plain


def test_a_manual_promotion_must_pass_the_gate(gateway):
    with gateway.store as store:
        plain, brief, worse = fill(store)
        promote(store, plain, actor="bo")
        bad = save_evaluation(store, evaluation(worse, plain, rate=0.4))
    ada = PageClient(gateway)
    ada.get(f"/policies/{worse.id}")
    for fields in ({}, {"evaluation": bad}, {"evaluation": "0123"}):
        assert ada.post(f"/policies/{worse.id}/promote", **fields).status_code in {404, 422}
    assert ada.post(f"/policies/{brief.id}/promote", evaluation=bad).status_code == 422
    with gateway.store as store:
        assert active_policy(store) == plain


def test_the_evidence_is_the_evaluation_against_the_active_policy(gateway):
    with gateway.store as store:
        plain, brief, worse = fill(store)
        promote(store, plain, actor="bo")
        save_evaluation(store, evaluation(brief, worse, rate=0.99))
    text = PageClient(gateway).get(f"/policies/{brief.id}").text
    assert f"It was compared with {worse.id[:8]}, but {plain.id[:8]} is served" in text
    assert "Promote brief" in text


def test_a_rollback_submitted_twice_happens_once(gateway):
    with gateway.store as store:
        plain, brief, _ = fill(store)
        promote(store, plain, actor="bo")
        promote(store, brief, evaluation(brief, plain), actor="bo")
    ada = PageClient(gateway)
    ada.get("/policies")
    answers = [ada.post("/policies/rollback", entries="2").status_code for _ in range(2)]
    assert answers == [303, 409]
    with gateway.store as store:
        assert active_policy(store) == plain


def test_a_missing_parent_is_named(gateway):
    orphan = better_policy(plain_policy())
    with gateway.store as store:
        save_policy(store, orphan)
    ada = PageClient(gateway)
    text = ada.get(f"/policies/{orphan.id}").text
    assert "which is not in this project" in text
    assert ada.get("/policies/0123").status_code == 404

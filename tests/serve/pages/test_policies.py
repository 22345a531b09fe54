"""The page Policies: where each came from, what the gate says, promoting and rolling back."""

from hypothesis import given
from hypothesis import strategies as st

from backtalk.evaluate.storage import save_evaluation
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Lineage, Policy, save_policy
from backtalk.promotion import active_policy, promote, promotion_history
from backtalk.serve.pages.policies.lineage_tree import MAX_DEPTH, lineage_tree
from tests.serve.pages.conftest import axe, shot, too_wide
from tests.serve.pages.views import Person, better_policy, evaluation, fill, plain_policy


def policy(number, parent=None):
    lineage = Lineage(method="learned", parent=parent)
    return Policy(model=EndpointSpec(model=f"m{number}"), lineage=lineage)


def placed(nodes, level=1, above=None):
    for node in nodes:
        yield node.policy.id, level, above
        yield from placed(node.children, level + 1, node.policy.id)


@given(st.lists(st.integers(0, 12), max_size=12))
def test_every_policy_stands_in_the_tree_once_whatever_they_say_of_their_parents(parents):
    ids = [policy(number).id for number in range(len(parents))]
    policies = [
        policy(number, ids[parent] if parent < len(ids) else "gone")
        for number, parent in enumerate(parents)
    ]
    results = [id_ for id_, _, _ in placed(lineage_tree(policies))]
    assert sorted(results) == sorted(ids)


def test_each_stands_under_its_parent_until_it_is_too_deep():
    chain = [policy(0)]
    for number in range(1, 300):
        chain.append(policy(number, chain[-1].id))
    results = list(placed(lineage_tree(chain)))
    assert [id_ for id_, _, _ in results] == [one.id for one in chain]
    assert max(level for _, level, _ in results) == MAX_DEPTH
    above = {id_: parent for id_, _, parent in results}
    assert above[chain[3].id] == chain[2].id


def test_promote_and_roll_back(site):
    with site.store as store:
        plain, brief, worse = fill(store)
        promote(store, plain, actor="bo")
    with site.visitor("ada") as page:
        page.goto("/policies")
        assert page.locator(".tree .tree .tree .name").all_inner_texts() == ["briefer"]
        assert page.locator(".tree p", has=page.locator(".tag")).inner_text().startswith("plain")
        assert axe(page) == []
        shot(page, "policies")
        page.click(".tree a:text-is('rambling')")
        assert "not shown to be above 0.5" in page.locator("main").inner_text()
        assert page.locator("summary:text('Promote')").count() == 0
        page.goto(f"/policies/{brief.id}")
        assert 'The system prompt gains "Be brief."' in page.locator("main").inner_text()
        assert axe(page) == []
        assert too_wide(page) == []
        shot(page, "policy")
        page.click("summary:text('Promote')")
        page.click("button:text('Serve brief from now on')")
        page.locator("h1 + .tag.good").wait_for()
        page.goto("/policies")
        page.click("summary:text('Roll back')")
        page.click("button:text('Roll back to plain')")
        page.locator("td:text('rolled back')").wait_for()
        assert too_wide(page) == []
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
    ada = Person(gateway)
    assert "needs no evidence" in ada.get(f"/policies/{plain.id}").text
    assert ada.post(f"/policies/{plain.id}/promote").status_code == 303
    with gateway.store as store:
        assert active_policy(store) == plain


def test_a_promotion_by_hand_goes_through_the_gate_too(gateway):
    with gateway.store as store:
        plain, brief, worse = fill(store)
        promote(store, plain, actor="bo")
        bad = save_evaluation(store, evaluation(worse, plain, rate=0.4))
    ada = Person(gateway)
    ada.get(f"/policies/{worse.id}")
    for fields in ({}, {"evaluation": bad}, {"evaluation": "0123"}):
        assert ada.post(f"/policies/{worse.id}/promote", **fields).status_code in {404, 422}
    assert ada.post(f"/policies/{brief.id}/promote", evaluation=bad).status_code == 422
    with gateway.store as store:
        assert active_policy(store) == plain


def test_the_evidence_is_the_evaluation_against_what_is_served(gateway):
    with gateway.store as store:
        plain, brief, worse = fill(store)
        promote(store, plain, actor="bo")
        save_evaluation(store, evaluation(brief, worse, rate=0.99))
    text = Person(gateway).get(f"/policies/{brief.id}").text
    assert f"It was compared with {worse.id[:8]}, but {plain.id[:8]} is served" in text
    assert "Serve brief from now on" in text


def test_a_button_pressed_twice_rolls_back_once(gateway):
    with gateway.store as store:
        plain, brief, _ = fill(store)
        promote(store, plain, actor="bo")
        promote(store, brief, evaluation(brief, plain), actor="bo")
    ada = Person(gateway)
    ada.get("/policies")
    answers = [ada.post("/policies/rollback", entries="2").status_code for _ in range(2)]
    assert answers == [303, 409]
    with gateway.store as store:
        assert active_policy(store) == plain


def test_a_parent_that_is_gone_is_named(gateway):
    orphan = better_policy(plain_policy())
    with gateway.store as store:
        save_policy(store, orphan)
    ada = Person(gateway)
    text = ada.get(f"/policies/{orphan.id}").text
    assert "which is not in this project" in text
    assert ada.get("/policies/0123").status_code == 404

"""The page Settings, and who may see and change what on the pages that show."""

from backtalk.promotion import promote
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import axe, key_for, shot, too_wide
from tests.serve.pages.views import Person, fill

VIEWS = ["/interactions", "/interactions/talk-1", "/policies", "/reports", "/experiments"]
CHANGES = [
    ("/interactions/talk-1/delete", {}),
    ("/interactions/talk-1/restore", {}),
    ("/policies/rollback", {"entries": "1"}),
    ("/policies/brief/promote", {}),
    ("/experiments", {"name": "x"}),
    ("/experiments/x/stop", {}),
    ("/experiments/x/promote", {}),
    ("/settings/keys", {"name": "x", "role": "admin"}),
    ("/settings/keys/x/rotate", {}),
    ("/settings/keys/x/revoke", {}),
    ("/settings/projects", {"name": "x"}),
]


def secret_in(answer):
    return answer.text.partition('class="secret" tabindex="0">')[2].partition("<")[0]


def keys_of(settings):
    with Store(settings.store) as store:
        return {key.name: key for key in list(store.api_keys.keys())}


def test_a_reviewer_sees_everything_and_changes_nothing(keyed):
    reviewer, annotator = (key_for(keyed, role, role) for role in ("reviewer", "annotator"))
    with running_gateway(keyed) as gateway:
        with gateway.store as store:
            plain, brief, _ = fill(store)
            promote(store, plain, actor="bo")
        rev, ann = Person(gateway, reviewer), Person(gateway, annotator)
        for path in [*VIEWS, f"/policies/{brief.id}"]:
            seen = rev.get(path)
            assert seen.status_code == 200, path
            main = seen.text.partition("<main")[2]
            assert 'method="post"' not in main, path
            assert ann.get(path).status_code == 403, path
        assert rev.get("/settings").status_code == 403
        for person in (rev, ann):
            person.get("/inbox")
            for path, fields in CHANGES:
                assert person.post(path, **fields).status_code == 403, path
        with gateway.store as store:
            assert store.interaction("talk-1")
            assert store.projects() == ["default"]
            assert store.events.last("promotion") == 1
        assert list(keys_of(keyed)) == ["reviewer", "annotator"]


def test_nobody_sees_anything_unsigned(keyed):
    key_for(keyed, "ada", "admin")
    with running_gateway(keyed) as gateway:
        for path in [*VIEWS, "/settings", "/reports/x", "/policies/x"]:
            answer = gateway.http.get(path)
            assert answer.status_code == 303, path
            assert "/login" in answer.headers["location"]
        for path, fields in CHANGES:
            assert gateway.http.post(path, data=fields).status_code in {401, 403}, path


def test_no_change_is_made_without_the_token(gateway):
    with gateway.store as store:
        fill(store)
    ada = Person(gateway)
    ada.token = "another"
    for path, fields in CHANGES:
        assert ada.post(path, **fields).status_code == 403, path


def test_add_rotate_and_revoke_a_key(keyed):
    admin = key_for(keyed, "ada", "admin")
    with running_gateway(keyed) as gateway:
        ada = Person(gateway, admin)
        ada.get("/settings")
        made = ada.post("/settings/keys", name="shop", role="application", project="default")
        first = secret_in(made)
        assert first not in ada.get("/settings").text
        shop = keys_of(keyed)["shop"]
        assert (shop.role, shop.project) == ("application", "default")
        bearer = {"authorization": f"Bearer {first}"}
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 200
        turned = ada.post(f"/settings/keys/{shop.id}/rotate", hours="0")
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 401
        bearer = {"authorization": f"Bearer {secret_in(turned)}"}
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 200
        assert ada.post(f"/settings/keys/{shop.id}/revoke").status_code == 303
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 401
        with Store(keyed.store) as store:
            log = [(entry.actor, entry.action) for entry in store.audit_log.entries()]
    assert log[1:] == [("ada", "key added"), ("ada", "key rotated"), ("ada", "key revoked")]


REFUSED = [
    ({"name": "", "role": "admin"}, "1 to 100 characters"),
    ({"name": "ada", "role": "admin"}, "There is a key"),
    ({"name": "x", "role": "king"}, "king"),
    ({"name": "x", "role": "admin", "project": "nowhere"}, "nowhere"),
]


def test_a_key_that_cannot_be_made_says_why(keyed):
    admin = key_for(keyed, "ada", "admin")
    with running_gateway(keyed) as gateway:
        ada = Person(gateway, admin)
        ada.get("/settings")
        for fields, wrong in REFUSED:
            answer = ada.post("/settings/keys", **fields)
            assert answer.status_code in {404, 409, 422}
            assert wrong in answer.text
    assert list(keys_of(keyed)) == ["ada"]


def test_an_admin_of_one_project_looks_after_that_one_only(keyed):
    own = key_for(keyed, "bo", "admin", project="mail")
    other = key_for(keyed, "cy", "application", project="shop")
    key_for(keyed, "ada", "admin")
    with running_gateway(keyed) as gateway:
        bo = Person(gateway, own)
        text = bo.get("/settings").text
        assert "bo" in text
        assert "cy" not in text
        kept = keys_of(keyed)
        for path in ("rotate", "revoke"):
            assert bo.post(f"/settings/keys/{kept['cy'].id}/{path}").status_code == 404
            assert bo.post(f"/settings/keys/{kept['ada'].id}/{path}").status_code == 404
        assert bo.post("/settings/projects", name="x").status_code == 403
        bo.post("/settings/keys", name="all", role="admin", project="")
        bo.post("/settings/keys", name="shop", role="admin", project="shop")
        kept = keys_of(keyed)
        assert kept["all"].project == "mail"
        assert kept["shop"].project == "mail"
        bearer = {"authorization": f"Bearer {other}"}
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 200


def test_nobody_ends_the_key_they_are_signed_in_with(keyed):
    admin = key_for(keyed, "ada", "admin")
    with running_gateway(keyed) as gateway:
        ada = Person(gateway, admin)
        ada.get("/settings")
        answer = ada.post(f"/settings/keys/{keys_of(keyed)['ada'].id}/revoke")
        assert answer.status_code == 422
        assert ada.get("/settings").status_code == 200


def test_the_first_key_lets_its_maker_in_again(settings):
    asking = settings.model_copy(update={"keys": "if-any"})
    with running_gateway(asking) as gateway:
        ada = Person(gateway)
        ada.get("/settings")
        assert ada.post("/settings/keys", name="x", role="reviewer").status_code == 422
        made = ada.post("/settings/keys", name="ada", role="admin")
        assert ada.get("/settings").status_code == 303
        assert Person(gateway, secret_in(made)).get("/settings").status_code == 200


def test_no_secret_is_among_what_it_runs_with(settings, monkeypatch):
    monkeypatch.setenv("UP_KEY", "sk-very-secret")
    server = settings.upstreams[0].model_copy(update={"api_key_env": "UP_KEY"})
    with running_gateway(settings.model_copy(update={"upstreams": (server,)})) as gateway:
        text = Person(gateway).get("/settings").text
    assert "key in UP_KEY (set)" in text
    assert "sk-very-secret" not in text


def test_make_a_key_and_a_project(site):
    with site.visitor("ada") as page:
        page.goto("/settings")
        page.click("summary:text('Add a key')")
        page.fill("#field-name", "ada")
        page.click("button:text('Add the key')")
        assert page.locator(".secret").inner_text().startswith("bt-")
        assert page.locator("tbody tr").first.inner_text().startswith("ada")
        page.click("summary:text('Make a project')")
        page.fill("#project-name", "mail")
        page.click("button:text('Make the project')")
        page.wait_for_url("**project=mail")
        assert axe(page) == []
        assert too_wide(page) == []
        shot(page, "settings")
        assert page.problems == []
    with site.store as store:
        assert store.projects() == ["default", "mail"]

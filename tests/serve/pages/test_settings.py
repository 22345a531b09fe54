"""The page Settings, and the permissions of roles on all pages."""

from backtalk.promotion import promote
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import (
    axe_violations,
    key_for,
    overflowing_elements,
    save_screenshot,
)
from tests.serve.pages.project import PageClient, fill

VIEWS = ["/interactions", "/interactions/interaction-1", "/policies", "/reports", "/experiments"]
CHANGES = [
    ("/interactions/interaction-1/delete", {}),
    ("/interactions/interaction-1/restore", {}),
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


def secret_in(response):
    return response.text.partition('class="secret" tabindex="0">')[2].partition("<")[0]


def keys_of(settings):
    with Store(settings.store) as store:
        return {key.name: key for key in list(store.api_keys.keys())}


def test_a_reviewer_can_view_but_not_change(keyed_settings):
    reviewer, annotator = (
        key_for(keyed_settings, role, role) for role in ("reviewer", "annotator")
    )
    with running_gateway(keyed_settings) as gateway:
        with gateway.store as store:
            plain, brief, _ = fill(store)
            promote(store, plain, actor="bo")
        rev, ann = PageClient(gateway, reviewer), PageClient(gateway, annotator)
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
            assert store.interaction("interaction-1")
            assert store.projects() == ["default"]
            assert store.events.last("promotion") == 1
        assert list(keys_of(keyed_settings)) == ["reviewer", "annotator"]


def test_pages_require_a_login(keyed_settings):
    key_for(keyed_settings, "ada", "admin")
    with running_gateway(keyed_settings) as gateway:
        for path in [*VIEWS, "/settings", "/reports/x", "/policies/x"]:
            response = gateway.http.get(path)
            assert response.status_code == 303, path
            assert "/login" in response.headers["location"]
        for path, fields in CHANGES:
            assert gateway.http.post(path, data=fields).status_code in {401, 403}, path


def test_changes_require_the_csrf_token(gateway):
    with gateway.store as store:
        fill(store)
    ada = PageClient(gateway)
    ada.token = "another"
    for path, fields in CHANGES:
        assert ada.post(path, **fields).status_code == 403, path


def test_a_key_is_created_rotated_and_revoked(keyed_settings):
    admin = key_for(keyed_settings, "ada", "admin")
    with running_gateway(keyed_settings) as gateway:
        ada = PageClient(gateway, admin)
        ada.get("/settings")
        response = ada.post("/settings/keys", name="shop", role="application", project="default")
        first = secret_in(response)
        assert first not in ada.get("/settings").text
        shop = keys_of(keyed_settings)["shop"]
        assert (shop.role, shop.project) == ("application", "default")
        bearer = {"authorization": f"Bearer {first}"}
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 200
        rotated = ada.post(f"/settings/keys/{shop.id}/rotate", hours="0")
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 401
        bearer = {"authorization": f"Bearer {secret_in(rotated)}"}
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 200
        assert ada.post(f"/settings/keys/{shop.id}/revoke").status_code == 303
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 401
        with Store(keyed_settings.store) as store:
            log = [(entry.actor, entry.action) for entry in store.audit_log.entries()]
    assert log[1:] == [("ada", "key added"), ("ada", "key rotated"), ("ada", "key revoked")]


INVALID = [
    ({"name": "", "role": "admin"}, "1 to 100 characters"),
    ({"name": "ada", "role": "admin"}, "There is already a key"),
    ({"name": "x", "role": "king"}, "king"),
    ({"name": "x", "role": "admin", "project": "nowhere"}, "nowhere"),
]


def test_an_invalid_key_is_rejected_with_the_reason(keyed_settings):
    admin = key_for(keyed_settings, "ada", "admin")
    with running_gateway(keyed_settings) as gateway:
        ada = PageClient(gateway, admin)
        ada.get("/settings")
        for fields, reason in INVALID:
            response = ada.post("/settings/keys", **fields)
            assert response.status_code in {404, 409, 422}
            assert reason in response.text
    assert list(keys_of(keyed_settings)) == ["ada"]


def test_an_admin_of_one_project_manages_only_its_keys(keyed_settings):
    bo_key = key_for(keyed_settings, "bo", "admin", project="mail")
    cy_key = key_for(keyed_settings, "cyrus", "application", project="shop")
    key_for(keyed_settings, "ada", "admin")
    with running_gateway(keyed_settings) as gateway:
        bo = PageClient(gateway, bo_key)
        text = bo.get("/settings").text
        assert "bo" in text
        assert "cyrus" not in text
        keys = keys_of(keyed_settings)
        for path in ("rotate", "revoke"):
            assert bo.post(f"/settings/keys/{keys['cyrus'].id}/{path}").status_code == 404
            assert bo.post(f"/settings/keys/{keys['ada'].id}/{path}").status_code == 404
        assert bo.post("/settings/projects", name="x").status_code == 403
        bo.post("/settings/keys", name="all", role="admin", project="")
        bo.post("/settings/keys", name="shop", role="admin", project="shop")
        keys = keys_of(keyed_settings)
        assert keys["all"].project == "mail"
        assert keys["shop"].project == "mail"
        bearer = {"authorization": f"Bearer {cy_key}"}
        assert gateway.http.get("/v1/models", headers=bearer).status_code == 200


def test_a_user_cannot_revoke_the_key_in_use(keyed_settings):
    admin = key_for(keyed_settings, "ada", "admin")
    with running_gateway(keyed_settings) as gateway:
        ada = PageClient(gateway, admin)
        ada.get("/settings")
        response = ada.post(f"/settings/keys/{keys_of(keyed_settings)['ada'].id}/revoke")
        assert response.status_code == 422
        assert ada.get("/settings").status_code == 200


def test_the_first_key_must_be_an_admin_key(settings):
    settings = settings.model_copy(update={"keys": "if-any"})
    with running_gateway(settings) as gateway:
        ada = PageClient(gateway)
        ada.get("/settings")
        assert ada.post("/settings/keys", name="x", role="reviewer").status_code == 422
        response = ada.post("/settings/keys", name="ada", role="admin")
        assert ada.get("/settings").status_code == 303
        assert PageClient(gateway, secret_in(response)).get("/settings").status_code == 200


def test_the_configuration_shows_no_secret(settings, monkeypatch):
    monkeypatch.setenv("UP_KEY", "sk-very-secret")
    server = settings.upstreams[0].model_copy(update={"api_key_env": "UP_KEY"})
    with running_gateway(settings.model_copy(update={"upstreams": (server,)})) as gateway:
        text = PageClient(gateway).get("/settings").text
    assert "key in UP_KEY (set)" in text
    assert "sk-very-secret" not in text


def test_a_key_and_a_project_are_created_in_a_browser(site):
    with site.open_page("ada") as page:
        page.goto("/settings")
        page.click("summary:text('Create a key')")
        page.fill("#field-name", "ada")
        page.click("button:text('Create key')")
        assert page.locator(".secret").inner_text().startswith("bt-")
        assert page.locator("tbody tr").first.inner_text().startswith("ada")
        page.click("summary:text('Create a project')")
        page.fill("#project-name", "mail")
        page.click("button:text('Create project')")
        page.wait_for_url("**project=mail")
        assert axe_violations(page) == []
        assert overflowing_elements(page) == []
        save_screenshot(page, "settings")
        assert page.problems == []
    with site.store as store:
        assert store.projects() == ["default", "mail"]

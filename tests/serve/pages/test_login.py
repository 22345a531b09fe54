"""Login, sessions, CSRF tokens, roles and projects; and the headers of every page."""

import re
import stat

import httpx2
import pytest

from backtalk.annotation.tasks import list_tasks
from backtalk.serve.pages import MODULES
from backtalk.serve.pages.sessions import SECRET, Sessions
from backtalk.store import Store
from backtalk.store.api_keys import hash_secret
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import (
    Site,
    axe_violations,
    key_for,
    overflowing_elements,
    save_screenshot,
)

ROLES = ("application", "annotator", "reviewer", "admin")
TASK = {"name": "t", "kind": "thumbs"}


@pytest.fixture
def settings(tmp_path):
    from backtalk.serve import Settings

    return Settings(store=str(tmp_path / "feedback.db"), keys="never", shutdown_timeout=2.0)


@pytest.fixture
def gateway(settings):
    with running_gateway(settings) as running:
        yield running


@pytest.fixture
def secrets(keyed_settings):
    return {role: key_for(keyed_settings, role, role) for role in ROLES}


@pytest.fixture
def keyed_gateway(keyed_settings, secrets):
    """Gateway that requires keys, with one of each role."""
    with running_gateway(keyed_settings) as running:
        yield running


def browser(gateway, **options):
    return httpx2.Client(base_url=gateway.url, follow_redirects=True, verify=False, **options)


def token_of(text):
    return re.search(r'name="token" value="(\w+)"', text)[1]


def enter(http, **fields):
    token = token_of(http.get("/login").text)
    return http.post("/login", data={"token": token, **fields})


def test_without_keys_the_user_enters_a_name_once(gateway):
    with browser(gateway) as http:
        login = http.get("/inbox")
        assert login.url.path == "/login"
        assert "name" in login.text
        data = {"token": token_of(login.text), "name": " Ada  L "}
        assert http.post(str(login.url), data=data).url.path == "/inbox"
        assert "Ada L" in http.get("/inbox").text


def test_a_key_signs_in_its_user(keyed_gateway, secrets):
    with browser(keyed_gateway) as http:
        assert enter(http, key=secrets["reviewer"]).url.path == "/inbox"
        assert "reviewer" in http.get("/inbox").text
        assert secrets["reviewer"] not in str(http.cookies)


@pytest.mark.parametrize("key", ["", "bt-wrong", "application"])
def test_an_invalid_or_application_key_does_not_sign_in(keyed_gateway, secrets, key):
    with browser(keyed_gateway) as http:
        response = enter(http, key=secrets.get(key, key))
        assert response.status_code == 422
        assert http.get("/inbox").url.path == "/login"


def test_a_name_does_not_sign_in_if_keys_are_required(keyed_gateway):
    with browser(keyed_gateway) as http:
        enter(http, name="ada")
        assert http.get("/inbox").url.path == "/login"


def test_the_cookie_is_hidden_from_scripts_and_other_sites(gateway):
    with browser(gateway) as http:
        set_cookie = http.get("/login").headers["set-cookie"].lower()
        assert "httponly" in set_cookie
        assert "samesite=lax" in set_cookie
        assert "max-age" in set_cookie
        assert "secure" not in set_cookie
    with browser(gateway, headers={"x-forwarded-proto": "https"}) as http:
        set_cookie = http.get("/login").headers["set-cookie"].lower()
        assert set_cookie.startswith("__host-backtalk=")
        assert "secure" in set_cookie


def test_a_session_ends_when_its_key_is_revoked(keyed_gateway, secrets, keyed_settings):
    with browser(keyed_gateway) as http:
        enter(http, key=secrets["annotator"])
        assert http.get("/inbox").url.path == "/inbox"
        with Store(keyed_settings.store) as store:
            store.api_keys.revoke("annotator", actor="tests")
        keyed_gateway.app.state.services.api_keys.refresh()
        assert http.get("/inbox").url.path == "/login"


def test_sign_out_ends_the_session(keyed_gateway, secrets):
    with browser(keyed_gateway) as http:
        enter(http, key=secrets["admin"])
        http.post("/logout", data={"token": token_of(http.get("/inbox").text)})
        assert http.get("/inbox").url.path == "/login"


def test_a_forged_cookie_is_rejected(keyed_gateway, secrets, tmp_path):
    other = Sessions(tmp_path / "elsewhere")
    forged = other.cookie(other.new_session(digest=hash_secret(secrets["admin"])))
    with browser(keyed_gateway, cookies={"backtalk": forged}) as http:
        assert http.get("/inbox").url.path == "/login"


def test_a_session_expires(tmp_path):
    time = [1_000_000.0]
    sessions = Sessions(tmp_path, clock=lambda: time[0])
    cookie = sessions.cookie(sessions.new_session(name="ada"))
    assert sessions.read(cookie).name == "ada"
    time[0] += 366 * 86_400
    assert sessions.read(cookie) is None


def test_the_signing_secret_is_private_and_shared_by_processes(tmp_path):
    first, second = Sessions(tmp_path), Sessions(tmp_path)
    assert second.read(first.cookie(first.new_session(name="ada"))).name == "ada"
    assert stat.S_IMODE((tmp_path / SECRET).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET]


@pytest.mark.parametrize("headers", [{}, {"x-backtalk-token": "0" * 64}, {"token": "of another"}])
def test_a_form_without_the_csrf_token_is_rejected(gateway, headers):
    with browser(gateway) as other:
        enter(other, name="eve")
        foreign = token_of(other.get("/inbox/new/task").text)
    with browser(gateway) as http:
        enter(http, name="ada")
        data = {**TASK, "token": foreign} if "token" in headers else TASK
        response = http.post("/inbox/new/task", data=data, headers=headers)
        assert response.status_code == 403
        assert "token" in response.text
        assert list_tasks(gateway.store) == []


def test_a_form_from_another_site_is_rejected(gateway):
    with browser(gateway) as http:
        enter(http, name="ada")
        token = token_of(http.get("/inbox/new/task").text)
        data = {**TASK, "token": token}
        elsewhere = {"origin": "https://evil.example"}
        assert http.post("/inbox/new/task", data=data, headers=elsewhere).status_code == 403
        assert http.post("/inbox/new/task", data=data).status_code == 200
        assert len(list_tasks(gateway.store)) == 1


def test_a_role_sees_only_its_pages(keyed_gateway, secrets):
    seen = {}
    for role in ("annotator", "reviewer", "admin"):
        with browser(keyed_gateway) as http:
            enter(http, key=secrets[role])
            text = http.get("/inbox").text
            seen[role] = set(re.findall(r'<li><a href="/(\w+)', text))
            for name in MODULES:
                status = http.get(f"/{name}").status_code
                assert status == (200 if name in seen[role] else 403), (role, name)
    assert seen["annotator"] == {"inbox"}
    assert seen["admin"] == set(MODULES)
    assert seen["reviewer"] == set(MODULES) - {"settings"}


def test_a_reviewer_cannot_create_a_task(keyed_gateway, secrets):
    with browser(keyed_gateway) as http:
        enter(http, key=secrets["reviewer"])
        page = http.get("/inbox").text
        assert "New task" not in page
        response = http.post("/inbox/new/task", data={**TASK, "token": token_of(page)})
        assert response.status_code == 403
        assert list_tasks(keyed_gateway.store) == []


def test_a_session_does_not_authorise_api_requests(keyed_gateway, secrets):
    with browser(keyed_gateway) as http:
        enter(http, key=secrets["admin"])
        assert http.get("/v1/audit").status_code == 401


def test_a_key_of_one_project_cannot_see_others(keyed_settings):
    secret = key_for(keyed_settings, "ada", "admin", "mail")
    with Store(keyed_settings.store) as store:
        store.in_project("shop")
    with running_gateway(keyed_settings) as gateway, browser(gateway) as http:
        enter(http, key=secret)
        assert http.get("/inbox").status_code == 200
        assert http.get("/inbox?project=mail").status_code == 200
        assert http.get("/inbox?project=shop").status_code == 403
        assert "shop" not in http.get("/inbox").text


def test_the_url_names_the_project_and_a_typo_creates_none(gateway):
    gateway.store.in_project("shop")
    with browser(gateway) as http:
        enter(http, name="ada")
        assert 'href="/inbox?project=shop"' in http.get("/inbox").text
        data = {**TASK, "token": token_of(http.get("/inbox/new/task").text)}
        http.post("/inbox/new/task?project=shop", data=data)
        assert http.get("/inbox?project=shpo").status_code == 404
    assert len(list_tasks(gateway.store.in_project("shop"))) == 1
    assert gateway.store.projects() == ["default", "shop"]


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_requests_through_a_proxy_are_not_local(gateway, header):
    with browser(gateway) as http:
        enter(http, name="ada")
        assert http.get("/inbox", headers={header: "203.0.113.9"}).url.path == "/login"


def test_a_foreign_host_header_is_rejected(gateway):
    with browser(gateway) as http:
        response = http.get("/inbox", headers={"host": "rebound.example"})
        assert response.status_code == 403
        assert "localhost" in response.text


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_login_does_not_redirect_to_other_sites(gateway, address):
    with httpx2.Client(base_url=gateway.url, verify=False) as http:
        form = http.get("/login", params={"next": address})
        response = http.post(
            "/login", params={"next": address}, data={"token": token_of(form.text), "name": "ada"}
        )
        assert response.headers["location"] == "/"


def test_every_page_has_the_security_headers(gateway):
    with browser(gateway) as http:
        enter(http, name="ada")
        for path in ("/login", "/inbox", "/inbox/none", "/people"):
            headers = http.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"


def test_static_files_are_cached_by_the_digest_in_their_url(gateway):
    with browser(gateway) as http:
        (path,) = re.findall(r'href="(/static/\w+/pages\.css)"', http.get("/login").text)
        response = http.get(path)
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["content-type"].startswith("text/css")
        outdated = http.get("/static/0123/pages.css")
        assert (outdated.status_code, outdated.headers["cache-control"]) == (200, "no-cache")
        for missing in ("none.css", "..%2f__init__.py", "%2e%2e"):
            assert http.get(f"/static/0/{missing}").status_code == 404


def test_pages_have_no_inline_scripts_or_styles(gateway):
    with browser(gateway) as http:
        enter(http, name="ada")
        for path in ("/inbox", "/inbox/new/task", "/people"):
            text = http.get(path).text
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text)
            assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_a_page_reports_that_the_store_is_unavailable(gateway, settings, tmp_path):
    from pathlib import Path

    with browser(gateway) as http:
        enter(http, name="ada")
        store = Path(settings.store)
        assert gateway.app.state.services.writer.drain(10)
        store.rename(tmp_path / "away.db")
        response = http.get("/inbox")
        assert response.status_code == 503
        assert "store is unavailable" in response.text
        (tmp_path / "away.db").rename(store)
        assert http.get("/inbox").status_code == 200


def test_the_rate_limit_sets_retry_after(settings):
    limited = settings.model_copy(
        update={"limits": settings.limits.model_copy(update={"rate": 0.01, "burst": 1})}
    )
    with running_gateway(limited) as gateway, browser(gateway) as http:
        http.get("/login")
        response = http.get("/login")
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1


def test_login_by_keyboard(keyed_settings, chromium):
    secret = key_for(keyed_settings, "ada", "admin")
    with running_gateway(keyed_settings) as gateway:
        site = Site(gateway, chromium)
        with site.open_page("") as page:
            page.goto("/people")
            save_screenshot(page, "login-key")
            assert axe_violations(page) == []
            page.keyboard.type(secret)
            with page.expect_navigation():
                page.keyboard.press("Enter")
            assert "/people" in page.url
            page.click("summary:has-text('ada')")
            assert overflowing_elements(page) == []
            page.keyboard.press("Escape")
            assert page.locator("button:has-text('Sign out')").is_hidden()
            page.keyboard.press("Enter")
            page.click("text=Sign out")
            page.wait_for_selector("#field-key")

"""Who sees what: sessions, forms' tokens, roles, projects; and the headers of every page."""

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
from tests.serve.pages.conftest import Site, axe, key_for, shot, too_wide

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
def secrets(keyed):
    return {role: key_for(keyed, role, role) for role in ROLES}


@pytest.fixture
def asking(keyed, secrets):
    """A gateway that asks for keys, with one of each role."""
    with running_gateway(keyed) as running:
        yield running


def browser(gateway, **options):
    return httpx2.Client(base_url=gateway.url, follow_redirects=True, verify=False, **options)


def token_of(text):
    return re.search(r'name="token" value="(\w+)"', text)[1]


def enter(http, **fields):
    token = token_of(http.get("/login").text)
    return http.post("/login", data={"token": token, **fields})


def test_where_no_key_is_asked_for_a_name_is_given_once(gateway):
    with browser(gateway) as http:
        asked = http.get("/inbox")
        assert asked.url.path == "/login"
        assert "name" in asked.text
        result = http.post(str(asked.url), data={"token": token_of(asked.text), "name": " Ada  L "})
        assert result.url.path == "/inbox"
        assert "Ada L" in http.get("/inbox").text


def test_a_key_signs_in_and_its_name_is_the_annotators(asking, secrets):
    with browser(asking) as http:
        assert enter(http, key=secrets["reviewer"]).url.path == "/inbox"
        assert "reviewer" in http.get("/inbox").text
        assert secrets["reviewer"] not in str(http.cookies)


@pytest.mark.parametrize("key", ["", "bt-wrong", "application"])
def test_what_is_no_persons_key_does_not_sign_in(asking, secrets, key):
    with browser(asking) as http:
        answer = enter(http, key=secrets.get(key, key))
        assert answer.status_code == 422
        assert http.get("/inbox").url.path == "/login"


def test_a_name_does_not_sign_in_where_a_key_is_asked_for(asking):
    with browser(asking) as http:
        enter(http, name="ada")
        assert http.get("/inbox").url.path == "/login"


def test_the_cookie_is_kept_from_scripts_and_other_sites(gateway):
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


def test_a_session_ends_with_its_key(asking, secrets, keyed):
    with browser(asking) as http:
        enter(http, key=secrets["annotator"])
        assert http.get("/inbox").url.path == "/inbox"
        with Store(keyed.store) as store:
            store.api_keys.revoke("annotator", actor="tests")
        asking.app.state.services.api_keys.refresh()
        assert http.get("/inbox").url.path == "/login"


def test_signing_out_ends_it(asking, secrets):
    with browser(asking) as http:
        enter(http, key=secrets["admin"])
        http.post("/logout", data={"token": token_of(http.get("/inbox").text)})
        assert http.get("/inbox").url.path == "/login"


def test_a_cookie_cannot_be_made_up(asking, secrets, tmp_path):
    other = Sessions(tmp_path / "elsewhere")
    forged = other.cookie(other.new_session(digest=hash_secret(secrets["admin"])))
    with browser(asking, cookies={"backtalk": forged}) as http:
        assert http.get("/inbox").url.path == "/login"


def test_a_session_expires(tmp_path):
    at = [1_000_000.0]
    sessions = Sessions(tmp_path, clock=lambda: at[0])
    cookie = sessions.cookie(sessions.new_session(name="ada"))
    assert sessions.read(cookie).name == "ada"
    at[0] += 366 * 86_400
    assert sessions.read(cookie) is None


def test_the_secret_is_the_owners_alone_and_shared_by_processes(tmp_path):
    first, second = Sessions(tmp_path), Sessions(tmp_path)
    assert second.read(first.cookie(first.new_session(name="ada"))).name == "ada"
    assert stat.S_IMODE((tmp_path / SECRET).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET]


@pytest.mark.parametrize("headers", [{}, {"x-backtalk-token": "0" * 64}, {"token": "of another"}])
def test_a_form_without_the_sessions_token_changes_nothing(gateway, headers):
    with browser(gateway) as other:
        enter(other, name="eve")
        foreign = token_of(other.get("/inbox/new/task").text)
    with browser(gateway) as http:
        enter(http, name="ada")
        data = {**TASK, "token": foreign} if "token" in headers else TASK
        answer = http.post("/inbox/new/task", data=data, headers=headers)
        assert answer.status_code == 403
        assert "token" in answer.text
        assert list_tasks(gateway.store) == []


def test_a_form_of_another_site_changes_nothing(gateway):
    with browser(gateway) as http:
        enter(http, name="ada")
        token = token_of(http.get("/inbox/new/task").text)
        data = {**TASK, "token": token}
        elsewhere = {"origin": "https://evil.example"}
        assert http.post("/inbox/new/task", data=data, headers=elsewhere).status_code == 403
        assert http.post("/inbox/new/task", data=data).status_code == 200
        assert len(list_tasks(gateway.store)) == 1


def test_a_role_sees_its_pages_and_no_others(asking, secrets):
    seen = {}
    for role in ("annotator", "reviewer", "admin"):
        with browser(asking) as http:
            enter(http, key=secrets[role])
            text = http.get("/inbox").text
            seen[role] = set(re.findall(r'<li><a href="/(\w+)', text))
            for name in MODULES:
                status = http.get(f"/{name}").status_code
                assert status == (200 if name in seen[role] else 403), (role, name)
    assert seen["annotator"] == {"inbox"}
    assert seen["admin"] == set(MODULES)
    assert seen["reviewer"] == set(MODULES) - {"settings"}


def test_a_reviewer_makes_no_task(asking, secrets):
    with browser(asking) as http:
        enter(http, key=secrets["reviewer"])
        page = http.get("/inbox").text
        assert "New task" not in page
        answer = http.post("/inbox/new/task", data={**TASK, "token": token_of(page)})
        assert answer.status_code == 403
        assert list_tasks(asking.store) == []


def test_a_session_does_not_open_the_api(asking, secrets):
    with browser(asking) as http:
        enter(http, key=secrets["admin"])
        assert http.get("/v1/audit").status_code == 401


def test_a_key_of_one_project_sees_no_other(keyed):
    secret = key_for(keyed, "ada", "admin", "mail")
    with Store(keyed.store) as store:
        store.in_project("shop")
    with running_gateway(keyed) as gateway, browser(gateway) as http:
        enter(http, key=secret)
        assert http.get("/inbox").status_code == 200
        assert http.get("/inbox?project=mail").status_code == 200
        assert http.get("/inbox?project=shop").status_code == 403
        assert "shop" not in http.get("/inbox").text


def test_an_address_names_the_project_and_a_mistyped_one_makes_none(gateway):
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
def test_who_comes_through_a_proxy_is_not_at_this_machine(gateway, header):
    with browser(gateway) as http:
        enter(http, name="ada")
        assert http.get("/inbox", headers={header: "203.0.113.9"}).url.path == "/login"


def test_a_name_that_points_at_this_machine_is_refused(gateway):
    with browser(gateway) as http:
        answer = http.get("/inbox", headers={"host": "rebound.example"})
        assert answer.status_code == 403
        assert "localhost" in answer.text


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_leads_to_a_page_of_ours(gateway, address):
    with httpx2.Client(base_url=gateway.url, verify=False) as http:
        form = http.get("/login", params={"next": address})
        answer = http.post(
            "/login", params={"next": address}, data={"token": token_of(form.text), "name": "ada"}
        )
        assert answer.headers["location"] == "/"


def test_every_page_forbids_what_is_not_ours(gateway):
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


def test_files_are_kept_for_as_long_as_their_address_names_their_content(gateway):
    with browser(gateway) as http:
        (path,) = re.findall(r'href="(/static/\w+/pages\.css)"', http.get("/login").text)
        result = http.get(path)
        assert "immutable" in result.headers["cache-control"]
        assert result.headers["content-type"].startswith("text/css")
        former = http.get("/static/0123/pages.css")
        assert (former.status_code, former.headers["cache-control"]) == (200, "no-cache")
        for missing in ("none.css", "..%2f__init__.py", "%2e%2e"):
            assert http.get(f"/static/0/{missing}").status_code == 404


def test_pages_have_no_script_and_no_style_of_their_own(gateway):
    with browser(gateway) as http:
        enter(http, name="ada")
        for path in ("/inbox", "/inbox/new/task", "/people"):
            text = http.get(path).text
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text)
            assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_while_the_store_is_away_a_page_says_so(gateway, settings, tmp_path):
    from pathlib import Path

    with browser(gateway) as http:
        enter(http, name="ada")
        store = Path(settings.store)
        assert gateway.app.state.services.writer.drain(10)
        store.rename(tmp_path / "away.db")
        answer = http.get("/inbox")
        assert answer.status_code == 503
        assert "store is away" in answer.text
        (tmp_path / "away.db").rename(store)
        assert http.get("/inbox").status_code == 200


def test_too_many_requests_are_told_when_to_come_back(settings):
    limited = settings.model_copy(
        update={"limits": settings.limits.model_copy(update={"rate": 0.01, "burst": 1})}
    )
    with running_gateway(limited) as gateway, browser(gateway) as http:
        http.get("/login")
        answer = http.get("/login")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1


def test_signing_in_by_the_keyboard(keyed, chromium):
    secret = key_for(keyed, "ada", "admin")
    with running_gateway(keyed) as gateway:
        site = Site(gateway, chromium)
        with site.visitor("") as page:
            page.goto("/people")
            shot(page, "login-key")
            assert axe(page) == []
            page.keyboard.type(secret)
            with page.expect_navigation():
                page.keyboard.press("Enter")
            assert "/people" in page.url
            page.click("summary:has-text('ada')")
            assert too_wide(page) == []
            page.keyboard.press("Escape")
            assert page.locator("button:has-text('Sign out')").is_hidden()
            page.keyboard.press("Enter")
            page.click("text=Sign out")
            page.wait_for_selector("#field-key")

"""Fuzzing of the pages, and hostile input."""

import asyncio

import pytest
from benchmarks.serving.hostile import contents, enter, fire, stored_without_key
from benchmarks.serving.page_fuzzer import PageFuzzer, fill_store
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from backtalk.serve.pages.inbox.questions import split_steps
from backtalk.serve.pages.text_diff import diff_words
from backtalk.serve.store_connection import StoreConnection
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import key_for
from tests.serve.pages.project import PageClient

HTMX = {"hx-request": "true"}


@pytest.fixture
def key(keyed_settings):
    return key_for(keyed_settings, "ada", "admin")


@pytest.fixture
def keyed_gateway(keyed_settings, key):
    """Gateway that requires keys, with an admin key."""
    with running_gateway(keyed_settings) as running:
        yield running


@pytest.fixture
def ada(keyed_gateway, key):
    return PageClient(keyed_gateway, key)


@pytest.fixture
def fuzzer(keyed_gateway, key):
    with keyed_gateway.store as store:
        ids = fill_store(store)
    return PageFuzzer(enter(keyed_gateway.url, key), ids, 7)


def port_of(gateway):
    return int(gateway.url.rpartition(":")[2])


def test_hostile_requests_get_responses_and_no_redirect_to_other_sites(keyed_gateway, fuzzer):
    report = asyncio.run(fire(port_of(keyed_gateway), fuzzer.draw(250)))
    assert report.bad == []
    assert report.statuses.total() == 250
    assert stored_without_key(keyed_gateway.settings.store) == []


def test_requests_without_session_and_token_change_nothing(keyed_gateway, fuzzer):
    before = contents(keyed_gateway.settings.store)
    report = asyncio.run(fire(port_of(keyed_gateway), fuzzer.draw(100, authenticated=0.0)))
    assert report.bad == []
    assert contents(keyed_gateway.settings.store) == before


@pytest.mark.parametrize("hours", ["0" * 9 + "9" * 20, "9" * 5_000, "-1", "²"])
def test_rotation_rejects_invalid_hours(keyed_gateway, ada, hours):
    key_for(keyed_gateway.settings, "bo", "annotator")
    page = ada.get("/settings").text
    action = page.partition('action="/settings/keys/')[2].partition('"')[0].partition("?")[0]
    number = action.partition("/")[0]
    response = ada.post(f"/settings/keys/{number}/rotate", hours=hours)
    assert response.status_code == 422
    assert "hours" in response.text


def test_login_by_htmx_redirects_to_a_url_with_any_characters(keyed_gateway, ada, key):
    ada.get("/inbox")
    ada.http.headers.update(HTMX)
    form = {"key": key, "token": ada.token}
    response = ada.http.post("/login?next=/inbox%3Fproject%3D☃", data=form)
    assert response.status_code == 204
    assert response.headers["hx-redirect"] == "/inbox?project=%E2%98%83"


def test_a_static_file_with_a_very_long_name_is_not_found(keyed_gateway):
    assert keyed_gateway.http.get(f"/static/x/{'a' * 5_000}").status_code == 404


@pytest.mark.parametrize("path", ["/inbox/", "//elsewhere.example/inbox", "/settings/keys/"])
def test_a_nearly_valid_path_is_not_found_and_not_redirected(keyed_gateway, path):
    response = keyed_gateway.http.get(
        f"{keyed_gateway.url}{path}", headers={"host": "elsewhere.example"}
    )
    assert response.status_code == 404
    assert "location" not in response.headers


@pytest.mark.parametrize("name", ["text", "policy", "user", "session"])
def test_long_search_parameters_are_rejected(ada, name):
    response = ada.get("/interactions", **{name: "_" * 30_000})
    assert response.status_code == 422
    assert "are too many" in response.text


@pytest.mark.parametrize("name", ["path", "self", "parts", "query"])
def test_an_unknown_parameter_stays_in_the_links_of_a_page(ada, name):
    response = ada.get(f"/interactions?{name}=x&before=9")
    assert response.status_code == 200
    assert f"/interactions?{name}=x&amp;" in response.text


def test_a_text_of_spaces_has_no_steps():
    assert split_steps(" " * 100_000) == []


def test_lines_of_spaces_are_no_steps():
    assert split_steps("One.\n \t\nTwo.") == [(0, 4), (8, 12)]


def test_texts_of_repeated_words_are_compared_as_a_whole():
    before = " ".join("x" if i % 2 else f"y{i}" for i in range(1_400))
    after = " ".join("x" if i % 2 else f"z{i}" for i in range(1_400))
    assert diff_words(before, after) == [("out", before), ("in", after)]


@how(max_examples=50, deadline=None)
@given(st.text("ab \n.", max_size=40), st.text("ab \n.", max_size=40))
def test_a_diff_contains_both_texts(before, after):
    pieces = diff_words(before, after)
    assert "".join(piece.text for piece in pieces if piece.change != "in") == before
    assert "".join(piece.text for piece in pieces if piece.change != "out") == after


def test_a_store_connection_limits_its_open_projects(tmp_path, monkeypatch):
    monkeypatch.setattr("backtalk.serve.store_connection._MAX_PROJECTS", 2)
    connection = StoreConnection(str(tmp_path / "feedback.db"), tmp_path)
    first = connection.store("one")
    assert connection.store("one") is first
    assert [connection.store(name).project for name in ("two", "three")] == ["two", "three"]
    assert connection.store("one") is not first
    assert connection.store().projects() == ["default", "one", "three", "two"]
    connection.close()

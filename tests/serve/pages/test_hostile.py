"""What nobody should send to the pages."""

import asyncio

import pytest
from benchmarks.serving.hostile import contents, enter, fire, stored_without_key
from benchmarks.serving.page_shots import PageShots, furnish
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from backtalk.serve.pages.inbox.questions import split_steps
from backtalk.serve.pages.text_diff import diff_words
from backtalk.serve.store_connection import StoreConnection
from tests.serve.conftest import running_gateway
from tests.serve.pages.conftest import key_for
from tests.serve.pages.views import Person

HTMX = {"hx-request": "true"}


@pytest.fixture
def key(keyed):
    return key_for(keyed, "ada", "admin")


@pytest.fixture
def asking(keyed, key):
    """A gateway that asks for keys, and has an admin."""
    with running_gateway(keyed) as running:
        yield running


@pytest.fixture
def ada(asking, key):
    return Person(asking, key)


@pytest.fixture
def shots(asking, key):
    with asking.store as store:
        ids = furnish(store)
    return PageShots(enter(asking.url, key), ids, 7)


def port_of(gateway):
    return int(gateway.url.rpartition(":")[2])


def test_hostile_requests_are_answered_and_lead_nowhere_else(asking, shots):
    report = asyncio.run(fire(port_of(asking), shots.draw(250)))
    assert report.bad == []
    assert report.statuses.total() == 250
    assert stored_without_key(asking.settings.store) == []


def test_without_a_session_and_its_token_nothing_is_changed(asking, shots):
    before = contents(asking.settings.store)
    report = asyncio.run(fire(port_of(asking), shots.draw(100, keyed=0.0)))
    assert report.bad == []
    assert contents(asking.settings.store) == before


@pytest.mark.parametrize("hours", ["0" * 9 + "9" * 20, "9" * 5_000, "-1", "²"])
def test_a_key_is_not_rotated_for_hours_that_are_none(asking, ada, hours):
    key_for(asking.settings, "bo", "annotator")
    page = ada.get("/settings").text
    action = page.partition('action="/settings/keys/')[2].partition('"')[0].partition("?")[0]
    number = action.partition("/")[0]
    answer = ada.post(f"/settings/keys/{number}/rotate", hours=hours)
    assert answer.status_code == 422
    assert "hours" in answer.text


def test_signing_in_leads_a_script_to_an_address_of_any_letters(asking, ada, key):
    ada.get("/inbox")
    ada.http.headers.update(HTMX)
    form = {"key": key, "token": ada.token}
    answer = ada.http.post("/login?next=/inbox%3Fproject%3D☃", data=form)
    assert answer.status_code == 204
    assert answer.headers["hx-redirect"] == "/inbox?project=%E2%98%83"


def test_a_file_with_a_name_longer_than_any_is_not_there(asking):
    assert asking.http.get(f"/static/x/{'a' * 5_000}").status_code == 404


@pytest.mark.parametrize("path", ["/inbox/", "//elsewhere.example/inbox", "/settings/keys/"])
def test_an_address_that_is_nearly_one_leads_nowhere(asking, path):
    answer = asking.http.get(f"{asking.url}{path}", headers={"host": "elsewhere.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize("name", ["text", "policy", "user", "session"])
def test_what_is_too_long_to_look_for_is_refused(ada, name):
    answer = ada.get("/interactions", **{name: "_" * 30_000})
    assert answer.status_code == 422
    assert "too many to look for" in answer.text


@pytest.mark.parametrize("name", ["path", "self", "parts", "query"])
def test_a_parameter_that_nobody_knows_is_kept_in_the_links_of_a_page(ada, name):
    answer = ada.get(f"/interactions?{name}=x&before=9")
    assert answer.status_code == 200
    assert f"/interactions?{name}=x&amp;" in answer.text


def test_a_text_of_spaces_has_no_steps():
    assert split_steps(" " * 100_000) == []


def test_lines_of_spaces_are_no_steps():
    assert split_steps("One.\n \t\nTwo.") == [(0, 4), (8, 12)]


def test_texts_whose_words_are_all_alike_are_compared_as_a_whole():
    before = " ".join("x" if i % 2 else f"y{i}" for i in range(1_400))
    after = " ".join("x" if i % 2 else f"z{i}" for i in range(1_400))
    assert diff_words(before, after) == [("out", before), ("in", after)]


@how(max_examples=50, deadline=None)
@given(st.text("ab \n.", max_size=40), st.text("ab \n.", max_size=40))
def test_what_is_the_same_and_what_goes_is_the_text_before(before, after):
    pieces = diff_words(before, after)
    assert "".join(piece.text for piece in pieces if piece.change != "in") == before
    assert "".join(piece.text for piece in pieces if piece.change != "out") == after


def test_a_keeper_remembers_so_many_projects_only(tmp_path, monkeypatch):
    monkeypatch.setattr("backtalk.serve.store_connection._MOST_STORES", 2)
    keeper = StoreConnection(str(tmp_path / "feedback.db"), tmp_path)
    first = keeper.store("one")
    assert keeper.store("one") is first
    assert [keeper.store(name).project for name in ("two", "three")] == ["two", "three"]
    assert keeper.store("one") is not first
    assert keeper.store().projects() == ["default", "one", "three", "two"]
    keeper.let_go()

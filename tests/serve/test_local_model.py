"""A model on this machine that the gateway serves under its name."""

import pytest
from typer.testing import CliRunner

from backtalk.cli.commands import serve as serve_command
from backtalk.cli.main import make_app
from backtalk.promotion import active_policy
from backtalk.serve import Settings, server
from backtalk.store import Store
from tests.models import tiny
from tests.serve.conftest import running_gateway


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def served(model, tmp_path, monkeypatch):
    """Settings with which the command line would serve the model."""
    started = []
    monkeypatch.setattr(server, "run", lambda settings, **_: started.append(settings))
    store = str(tmp_path / "feedback.db")
    result = CliRunner().invoke(
        make_app("serve"), ["serve", "--model", model, "--store", store, "--port", "0"]
    )
    assert result.exit_code == 0, result.output
    (settings,) = started
    return settings


@pytest.fixture
def gateway(served):
    with running_gateway(served) as gateway:
        yield gateway


def answer(response):
    assert response.status_code == 200, response.text
    body = response.json()
    return body["model"], [choice["message"]["content"] for choice in body["choices"]]


def test_the_model_answers_under_its_name_and_as_the_policy_of_the_project(gateway):
    fields = {"temperature": 0, "max_tokens": 8}
    name, texts = answer(gateway.chat("Is the shop open?", model="tiny", **fields))
    assert name == "tiny"
    for other in ("backtalk:default", "backtalk:default/tiny"):
        assert answer(gateway.chat("Is the shop open?", model=other, **fields)) == (other, texts)
    listed = [one["id"] for one in gateway.http.get("/v1/models").json()["data"]]
    assert listed == ["tiny", "backtalk:default", "backtalk:default/tiny"]
    assert gateway.http.get("/v1/models/tiny").json()["owned_by"] == "backtalk"


def test_its_interactions_are_stored_and_take_feedback(gateway):
    response = gateway.chat("Is it open?", model="tiny", max_tokens=5)
    assert gateway.feedback({"interaction": response.json()["id"], "thumb": "up"}).is_success
    (case,) = gateway.store.cases()
    assert case.interaction.policy is not None
    assert len(case.feedback) == 1


def test_a_request_sets_the_sampling(gateway):
    def texts(**fields):
        return answer(gateway.chat("Hello", model="tiny", max_tokens=6, n=6, **fields))[1]

    assert len(set(texts(temperature=0))) == 1
    assert len(set(texts(temperature=0, seed=1))) == 1
    assert len(set(texts(seed=1))) > 1
    assert texts(seed=1) == texts(seed=1)
    assert len(set(texts(seed=1, top_p=1e-9))) == 1


def test_it_answers_responses_messages_and_streams(gateway):
    body = {"model": "tiny", "input": "Hello", "max_output_tokens": 16, "temperature": 0}
    response = gateway.http.post("/v1/responses", json=body).json()
    text = response["output"][0]["content"][0]["text"]
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 16,
        "temperature": 0,
    }
    message = gateway.http.post("/v1/messages", json=body).json()
    assert message["content"][0]["text"] == text
    streamed = gateway.chat("Hello", model="tiny", max_tokens=16, temperature=0, stream=True)
    assert streamed.text.strip().endswith("data: [DONE]")


def test_another_name_says_what_there_is(gateway):
    response = gateway.chat("Hello", model="gpt-x")
    assert response.status_code == 404
    assert "GET /v1/models" in response.json()["error"]["message"]


def test_a_promoted_policy_stays_when_the_model_is_served_again(served, model):
    with Store(served.store) as store:
        first = active_policy(store)
    assert first.name == "tiny"
    again = serve_command._serve_model(Settings(store=served.store), model)
    assert again.policies == ("tiny",)
    with Store(served.store) as store:
        assert active_policy(store).id == first.id


def test_a_model_that_cannot_be_loaded_stops_before_serving(tmp_path):
    result = CliRunner().invoke(
        make_app("serve"),
        ["serve", "--model", str(tmp_path), "--store", str(tmp_path / "s.db"), "--port", "0"],
    )
    assert result.exit_code != 0
    assert "could not be loaded" in str(result.exception)


def test_an_unset_name_is_the_upstreams(upstream, tmp_path):
    settings = Settings(
        store=str(tmp_path / "f.db"),
        keys="never",
        upstreams=({"base_url": upstream.url},),
        policies=("mine",),
    )
    with running_gateway(settings) as gateway:
        assert gateway.chat("Hello", model="other").status_code == 200
        assert len(upstream.bodies) == 1
        missing = gateway.chat("Hello", model="mine")
        assert missing.status_code == 404
        assert len(upstream.bodies) == 1

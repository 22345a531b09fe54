"""Endpoints: the table of the documentation, spellings of paths, names of policies, browsers."""

import json
import re

import pytest

from backtalk.feedback import Interaction
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store
from tests.conftest import REPOSITORY
from tests.serve.conftest import running_gateway
from tests.serve.upstream import ScriptedReply

ANSWER = r" \| (yes|no)"
ROW = re.compile(rf"^\| `POST (/v1/[a-z_/]+)`[^|]*{4 * ANSWER} \|$", re.MULTILINE)
TABLE = ROW.findall((REPOSITORY / "docs" / "serve.md").read_text())
MESSAGES = [{"role": "user", "content": "Hi"}]
BODY = {"messages": MESSAGES, "input": "Hi", "prompt": "Hi", "max_tokens": 9}
BODIES = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 9},
}


@pytest.fixture
def chat_gateway(settings):
    """Gateway with a promoted policy, in front of an upstream with chat completions only."""
    (only,) = settings.upstreams
    upstreams = (only.model_copy(update={"apis": ("chat",)}),)
    with running_gateway(settings.model_copy(update={"upstreams": upstreams})) as gateway:
        promote_policy(gateway)
        yield gateway


def promote_policy(gateway):
    with Store(gateway.settings.store, project="mail") as store:
        policy = Policy(model=EndpointSpec(model="tuned"))
        save_policy(store, policy)
        promote(store, policy, actor="ada")


def test_the_table_names_the_endpoints():
    assert {row[0] for row in TABLE} >= {*BODIES, "/v1/embeddings", "/v1/vector_stores"}


@pytest.mark.parametrize(("path", "passed_on", "stored", "feedback", "policies"), TABLE)
def test_each_row_of_the_table_is_true(
    chat_gateway, upstream, *, path, passed_on, stored, feedback, policies
):
    gateway = chat_gateway
    body = BODIES.get(path, BODY)
    answer = gateway.http.post(path, json={"model": "m", **body})
    assert answer.status_code == 200, answer.text
    assert bool(upstream.bodies) == (passed_on == "yes")
    with gateway.store as store:
        assert store.counts()["interaction"] == (stored == "yes")
    assert ("x-backtalk-interaction" in answer.headers) == (stored == "yes")
    if feedback == "yes":
        id_ = answer.json()["id"]
        assert gateway.feedback({"interaction": id_, "thumb": "up"}).json()["status"] == "stored"
    upstream.bodies.clear()
    answer = gateway.http.post(path, json={"model": "backtalk:mail", **body})
    if policies == "yes":
        assert answer.status_code == 200, answer.text
        assert "x-backtalk-policy" in answer.headers
        assert [sent["model"] for sent in upstream.bodies] == ["tuned"]
    else:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "policy_not_supported")
        assert "/v1/chat/completions" in error["message"]
        assert upstream.bodies == []


CHAT = [
    "/v1/chat/completions/",
    "/v1//chat/completions",
    "//v1/chat//completions//",
    "/chat/completions",
    "/chat/completions/",
    "/v1/v1/chat/completions",
    "/openai/v1/chat/completions",
    "/openai/deployments/small/chat/completions?api-version=2026-01-01",
    "/openai/deployments/small/chat/completions/",
    "/v1/engines/small/chat/completions",
]


@pytest.mark.parametrize("path", CHAT)
def test_other_spellings_of_a_path_are_the_same_endpoint(chat_gateway, upstream, path):
    gateway = chat_gateway
    answer = gateway.http.post(path, json={"model": "small", "messages": MESSAGES})
    assert answer.headers["x-backtalk-interaction"] == answer.json()["id"]
    assert upstream.paths[0].startswith("/v1/chat/completions")
    policy = gateway.http.post(
        path.replace("small", "backtalk%3Amail"),
        json={"model": "backtalk:mail", "messages": MESSAGES},
    )
    assert "x-backtalk-policy" in policy.headers
    assert [body["model"] for body in upstream.bodies] == ["small", "tuned"]


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/embeddings", "/v1/embeddings"),
        ("/v1/embeddings/", "/v1/embeddings"),
        ("/openai/deployments/small/embeddings", "/v1/embeddings"),
        ("/completions", "/v1/completions"),
    ],
)
def test_other_endpoints_have_the_same_spellings(gateway, upstream, path, other):
    body = {"model": "small", "input": "Hi", "prompt": "Hi"}
    assert gateway.http.post(path, json=body).status_code == 200
    assert upstream.paths == [other]


def test_the_feedback_endpoint_has_the_same_spellings(gateway):
    id_ = gateway.chat("Hi").json()["id"]
    for path in ("/v1/feedback/", "/v1//feedback", "/feedback"):
        row = {"interaction": id_, "thumb": "up"}
        assert gateway.http.post(path, json=row).json()["status"] == "stored"


@pytest.mark.parametrize(
    ("deployment", "model", "sent"),
    [
        ("small", None, "small"),
        ("small", "other", "small"),
        ("backtalk%3Amail", None, "tuned"),
        ("backtalk%3Amail", "other", "tuned"),
        ("other", "backtalk:mail", "tuned"),
        ("org%2Fsmall", None, "org/small"),
    ],
)
def test_a_deployment_in_the_path_is_the_model(chat_gateway, upstream, deployment, model, sent):
    named = {} if model is None else {"model": model}
    path = f"/openai/deployments/{deployment}/chat/completions"
    answer = chat_gateway.http.post(path, json={**named, "messages": MESSAGES})
    assert answer.status_code == 200
    assert upstream.bodies[0]["model"] == sent


def test_paths_of_unknown_endpoints_stay_as_they_are(gateway, upstream):
    gateway.http.post("/v1/vector_stores//x/", json={})
    assert upstream.paths == ["/v1/vector_stores//x/"]
    for path in ("/nothing", "/health/x", "/openai/nothing"):
        assert gateway.http.get(path).status_code == 404


NAME = "backtalk:mail"


@pytest.mark.parametrize(
    ("path", "request_fields"),
    [
        ("/v1/realtime/sessions", {"json": {"session": {"model": NAME}}}),
        ("/v1/evals", {"json": {"sources": [{"a": {"model": NAME}}]}}),
        ("/v1/moderations", {"content": b' {"model":"backtalk\\u003amail"}'}),
        ("/v1/realtime?model=backtalk%3Amail", {"json": {}}),
        ("/v1/models/backtalk:mail/copy", {"json": {}}),
        ("/openai/deployments/backtalk%3Amail/images/generations", {"json": {"prompt": "x"}}),
        ("/v1/audio/speech", {"data": {"model": NAME}}),
        ("/v1/audio/transcriptions", {"data": {"model": NAME}, "files": {"file": b"RIFF"}}),
        (
            "/v1/files",
            {
                "data": {"purpose": "batch"},
                "files": {"file": b'{"body": {"model": "backtalk:mail"}}\n'},
            },
        ),
    ],
)
def test_the_name_of_a_policy_never_reaches_an_upstream(gateway, upstream, path, request_fields):
    answer = gateway.http.post(path, **request_fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "policy_not_supported")
    assert upstream.bodies == []


@pytest.mark.parametrize(
    "body",
    [
        {"model": "small", "input": "Use backtalk:mail"},
        {"model": "small", "metadata": {"model": NAME}},
        {"model": "small", "input": json.dumps({"model": NAME})},
    ],
)
def test_a_text_about_a_policy_is_forwarded(gateway, upstream, body):
    assert gateway.http.post("/v1/moderations", json=body).status_code == 200
    assert upstream.bodies == [body]


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_the_error_of_an_upstream_that_lists_no_models_is_forwarded(gateway, upstream, status):
    upstream.always = ScriptedReply(status)
    answer = gateway.http.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "scripted")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_upstream_without_a_list_of_models_has_an_empty_one(gateway, upstream, status):
    upstream.always = ScriptedReply(status)
    assert gateway.http.get("/v1/models").json() == {"object": "list", "data": []}


def test_policies_are_listed_although_the_upstream_fails(chat_gateway, upstream):
    upstream.always = ScriptedReply(401)
    answer = chat_gateway.http.get("/v1/models")
    assert answer.status_code == 200
    assert NAME in [model["id"] for model in answer.json()["data"]]


PAGE = "https://shop.example"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "names",
    [
        "authorization,content-type,x-stainless-arch,x-stainless-retry-count,x-stainless-timeout",
        "x-api-key,anthropic-version,anthropic-beta,anthropic-dangerous-direct-browser-access",
        "x-backtalk-user,x-backtalk-session,x-backtalk-project,idempotency-key",
        "openai-organization,openai-project,http-referer,x-title,traceparent",
    ],
)
def test_the_preflight_of_an_allowed_page_is_answered(settings, method, names):
    with running_gateway(settings.model_copy(update={"origins": (PAGE,)})) as gateway:
        headers = {
            "origin": PAGE,
            "access-control-request-method": method,
            "access-control-request-headers": names,
            "access-control-request-private-network": "true",
        }
        answer = gateway.http.options("/v1/responses/resp_1", headers=headers)
        assert answer.status_code == 200
        assert set(names.split(",")) <= set(
            answer.headers["access-control-allow-headers"].split(",")
        )
        assert method in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-private-network"] == "true"
        other = gateway.http.options("/v1/models", headers={**headers, "origin": "https://evil"})
        assert other.status_code == 400
        exposed = gateway.http.get("/v1/models", headers={"origin": PAGE}).headers
        assert {"x-backtalk-interaction", "x-request-id", "retry-after-ms"} <= set(
            exposed["access-control-expose-headers"].split(", ")
        )


@pytest.mark.parametrize(
    "id_", ["None", "null", "undefined", "NaN", "[object Object]", " ", "chatcmpl-9", "resp_up"]
)
def test_feedback_on_an_id_that_cannot_come_is_refused(gateway, id_):
    answer = gateway.feedback({"interaction": id_, "thumb": "up"})
    assert answer.status_code == 422
    rows = gateway.feedback(
        {"interaction": id_, "thumb": "up"},
        {"interaction": Interaction.of("a", "b").id, "thumb": "up"},
    ).json()
    assert [row["status"] for row in rows["results"]] == ["rejected", "pending"]


def test_feedback_on_an_imported_interaction_with_the_id_of_a_provider_is_stored(gateway):
    interaction = Interaction.of("Hi", "Hello").model_copy(update={"id": "chatcmpl-9"})
    with gateway.store as store:
        store.add(interaction)
    answer = gateway.feedback({"interaction": "chatcmpl-9", "thumb": "up"})
    assert answer.json()["status"] == "stored"

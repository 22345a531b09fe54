"""API keys, permissions, rate limits, redaction, the audit log and purging."""

import json
import time
from datetime import timedelta

import pytest

from backtalk.errors import Conflict, NotFound, UnknownName
from backtalk.feedback import Annotator
from backtalk.serve.redaction import Redactor
from backtalk.store import Store
from backtalk.store.api_keys import hash_secret
from tests.serve.conftest import running_gateway

ENDPOINTS = [
    ("POST", "/v1/chat/completions", "answer"),
    ("POST", "/v1/completions", "answer"),
    ("POST", "/v1/embeddings", "answer"),
    ("GET", "/v1/models", "answer"),
    ("GET", "/v1/models/backtalk:mail", "answer"),
    ("GET", "/v1/anything/else", "answer"),
    ("GET", "/v1/files", "train"),
    ("GET", "/v1/fine_tuning/jobs", "train"),
    ("POST", "/v1/feedback", "feedback"),
    ("GET", "/v1/feedback/schema", "feedback"),
    ("GET", "/metrics", "watch"),
    ("GET", "/v1/audit", "audit"),
    ("POST", "/v1/purge", "purge"),
]
PERMISSIONS = {
    "application": {"answer", "feedback"},
    "annotator": {"feedback"},
    "reviewer": {"feedback", "watch", "audit"},
    "admin": {"answer", "train", "feedback", "watch", "audit", "purge"},
}


@pytest.fixture
def store(settings):
    with Store(settings.store) as store:
        yield store


@pytest.fixture
def api_keys(store):
    return store.api_keys


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def test_a_key_grants_the_permissions_of_its_role_only(settings, api_keys):
    secrets = {role: api_keys.add(role, role, project=None, actor="ada")[1] for role in PERMISSIONS}
    with running_gateway(settings.model_copy(update={"keys": "always"})) as gateway:
        for method, path, permission in ENDPOINTS:
            for headers in ({}, bearer("bt-wrong"), {"authorization": "Basic x"}):
                answer = gateway.http.request(method, path, headers=headers)
                assert answer.status_code == 401, (path, headers)
                assert answer.json()["error"]["code"] == "invalid_api_key"
            for role, secret in secrets.items():
                answer = gateway.http.request(method, path, headers=bearer(secret), content=b"{}")
                assert (answer.status_code == 403) == (permission not in PERMISSIONS[role]), (
                    path,
                    role,
                )
        assert gateway.http.get("/health").status_code == 200
        assert gateway.http.get("/ready").status_code == 200
        assert gateway.http.get("/nothing").status_code == 404
        response = gateway.http.post(
            "/v1/feedback", json={}, headers={"x-api-key": secrets["admin"]}
        )
        assert response.status_code == 422


def test_administration_requires_a_key(gateway):
    assert gateway.http.get("/v1/models").status_code == 200
    for method, path in (("POST", "/v1/purge"), ("GET", "/v1/audit")):
        assert gateway.http.request(method, path, content=b"{}").status_code == 401


def test_the_first_key_makes_keys_required(settings, api_keys):
    with running_gateway(settings.model_copy(update={"keys": "if-any"})) as gateway:
        assert gateway.http.get("/v1/models").status_code == 200
        _, secret = api_keys.add("shop", "application", project=None, actor="ada")
        wait_until(lambda: gateway.http.get("/v1/models").status_code == 401)
        wait_until(lambda: gateway.http.get("/v1/models", headers=bearer(secret)).is_success)
        api_keys.revoke("shop", actor="ada")
        wait_until(lambda: not gateway.http.get("/v1/models", headers=bearer(secret)).is_success)
        assert gateway.http.get("/v1/models").status_code == 401


def wait_until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("timed out")


def test_a_key_is_valid_for_its_project_only(settings, api_keys, upstream):
    _, secret = api_keys.add("shop", "application", project="mail", actor="ada")
    with running_gateway(settings.model_copy(update={"keys": "always"})) as gateway:
        gateway.http.headers.update(bearer(secret))
        answer = gateway.chat("Hi")
        assert answer.json()["id"].startswith("mail:")
        assert gateway.chat("Hi", model="backtalk:other").status_code == 403
        row = {"interaction": answer.json()["id"], "thumb": "up"}
        assert gateway.feedback(row, X_Backtalk_Project="other").status_code == 403
        assert gateway.feedback(row).status_code == 201
        assert "authorization" not in upstream.headers[0]
        with gateway.store as store:
            assert store.counts() == {"interaction": 0}
            assert store.in_project("mail").counts() == {"interaction": 1, "label": 1}
            key = api_keys.keys()[0].id
            (case,) = store.in_project("mail").cases()
            assert case.interaction.metadata["gateway"]["key"] == key


def test_a_person_with_a_key_gives_feedback_in_their_own_name(settings, api_keys):
    _, secret = api_keys.add("ada", "annotator", project=None, actor="bo")
    with running_gateway(settings.model_copy(update={"keys": "always"})) as gateway:
        gateway.http.headers.update(bearer(secret))
        gateway.feedback({"kind": "instruction", "text": "Be brief."})
        with gateway.store as store:
            (rule,) = store.feedback()
    assert rule.annotator == Annotator.human("ada")


def test_keys_stay_valid_while_the_store_is_unavailable_even_after_a_restart(
    settings, api_keys, tmp_path
):
    _, secret = api_keys.add("shop", "application", project=None, actor="ada")
    closed = settings.model_copy(update={"keys": "always", "shutdown_timeout": 0.2})
    with running_gateway(closed) as gateway:
        assert gateway.http.get("/v1/models", headers=bearer(secret)).status_code == 200
    (tmp_path / "feedback.db").rename(tmp_path / "gone")
    with running_gateway(closed) as gateway:
        assert gateway.http.get("/v1/models", headers=bearer(secret)).status_code == 200
        assert gateway.http.get("/v1/models").status_code == 401
    (settings.state_folder / "keys.json").unlink()
    with running_gateway(closed) as gateway:
        assert gateway.http.get("/v1/models", headers=bearer(secret)).status_code == 503
    (tmp_path / "gone").rename(tmp_path / "feedback.db")


def test_keys_are_created_rotated_and_revoked_and_audited(store, settings):
    api_keys, audit_log = store.api_keys, store.audit_log
    key, secret = api_keys.add("shop", "application", project="mail", actor="ada")
    assert key.digest == hash_secret(secret)
    with pytest.raises(Conflict, match="'shop'"):
        api_keys.add("shop", "admin", project=None, actor="ada")
    with pytest.raises(UnknownName, match="application"):
        api_keys.add("x", "king", project=None, actor="ada")
    rotated, new = api_keys.rotate("shop", grace=timedelta(hours=1), actor="bo")
    from backtalk.feedback.record import now

    assert rotated.digests(now()) == [hash_secret(new), hash_secret(secret)]
    assert rotated.digests(now() + timedelta(hours=2)) == [hash_secret(new)]
    assert api_keys.revoke(key.id, actor="bo").digests(now()) == []
    with pytest.raises(NotFound):
        api_keys.revoke("shop", actor="bo")
    api_keys.add("shop", "application", project=None, actor="ada")
    entries = [(entry.actor, entry.action, entry.project) for entry in audit_log.entries()]
    assert entries == [
        ("ada", "key added", "mail"),
        ("bo", "key rotated", "mail"),
        ("bo", "key revoked", "mail"),
        ("ada", "key added", None),
    ]
    assert len(audit_log.entries(project="other")) == 1
    content = b"".join(
        path.read_bytes() for path in settings.state_folder.parent.glob("feedback.db*")
    )
    assert secret.encode() not in content
    assert new.encode() not in content


def test_the_rate_limit_rejects_requests_until_a_token_is_available(settings):
    limits = settings.limits.model_copy(update={"rate": 1.0, "burst": 3})
    with running_gateway(settings.model_copy(update={"limits": limits})) as gateway:
        answers = [gateway.http.get("/v1/models") for _ in range(6)]
        codes = [answer.status_code for answer in answers]
        assert codes[:3] == [200] * 3
        assert 429 in codes
        refused = answers[codes.index(429)]
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        time.sleep(1.1)
        assert gateway.http.get("/v1/models").status_code == 200


def test_only_listed_origins_are_allowed(settings):
    allowed = settings.model_copy(update={"origins": ("https://shop.example",)})
    with running_gateway(allowed) as gateway:
        for origin, header in (
            ("https://shop.example", "https://shop.example"),
            ("https://evil.example", None),
        ):
            answer = gateway.http.options(
                "/v1/feedback",
                headers={
                    "origin": origin,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "authorization,content-type",
                },
            )
            assert answer.headers.get("access-control-allow-origin") == header
    with running_gateway(settings) as gateway:
        answer = gateway.http.get("/health", headers={"origin": "https://shop.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_a_disallowed_origin_cannot_send_requests(settings):
    row = {"kind": "instruction", "text": "x"}
    with running_gateway(settings.model_copy(update={"keys": "if-any"})) as gateway:
        address = gateway.url.removeprefix("http://")
        for headers, status in (
            ({"origin": "https://evil.example"}, 403),
            ({"origin": "null"}, 403),
            ({"origin": gateway.url}, 201),
            ({"origin": "http://evil.example", "host": "evil.example"}, 403),
            ({"host": f"localhost:{address.partition(':')[2]}"}, 201),
            ({"host": "["}, 403),
        ):
            answer = gateway.http.post("/v1/feedback", json=row, headers=headers)
            assert answer.status_code == status, headers


def test_personal_data_is_redacted_before_it_is_stored(settings, upstream):
    names = ("email", "phone", "card", "tests.serve.test_auth:without_names")
    with running_gateway(settings.model_copy(update={"redact": names})) as gateway:
        secret = "I am Xyzzy, bo@example.org, +44 20 7946 0018, 4111 1111 1111 1111."
        answer = gateway.chat(secret, user="bo@example.org", metadata={"about": secret})
        assert upstream.bodies[0]["messages"][0]["content"] == secret
        assert secret in answer.text
        id_ = answer.json()["id"]
        gateway.feedback({"interaction": id_, "comment": secret, "user": "bo@example.org"})
        spans = [{"start": 10, "end": 14, "label": "who"}]
        marked = {"interaction": id_, "kind": "spans", "response": "0", "spans": spans}
        assert gateway.feedback(marked).status_code == 201
        with gateway.store as store:
            (case,) = store.cases()
        assert case.interaction.user == "bo@example.org"
        assert case.feedback[0].annotator.id == "bo@example.org"
        assert len(case.interaction.prompt[0].text) == len(secret)
        stored = case.interaction.model_copy(update={"user": None}).to_json()
        stored += case.feedback[0].text
    for word in ("Xyzzy", "example.org", "7946", "4111"):
        assert word not in stored


def without_names(text):
    return text.replace("Xyzzy", "-----")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("a.b+c@mail.example.co.uk!", "•" * 24 + "!"),
        ("no at example.org", "no at example.org"),
        ("a" * 100_000, "a" * 100_000),
        (f"{'a' * 1000}@b.org.", f"{'•' * 1006}."),
        ("1 " * 50_000, None),
        ("(030) 123-4567", "•" * 14),
        ("order 12345", "order 12345"),
        ("2026-11-21 at 10:30", "2026-11-21 at 10:30"),
        ("5500-0000-0000-0004", "•" * 19),
    ],
)
def test_redactions_match_and_keep_the_length(text, redacted):
    result = Redactor(["email", "card", "phone"]).text(text)
    assert len(result) == len(text)
    assert redacted is None or result == redacted


def test_an_unknown_redaction_is_an_error():
    with pytest.raises(UnknownName, match="email"):
        Redactor(["emails"])
    with pytest.raises(Exception, match="cannot be found"):
        Redactor(["backtalk:nothing"])


def test_a_purge_removes_a_person_everywhere(settings, api_keys, tmp_path):
    _, secret = api_keys.add("boss", "admin", project=None, actor="ada")
    with running_gateway(settings.model_copy(update={"keys": "always"})) as gateway:
        gateway.http.headers.update(bearer(secret))
        gateway.chat("My secret is Xyzzy", user="bo")
        other_id = gateway.chat("My hobby is Plugh", user="eve").json()["id"]
        gateway.feedback({"interaction": other_id, "comment": "Xyzzy too", "user": "bo"})
        gateway.feedback({"interaction": "not yet", "comment": "Xyzzy waits", "user": "bo"})
        invalid = {"interaction": other_id, "comment": "Xyzzy", "response": "9", "user": "bo"}
        assert gateway.feedback(invalid).status_code == 422
        assert gateway.http.post("/v1/purge", json={}).status_code == 400
        purged = gateway.http.post("/v1/purge", json={"user": "bo"}).json()
        assert purged == {"interactions": 1, "feedback": 2, "memory_entries": 0, "policies": []}
        content = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        entries = gateway.http.get("/v1/audit").json()["entries"]
    assert b"Plugh" in content
    assert b"Xyzzy" not in content
    assert (entries[-1]["actor"], entries[-1]["action"]) == ("boss", "user purged")
    assert entries[-1]["detail"] != "bo"


def test_metrics_and_logs_have_no_message_content(settings, caplog):
    import logging

    with (
        running_gateway(settings) as gateway,
        caplog.at_level(logging.INFO, "backtalk.serve.access"),
    ):
        id_ = gateway.chat("My secret is Xyzzy").json()["id"]
        gateway.feedback({"interaction": id_, "thumb": "up"})
        gateway.http.get("/nothing")
        assert gateway.app.state.services.writer.drain(60)
        metrics = gateway.http.get("/metrics").text
    assert 'backtalk_requests_total{endpoint="chat",status="200"} 1.0' in metrics
    assert 'backtalk_requests_total{endpoint="other",status="404"} 1.0' in metrics
    assert 'backtalk_records_total{kind="interaction",outcome="stored"} 1.0' in metrics
    assert 'backtalk_records_total{kind="label",outcome="stored"} 1.0' in metrics
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert fields[0]["interaction"] == id_
    assert fields[0]["status"] == 200
    assert "Xyzzy" not in caplog.text + json.dumps(fields)


def test_log_lines_are_json():
    import logging

    from backtalk.serve.observability.logs import JsonFormatter

    error = ValueError("why")
    exception_info = (ValueError, error, None)
    record = logging.LogRecord("n", 20, "f", 1, "status %s", ("ok",), exception_info)
    record.fields = {"status": 200}
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["status"], line["level"]) == ("status ok", 200, "info")
    assert "ValueError: why" in line["trace"]

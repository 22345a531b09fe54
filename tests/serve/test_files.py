"""Files by OpenAI's API: contents are unchanged, and files of other purposes are the upstream's."""

import gzip
import socket
import time
import zlib

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.artifacts import Artifacts
from backtalk.serve import Settings
from backtalk.serve.files.file_store import FileStore
from backtalk.serve.fine_tuning.worker import run_folder
from backtalk.store import Store
from tests.serve.conftest import running_gateway
from tests.serve.upstream import ScriptedReply


@pytest.fixture
def alone(tmp_path):
    """Gateway without an upstream, and a client."""
    settings = Settings(
        store=str(tmp_path / "feedback.db"),
        keys="never",
        fine_tuning={"train": False, "max_file_bytes": 2_000_000},
    )
    with running_gateway(settings) as running:
        yield running, client_of(running)


def client_of(running, key="none", **fields):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0, **fields)


def test_a_file_is_uploaded_listed_read_and_deleted(alone, tmp_path):
    _, client = alone
    path = tmp_path / "train.jsonl"
    path.write_text('{"messages": []}\n', encoding="utf-8")
    with path.open("rb") as content:
        file = client.files.create(file=content, purpose="fine-tune")
    assert (file.object, file.filename, file.purpose) == ("file", "train.jsonl", "fine-tune")
    assert file.bytes == path.stat().st_size
    assert abs(file.created_at - time.time()) < 60
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == path.read_bytes()
    assert [item.id for item in client.files.list()] == [file.id]
    assert list(client.files.list(purpose="fine-tune-results")) == []
    deleted = client.files.delete(file.id)
    assert (deleted.id, deleted.deleted) == (file.id, True)
    assert list(client.files.list()) == []
    for read in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=file.id):
            read(file.id)


def test_a_large_file_is_unchanged(alone):
    _, client = alone
    content = bytes(range(256)) * 7_000
    file = client.files.create(file=("big.jsonl", content), purpose="fine-tune")
    assert file.bytes == len(content)
    assert client.files.content(file.id).content == content


@pytest.fixture
def upload(alone):
    _, client = alone

    def send(content, name="data.jsonl"):
        id_ = client.files.create(file=(name, content), purpose="fine-tune").id
        return client.files.retrieve(id_).filename, client.files.content(id_).content

    return send


PIECES = st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\n", b"\0", b'"', "é".encode(), b"boundary"])


def test_any_content_is_unchanged(upload):
    @given(st.lists(PIECES | st.binary(max_size=5), min_size=1).map(b"".join).filter(len))
    def is_unchanged(content):
        assert upload(content)[1] == content

    is_unchanged()


@pytest.mark.parametrize(
    "name", ["Größe.jsonl", 'with "quotes".jsonl', "no-ending", "../../up.jsonl"]
)
def test_the_name_of_a_file_stays(upload, name):
    shown, content = upload(b"{}", name)
    assert content == b"{}"
    assert shown.replace("%22", '"').endswith(name.rpartition("/")[2])


@pytest.mark.parametrize("folder", ["v1.2", "shared", "mails.artifacts", "mails.of.may"])
def test_the_folders_of_files_and_runs_are_named_like_that_of_the_artifacts(tmp_path, folder):
    with Store(tmp_path / "feedback.db") as store:
        store.artifacts = Artifacts(tmp_path / folder)
        file = FileStore.beside(store.artifacts).add_text("p", "{}", filename="a", purpose="b")
        name = folder.removesuffix(".artifacts")
        assert (tmp_path / f"{name}.files" / "p" / file.id).is_dir()
        assert run_folder(store, "job") == tmp_path / f"{name}.runs" / "job"


@pytest.mark.parametrize("project", ["..mails", ".new-mails", "a/b", "mails.of.may"])
def test_the_files_of_any_project_are_below_the_root(tmp_path, project):
    files = FileStore(tmp_path / "files")
    file = files.add_text(project, "{}", filename="a", purpose="b")
    (folder,) = (tmp_path / "files").iterdir()
    assert "." not in folder.name
    assert files.list() == files.list(project) == [file]
    assert files.find(file.id) == files.find(file.id, project) == file


def test_a_list_has_pages_in_both_orders(alone):
    _, client = alone
    ids = [
        client.files.create(file=(f"{i}.jsonl", b"{}"), purpose="fine-tune").id for i in range(5)
    ]
    assert [file.id for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in client.files.list(limit=2, order="asc")] == ids
    page = client.files.list(limit=2, order="asc", after=ids[2])
    assert ([file.id for file in page.data], page.has_more) == (ids[3:], False)
    for query in ("limit=0", "limit=x", "limit=10001", "after=file-1", "order=x"):
        running, _ = alone
        assert running.http.get(f"/v1/files?{query}").status_code == 400


def test_a_file_expires(alone, monkeypatch):
    _, client = alone
    expiry = {"anchor": "created_at", "seconds": 3_600}
    file = client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune", expires_after=expiry)
    assert file.expires_at == file.created_at + 3_600
    assert client.files.retrieve(file.id).id == file.id
    later = time.time() + 3_601
    monkeypatch.setattr("backtalk.serve.files.file_store.time.time", lambda: later)
    assert list(client.files.list()) == []
    for seconds in (60, 2_592_001, "²", "7" * 5_000, "-7200", "7200.0", " 7200"):
        with pytest.raises(openai.BadRequestError, match="3600"):
            client.files.create(
                file=("a.jsonl", b"{}"),
                purpose="fine-tune",
                expires_after={"anchor": "created_at", "seconds": seconds},
            )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"data": {"purpose": "fine-tune"}}, "file"),
        ({"files": {"file": ("a.jsonl", b"{}")}}, "purpose"),
        ({"files": {"file": ("a.jsonl", b"{}")}, "data": {"purpose": "batch"}}, "purpose"),
        ({"files": {"file": ("a.jsonl", b"")}, "data": {"purpose": "fine-tune"}}, "file"),
        ({"json": {"purpose": "fine-tune"}}, None),
        (
            {
                "content": b"--x\r\nbroken",
                "headers": {"content-type": "multipart/form-data; boundary=x"},
            },
            None,
        ),
    ],
)
def test_a_form_that_is_not_valid_is_refused(alone, fields, param):
    running, client = alone
    if "data" in fields and "files" not in fields:
        fields = {"files": {"purpose": (None, "fine-tune")}}
    response = running.http.post("/v1/files", **fields)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert list(client.files.list()) == []


def test_a_file_above_the_limit_is_refused(alone):
    _, client = alone
    with pytest.raises(openai.APIStatusError) as raised:
        client.files.create(file=("a.jsonl", b"x" * 2_200_000), purpose="fine-tune")
    assert raised.value.status_code == 413
    assert list(client.files.list()) == []


def form(content):
    """Return the headers and the body of a form with a file."""
    request = httpx2.Request(
        "POST",
        "http://localhost",
        files={"file": ("a.jsonl", content)},
        data={"purpose": "fine-tune"},
    )
    return {"content-type": request.headers["content-type"]}, request.read()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_a_compressed_form_is_decoded(alone, encoding):
    running, client = alone
    compress = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding]
    headers, body = form(b"{}" * 1_000)
    headers["content-encoding"] = encoding
    response = running.http.post("/v1/files", content=compress(body), headers=headers)
    assert response.status_code == 200
    assert client.files.content(response.json()["id"]).content == b"{}" * 1_000


def test_a_form_whose_encoding_is_unknown_damaged_or_hides_its_size_is_refused(alone):
    running, client = alone
    headers, body = form(b"{}")
    large = gzip.compress(form(b" " * 3_000_000)[1])
    for encoding, content, status in (
        ("rot13", body, 415),
        ("gzip", body, 400),
        ("gzip", gzip.compress(body)[:-9], 400),
        ("gzip", large, 413),
    ):
        response = running.http.post(
            "/v1/files", content=content, headers={**headers, "content-encoding": encoding}
        )
        assert response.status_code == status, response.text
    assert list(client.files.list()) == []


@pytest.mark.parametrize("limits", [{"body_bytes": 500}, {"endpoint_bytes": {"/v1/files": 500}}])
@pytest.mark.parametrize("is_declared", [True, False])
def test_the_limits_of_requests_apply_to_files(tmp_path, limits, is_declared):
    settings = Settings(
        store=str(tmp_path / "f.db"), keys="never", fine_tuning={"train": False}, limits=limits
    )
    with running_gateway(settings) as running:
        for content, status in ((b"{}", 200), (b"{}" * 500, 413)):
            headers, body = form(content)
            sent = body if is_declared else iter([body])
            response = running.http.post("/v1/files", content=sent, headers=headers)
            assert response.status_code == status
            if status == 413:
                assert "endpoint_bytes" in response.json()["error"]["message"]


def test_a_body_that_is_declared_too_large_is_not_received(alone):
    running, _ = alone
    url = httpx2.URL(running.url)
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3000000\r\n"
            b"content-type: multipart/form-data; boundary=x\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_files_of_another_purpose_are_those_of_the_upstream(gateway, upstream):
    client = client_of(gateway)
    reply = {"id": "file-theirs", "object": "file", "purpose": "batch"}
    upstream.next.append(ScriptedReply(body=reply))
    file = client.files.create(file=("b.jsonl", b'{"custom_id": "1"}'), purpose="batch")
    assert file.id == "file-theirs"
    own = client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
    upstream.next.append(ScriptedReply(body={"object": "list", "data": [reply]}))
    assert [item.id for item in client.files.list()] == [own.id, "file-theirs"]
    upstream.next.append(ScriptedReply(body=reply))
    assert client.files.retrieve("file-theirs").id == "file-theirs"


def test_files_belong_to_a_project_and_need_a_key_of_an_admin(tmp_path):
    store = str(tmp_path / "feedback.db")
    with Store(store) as db:
        keys = {
            name: db.api_keys.add(name, role, project=project, actor="ada")[1]
            for name, role, project in (
                ("mail", "admin", "mail"),
                ("shop", "admin", "shop"),
                ("all", "admin", None),
                ("application", "application", "mail"),
            )
        }
    with running_gateway(Settings(store=store, fine_tuning={"train": False})) as running:
        clients = {name: client_of(running, key) for name, key in keys.items()}
        file = clients["mail"].files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
        assert clients["all"].files.retrieve(file.id).id == file.id
        assert [item.id for item in clients["all"].files.list()] == [file.id]
        assert list(clients["shop"].files.list()) == []
        with pytest.raises(openai.NotFoundError):
            clients["shop"].files.content(file.id)
        with pytest.raises(openai.PermissionDeniedError, match="admin"):
            clients["application"].files.content(file.id)
        with httpx2.Client(base_url=running.url, verify=False) as http:
            assert http.get(f"/v1/files/{file.id}").status_code == 401

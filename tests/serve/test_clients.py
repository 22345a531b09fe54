"""Clients: retries until feedback is safe, without duplicates."""

import asyncio
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import openai
import pytest

import backtalk.serve
from backtalk.client import AsyncClient, Client, SendError, wrap
from backtalk.feedback import Annotator, Label
from tests.serve.conftest import running_gateway, serving
from tests.serve.upstream import ScriptedReply, make_upstream

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MESSAGES = [{"role": "user", "content": "Hello"}]


def stored_feedback(gateway):
    with gateway.store as store:
        return list(store.feedback())


def test_a_client_sends_records_and_short_forms(gateway):
    id_ = gateway.chat().json()["id"]
    label = Label(interaction=id_, annotator=Annotator.human("ada"), response="0", good=True)
    with Client(f"{gateway.url}/v1") as client:
        assert client.feedback(id_, thumb="up", user="bo").status == "stored"
        results = client.send(label, label, {"interaction": id_, "thumb": "sideways"})
        assert [result.status for result in results] == ["stored", "duplicate", "rejected"]
        assert not results[2].safe
        assert client.send() == []
        with pytest.raises(SendError, match="thumb"):
            client.feedback(id_, thumb="no")
        assert client.feedback(kind="instruction", text="Be brief.").status == "stored"
        many = client.send(*({"interaction": id_, "thumb": "up"} for _ in range(1001)))
        assert len(many) == 1001
        assert "oneOf" in client.schema()
    assert len(stored_feedback(gateway)) == 1004


def test_the_asynchronous_client_sends_feedback(gateway):
    id_ = gateway.chat().json()["id"]

    async def send():
        async with AsyncClient(f"{gateway.url}/v1") as client:

            @client.verifier("tests")
            async def passes(answer):
                return 0.5

            assert await passes({"id": id_}) == 0.5
            assert "oneOf" in await client.schema()
            return await client.feedback(id_, comment="Fine.")

    assert asyncio.run(send()).status == "stored"
    outcome, critique = stored_feedback(gateway)
    assert (outcome.score, outcome.annotator.kind, critique.text) == (0.5, "verifier", "Fine.")


def test_retries_of_a_client_are_stored_once(gateway, monkeypatch):
    """A server in between accepts feedback and loses the response."""
    monkeypatch.setattr("backtalk.client.protocol._BACKOFF", 0.01)
    id_ = gateway.chat().json()["id"]
    app, control = make_upstream()
    with serving(app) as url:
        control.next += [
            ScriptedReply(500),
            ScriptedReply(429, headers={"retry-after": "0"}),
            ScriptedReply(503),
        ]
        with Client(f"{url}/v1", retries=2) as client, pytest.raises(SendError, match="503"):
            client.feedback(id_, thumb="up")
    rows = [body["feedback"][0] for body in control.bodies]
    assert len(rows) == 3
    assert rows[0] == rows[1] == rows[2]
    with Client(f"{gateway.url}/v1") as client:
        assert [result.status for result in client.send(*rows)] == [
            "stored",
            "duplicate",
            "duplicate",
        ]
    assert len(stored_feedback(gateway)) == 1


def test_an_unreachable_gateway_is_named():
    with (
        Client("http://127.0.0.1:9/v1", retries=0) as client,
        pytest.raises(SendError, match="tried"),
    ):
        client.feedback("x", thumb="up")


def test_a_verifier_gives_feedback(gateway):
    client = Client(f"{gateway.url}/v1")

    @client.verifier("pytest")
    def verify_index(answer, limit=3):
        assert len(answer["choices"]) < limit, "too many"
        return answer["choices"][0]["index"] == 0

    assert verify_index(gateway.chat().json()) is True
    with pytest.raises(AssertionError):
        verify_index(gateway.chat(n=3).json())
    client.close()
    good, bad = stored_feedback(gateway)
    assert (good.passed, bad.passed) == (True, False)
    assert bad.text.startswith("too many")
    assert bad.annotator == Annotator.verifier("pytest")


def test_answers_of_a_wrapped_openai_client_take_feedback(gateway):
    plain = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="x")
    client = wrap(plain, user="bo")
    answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert isinstance(answer, openai.types.chat.ChatCompletion)
    assert answer.feedback(thumb="down").status == "stored"
    assert answer.feedback(edit="Better.", user="eve").status == "stored"
    assert "feedback" not in answer.model_dump()
    text = client.completions.create(model="m", prompt="x")
    text.feedback(kind="rating", response="0", value=4)
    assert not hasattr(plain.chat.completions.create(model="m", messages=MESSAGES), "feedback")
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    ids = {chunk.id for chunk in stream}
    client.feedback(ids.pop(), comment="Fine.")
    results = stored_feedback(gateway)
    assert [item.kind for item in results] == ["label", "edit", "rating", "critique"]
    assert [item.annotator.id for item in results] == ["bo", "eve", "bo", "unknown"]


def test_responses_of_a_wrapped_openai_client_take_feedback(settings):
    chat_only = settings.upstreams[0].model_copy(update={"apis": ("chat",)})
    with running_gateway(settings.model_copy(update={"upstreams": (chat_only,)})) as gateway:
        client = wrap(openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="x"), user="bo")
        response = client.responses.create(model="m", input="Hello")
        assert isinstance(response, openai.types.responses.Response)
        assert response.feedback(thumb="up").status == "stored"


def test_answers_of_a_wrapped_asynchronous_client_take_feedback(gateway):
    async def ask():
        client = wrap(openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x"))
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        return await answer.feedback(thumb="up")

    assert asyncio.run(ask()).status == "stored"


PAGE = """<!doctype html><title>t</title>
<script src="%s/backtalk.js"></script>
<p data-backtalk="%s" data-user="bo">You said: Hello</p>
<script>
addEventListener("load", () => setTimeout(() => {
  const press = name => [...document.querySelectorAll("button")]
    .filter(button => button.title == name).forEach(button => button.click())
  const write = text => { document.querySelector("textarea").value = text; press("Send") }
  press("Bad")
  press("Edit"); press("Send")
  press("Edit"); write("Good day.")
  press("Comment"); write("Too short.")
}, 50))
</script>"""


def snippet():
    return Path(backtalk.serve.__file__).parent / "static" / "backtalk.js"


def test_the_snippet_is_small_and_served(gateway):
    answer = gateway.http.get("/backtalk.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.content == snippet().read_bytes()
    assert len(answer.content) <= 2048


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_snippet_sends_thumbs_edits_and_comments_from_another_origin(settings, tmp_path):
    site = tmp_path / "site"
    site.mkdir()

    class SiteHandler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(site))

        def log_message(self, *_):
            pass

    site_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SiteHandler)
    threading.Thread(target=site_server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{site_server.server_port}"
    with running_gateway(settings.model_copy(update={"origins": (origin,)})) as gateway:
        id_ = gateway.chat().json()["id"]
        (site / "index.html").write_text(PAGE % (gateway.url, id_))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
        done = subprocess.run(
            [CHROMIUM, *options, f"--user-data-dir={tmp_path}/profile", "--dump-dom", origin],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 'data-sent="1"' in done.stdout, done.stdout + done.stderr
        results = {item.kind: item for item in stored_feedback(gateway)}
    site_server.shutdown()
    site_server.server_close()
    assert len(results) == 3
    assert results["label"].good is False
    assert results["edit"].text == "Good day."
    assert results["critique"].text == "Too short."
    assert {item.annotator.id for item in results.values()} == {"bo"}

"""The commands and code of docs/serve.md run, on free ports."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest
import uvicorn
import yaml

from backtalk.annotation.inbox_address import running_gateway
from backtalk.cli import main
from backtalk.errors import RecordError
from backtalk.serve.server import page_address, read_settings
from backtalk.serve.workers import ReadyServer
from backtalk.store import Store
from tests.conftest import REPOSITORY
from tests.serve.conftest import serving
from tests.serve.upstream import make_upstream
from tests.test_docs import Reader, blocks, blocks_of

PAGE = REPOSITORY / "docs" / "serve.md"
END_TO_END = "\n## End-to-end example\n"
"""Heading of the section that has its own test."""


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def environment():
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("BACKTALK")
    }
    return {**variables, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def wait_until_ready(port):
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as http:
        for _ in range(2_000):
            try:
                return http.get("/ready")
            except httpx2.TransportError:
                time.sleep(0.05)
    raise AssertionError("the gateway did not start")


def read_address(lines):
    """Return the address that a starting gateway prints."""
    printed = {}
    while "Gateway" not in printed:
        line = next(lines)
        if not line.startswith("{"):
            printed[line.split()[0]] = line.split()[-1]
    assert printed["Gateway"].removesuffix("/v1") == printed["Inbox"].removesuffix("/inbox")
    return printed["Inbox"].removesuffix("/inbox")


class GatewayReader(Reader):
    """Reader of a page who runs the gateway in front of a model server."""

    def __init__(self, folder, port, upstream):
        super().__init__(folder, folder / "no-demo")
        self.replacements = {
            "localhost:8000": upstream.removeprefix("http://"),
            "localhost:8080": f"127.0.0.1:{port}",
            "--port 8000": f"--port {upstream.rpartition(':')[2]}",
        }
        self.port = port
        self.servers = []

    def replace_addresses(self, text):
        for address, replacement in self.replacements.items():
            text = text.replace(address, replacement)
        return text

    def follow(self, page):
        return self.run_part(page.read_text(encoding="utf-8").partition(END_TO_END)[0])

    def run_part(self, part):
        """Run a part of the page and return the names defined by its Python code."""
        names = {}
        for language, text in blocks_of(part):
            if language == "python":
                exec(compile(self.replace_addresses(text), str(PAGE), "exec"), names)
            elif language == "console":
                for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
                    self.type(self.replace_addresses(line))
        return names

    def type(self, line):
        if line.startswith("backtalk serve"):
            port = re.search(r"--port (\d+)", line)
            line = line if port else f"{line} --port {self.port}"
            with (self.folder / "serve.log").open("ab") as log:
                self.servers.append(subprocess.Popen(f"exec {line}", shell=True, stderr=log))
            wait_until_ready(int(port[1]) if port else self.port)
        else:
            super().type(line)

    def close(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait(60)


def test_the_page_runs(tmp_path, monkeypatch, free_port):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in [name for name in os.environ if name.startswith("BACKTALK")]:
        monkeypatch.delenv(name)
    app, _ = make_upstream()
    with serving(app) as url:
        reader = GatewayReader(tmp_path, free_port, url)
        try:
            names = reader.follow(PAGE)
        finally:
            reader.close()
    assert names["mail"].id.startswith("mail:")
    assert not list((tmp_path / "backtalk.serve" / "write_ahead_log").iterdir())


def test_the_settings_of_the_page_are_valid(tmp_path):
    (text,) = [text for language, text in blocks(PAGE) if language == "yaml"]
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    result = read_settings(file, keys="always", project=None)
    assert result.upstreams[1].model == "gpt-5-mini"
    assert set(yaml.safe_load(text)) <= set(type(result).model_fields)


def test_settings_are_accepted_under_their_previous_names(tmp_path):
    file = tmp_path / "serve.yaml"
    patience = (
        "connect: 2, read: 120, tries: 4, pause: 0.5, longest_pause: 4, failures: 6, rest: 11"
    )
    file.write_text(f"patience: {{{patience}}}\nspool_bytes: 1000\nclose_after: 3\n")
    settings = read_settings(file)
    retry = settings.retry
    assert (retry.connect_timeout, retry.read_timeout, retry.max_attempts) == (2, 120, 4)
    assert (retry.backoff, retry.max_backoff) == (0.5, 4)
    assert (retry.failure_threshold, retry.open_seconds) == (6, 11)
    assert (settings.max_log_bytes, settings.shutdown_timeout) == (1000, 3)
    file.write_text("close_after: 3\nshutdown_timeout: 4\n")
    with pytest.raises(RecordError, match="close_after is the old name of shutdown_timeout"):
        read_settings(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--upstream", "nonsense"], "address"),
        (["--key-env", "X"], "--upstream"),
        (["--redact", "emails"], "Did you mean 'email'"),
        (["--store", "no/such/folder.db"], "folder that can be written"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--port", "PORT"], "another port"),
    ],
)
def test_serve_checks_its_settings_before_starting(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert main(["serve", *(port if item == "PORT" else item for item in arguments)]) == 1
    assert message in capsys.readouterr().err


def test_keys_on_the_command_line(tmp_path, monkeypatch, capsys):
    import json

    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT", "BACKTALK_WHO"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        code = main(["keys", *arguments])
        return code, capsys.readouterr()

    code, captured = run("add", "shop", "--project", "mail")
    assert code == 0
    assert captured.out.startswith("bt-")
    assert "shop" in captured.err
    assert run("add", "shop")[0] == 1
    assert run("add", "x", "--role", "king")[0] == 1
    rotated = json.loads(run("rotate", "shop", "--json")[1].out)
    assert rotated["project"] == "mail"
    assert rotated["secret"].startswith("bt-")
    assert run("revoke", "shop")[0] == 0
    (listed,) = json.loads(run("list", "--json")[1].out)
    assert listed["revoked"] is not None
    assert "secret" not in listed
    assert "revoked" in run("list")[1].out


def test_several_processes_share_one_store_and_their_address_is_printed(tmp_path, environment):
    app, _ = make_upstream()
    with serving(app) as url:
        command = [
            sys.executable, "-m", "backtalk", "serve", "--upstream", f"{url}/v1",
            "--port", "0", "--workers", "2", "--store", str(tmp_path / "s.db"),
        ]  # fmt: skip
        server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            address = read_address(server.stderr)
            with Store(tmp_path / "s.db") as store:
                assert running_gateway(store) == address
            ids = set()
            # Each request opens a connection, which either process may accept.
            with httpx2.Client(
                base_url=address,
                timeout=60,
                headers={"connection": "close"},
            ) as http:
                for number in range(20):
                    body = {"model": "m", "messages": [{"role": "user", "content": f"{number}"}]}
                    ids.add(http.post("/v1/chat/completions", json=body).json()["id"])
                    row = {"interaction": max(ids), "thumb": "up"}
                    assert http.post("/v1/feedback", json=row).status_code in {201, 202}
                metrics = http.get("/metrics").text
        finally:
            server.terminate()
            server.communicate(timeout=60)
    assert 'backtalk_requests_total{endpoint="chat",status="200"} 20.0' in metrics
    with Store(tmp_path / "s.db") as store:
        assert {case.interaction.id for case in store.cases()} == ids
        assert store.counts()["label"] == 20


def test_a_server_says_when_it_is_ready_and_when_it_has_stopped():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    ports, stopped = [], threading.Event()

    def on_ready(port):
        ports.append(port)
        ready.set()

    ready = threading.Event()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    server = ReadyServer(config, on_ready, stopped.set)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(60)
    assert httpx2.get(page_address("0.0.0.0", ports[0])).status_code == 204
    server.should_exit = True
    thread.join(60)
    assert stopped.is_set()


def test_serve_says_whether_a_key_is_needed(tmp_path, monkeypatch, capsys):
    store = str(tmp_path / "s.db")

    def serve(*arguments):
        monkeypatch.setattr(
            "backtalk.serve.server.serve_in_process",
            lambda *_, announce, **__: announce(8123),
        )
        assert main(["serve", "--store", store, "--port", "0", *arguments]) == 0
        return capsys.readouterr().err

    assert "No key is needed" in serve()
    assert "http://127.0.0.1:8123/inbox" in serve("--host", "0.0.0.0")
    assert "backtalk key add NAME --role admin" in serve("--host", "0.0.0.0")
    with Store(store) as opened:
        opened.api_keys.add("ada", "admin", project=None, actor="tests")
    assert "Sign in with a key" in serve()

"""Fixtures of a gateway and an upstream on free ports."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from backtalk.serve import Settings, create_app
from backtalk.store import Store
from tests.serve.upstream import Upstream, make_upstream


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on a thread for the duration of the block; yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


@dataclass
class Gateway:
    """Running gateway."""

    url: str
    settings: Settings
    app: Any
    http: httpx2.Client

    @property
    def store(self) -> Store:
        """Store, with all records written."""
        assert self.app.state.services.writer.drain(60)
        return Store(self.settings.store)

    def chat(self, text="Hello", **fields):
        """Request a completion of a user message."""
        body = {"model": "small", "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def feedback(self, *rows, **headers):
        """Post one row of feedback, or several as a list."""
        body = rows[0] if len(rows) == 1 else list(rows)
        http_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/v1/feedback", json=body, headers=http_headers)


@contextmanager
def running_gateway(settings: Settings) -> Iterator[Gateway]:
    """Run a gateway for the duration of the block."""
    app = create_app(settings)
    with serving(app) as url, httpx2.Client(base_url=url, timeout=60, verify=False) as http:
        yield Gateway(url, settings, app, http)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Running upstream, with its scripted replies and recorded requests."""
    app, control = make_upstream()
    with serving(app) as url:
        control.url = f"{url}/v1"
        yield control


@pytest.fixture
def settings(upstream: Upstream, tmp_path: Path) -> Settings:
    """Settings of a gateway without keys and with short timeouts."""
    return Settings(
        store=str(tmp_path / "feedback.db"),
        upstreams=({"base_url": upstream.url},),
        keys="never",
        retry={"backoff": 0.01, "read_timeout": 5.0, "connect_timeout": 1.0},
        acknowledge_after=60.0,
        shutdown_timeout=2.0,
    )


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Gateway]:
    """Running gateway in front of the upstream."""
    with running_gateway(settings) as running:
        yield running

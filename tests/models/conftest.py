"""Fixtures of the tests of models: tiny models, a loopback server, and no other network."""

from collections.abc import Iterator

import pytest

from backtalk.models import offline_mode
from tests.models.server import ChatServer, run_server


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forbid all addresses but loopback."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with offline_mode():
        yield


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with run_server() as running:
        yield running


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny Llama."""
    from tests.models import tiny

    return tiny.save(tmp_path_factory.mktemp("llama"))

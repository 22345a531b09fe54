"""What the tests of models share: tiny models, a server on loopback, and no other network."""

from collections.abc import Iterator

import pytest

from backtalk.models import offline_mode
from tests.models.server import ChatServer, serving


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test of this folder talks to anything but loopback."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with offline_mode():
        yield


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny Llama."""
    from tests.models import tiny

    return tiny.save(tmp_path_factory.mktemp("llama"))

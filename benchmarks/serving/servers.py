"""The processes that take part: an upstream, the gateway, LiteLLM's proxy."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil  # type: ignore[import-untyped]
import yaml

from backtalk.store import Store
from backtalk.store.api_keys import ApiKeys

ROOT = Path(__file__).parent.parent.parent
PEER = ROOT / "build" / "litellm"
"""The peer's own environment, made when it is first needed."""

PEER_VERSION = "1.106.2"
_START_SECONDS = 90.0


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    process: psutil.Popen
    key: str = "none"

    def cpu(self) -> float:
        """Return the CPU seconds of its processes so far."""
        return float(sum(sum(one.cpu_times()[:2]) for one in self._family()))

    def memory(self) -> int:
        """Return the bytes in memory of its processes."""
        return int(sum(one.memory_info().rss for one in self._family()))

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Return the processes among which it shares the work."""
        results = []
        for one in self.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just been killed
                if any(c.laddr.port == self.port for c in one.net_connections("tcp")):
                    results.append(one)
        return results

    def kill(self) -> None:
        """Kill its processes, without a warning."""
        for one in self._family():
            one.kill()
        self.process.wait()

    def end(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except psutil.TimeoutExpired:
            self.kill()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def start(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    key: str = "none",
    **environment: str,
) -> Server:
    """Start a process, which is to listen on a port."""
    with log.open("ab") as out:
        process = psutil.Popen(
            command,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
    return Server(name, port, process, key)


def wait_for(server: Server, path: str = "/health") -> None:
    """Wait until a server answers.

    Raises
    ------
    RuntimeError
        If it does not, or it ended.
    """
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        try:
            httpx2.get(f"http://127.0.0.1:{server.port}{path}", timeout=2.0)
        except httpx2.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{server.name} does not answer on port {server.port}; its log says why")


@contextmanager
def running(server: Server, path: str = "/health") -> Iterator[Server]:
    """Wait for a server, and end it after the block."""
    try:
        wait_for(server, path)
        yield server
    finally:
        server.end()


def upstream(folder: Path, share: float = 0.0) -> Server:
    """Start an upstream, a share of whose requests fail."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.upstream", str(port), str(share)]
    return start("upstream", command, port=port, log=folder / "upstream.log")


def make_key(store: str, role: str = "application") -> str:
    """Make a key in a store and return its secret."""
    with Store(store) as opened:
        _, secret = ApiKeys(opened.engine).add(
            f"load {role}", role, project=None, actor="benchmark"
        )
    return secret


def gateway(
    folder: Path,
    upstream_port: int,
    *,
    store: str,
    key: str,
    port: int | None = None,
    workers: int = 1,
    settings: dict[str, Any] | None = None,
) -> Server:
    """Start the gateway as a user does, with its defaults and a key."""
    port = free_port() if port is None else port
    file = folder / "serve.yaml"
    upstreams = [{"base_url": f"http://127.0.0.1:{upstream_port}/v1"}]
    fields = {"store": store, "upstreams": upstreams, "state": str(folder / "state")}
    file.write_text(yaml.safe_dump({**fields, **(settings or {})}), encoding="utf-8")
    command = [sys.executable, "-m", "backtalk", "serve", "--config", str(file)]
    command += ["--port", str(port), "--workers", str(workers)]
    return start("gateway", command, port=port, log=folder / "gateway.log", key=key)


def peer(folder: Path, upstream_port: int) -> Server:
    """Start LiteLLM's proxy with a key, one process, its log of requests in SQLite."""
    install_peer()
    shutil.copy(Path(__file__).parent / "peer_log.py", folder)
    params = {"api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **params}}
            for name in ("small", "slow")
        ],
        "litellm_settings": {"callbacks": ["peer_log.log"], "telemetry": False},
        "general_settings": {"master_key": "sk-peer"},
    }
    file = folder / "litellm.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = [str(PEER / "bin" / "litellm"), "--config", str(file), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--num_workers", "1"]
    return start(
        "LiteLLM",
        command,
        port=port,
        log=folder / "litellm.log",
        key="sk-peer",
        PEER_LOG=str(folder / "peer.db"),
        LITELLM_MODE="PRODUCTION",
        LITELLM_LOG="ERROR",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )


def install_peer() -> None:
    """Make the peer's environment, where there is none."""
    if (PEER / "bin" / "litellm").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
    wanted = f"litellm[proxy]=={PEER_VERSION}"
    subprocess.run([str(PEER / "bin" / "pip"), "install", "--quiet", wanted], check=True)

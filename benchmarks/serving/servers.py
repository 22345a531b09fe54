"""Server processes: the upstream, the gateway and LiteLLM's proxy."""

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

ROOT = Path(__file__).parent.parent.parent
PEER = ROOT / "build" / "litellm"
"""Virtual environment of the peer, created on first use."""

PEER_VERSION = "1.106.2"
_START_SECONDS = 90.0


@dataclass(frozen=True)
class Server:
    """Running server."""

    name: str
    port: int
    process: psutil.Popen
    key: str = "none"

    def cpu(self) -> float:
        """Return the CPU seconds of its processes."""
        return float(sum(sum(process.cpu_times()[:2]) for process in self._family()))

    def memory(self) -> int:
        """Return the resident memory of its processes in bytes."""
        return int(sum(process.memory_info().rss for process in self._family()))

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        results = []
        for process in self.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just died
                if any(c.laddr.port == self.port for c in process.net_connections("tcp")):
                    results.append(process)
        return results

    def kill(self) -> None:
        """Kill its processes."""
        for process in self._family():
            process.kill()
        self.process.wait()

    def end(self) -> None:
        """Terminate it, and wait until it has stopped."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except psutil.TimeoutExpired:
            self.kill()


def free_port() -> int:
    """Return an unused port."""
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
    """Start a process that listens on a port.

    Parameters
    ----------
    name : str
        Name of the server.
    command : sequence of str
        Command and its arguments.
    port : int
        Port that the process listens on.
    log : Path
        File for its output.
    key : str, default "none"
        API key of the server.
    **environment : str
        Additional environment variables.
    """
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
    """Wait until a server responds.

    Raises
    ------
    RuntimeError
        If it does not respond in time, or has stopped.
    """
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        try:
            httpx2.get(f"http://127.0.0.1:{server.port}{path}", timeout=2.0)
        except httpx2.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{server.name} does not respond on port {server.port}; see its log")


@contextmanager
def running(server: Server, path: str = "/health") -> Iterator[Server]:
    """Wait for a server, and stop it after the block."""
    try:
        wait_for(server, path)
        yield server
    finally:
        server.end()


def upstream(folder: Path, share: float = 0.0) -> Server:
    """Start an upstream that fails for a share of the requests."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.upstream", str(port), str(share)]
    return start("upstream", command, port=port, log=folder / "upstream.log")


def make_key(store: str, role: str = "application") -> str:
    """Create a key in a store and return its secret."""
    with Store(store) as opened:
        _, secret = opened.api_keys.add(f"load {role}", role, project=None, actor="benchmark")
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
    **environment: str,
) -> Server:
    """Start the gateway as a user would, with default settings and a key.

    Parameters
    ----------
    folder : Path
        Folder of its files.
    upstream_port : int
        Port of the upstream.
    store : str
        Location of the store.
    key : str
        API key for the load.
    port : int, optional
        Port to listen on. Default: an unused port.
    workers : int, default 1
        Number of worker processes.
    settings : dict, optional
        Settings that differ from the defaults.
    **environment : str
        Additional environment variables.
    """
    port = free_port() if port is None else port
    file = folder / "serve.yaml"
    upstreams = [{"base_url": f"http://127.0.0.1:{upstream_port}/v1"}]
    fields = {"store": store, "upstreams": upstreams, "state": str(folder / "state")}
    file.write_text(yaml.safe_dump({**fields, **(settings or {})}), encoding="utf-8")
    command = [sys.executable, "-m", "backtalk", "serve", "--config", str(file)]
    command += ["--port", str(port), "--workers", str(workers)]
    return start("gateway", command, port=port, log=folder / "gateway.log", key=key, **environment)


def peer(folder: Path, upstream_port: int) -> Server:
    """Start LiteLLM's proxy with a key, one process, and a request log in SQLite."""
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
    """Create the peer's environment if it does not exist."""
    if (PEER / "bin" / "litellm").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
    requirement = f"litellm[proxy]=={PEER_VERSION}"
    subprocess.run([str(PEER / "bin" / "pip"), "install", "--quiet", requirement], check=True)

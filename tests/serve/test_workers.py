"""Worker processes of a gateway: a killed one is replaced, and none outlives its parent."""

import subprocess
import sys
import time

import httpx2
import psutil
import pytest
from benchmarks.serving.servers import Server, free_port


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.fixture
def gateway(tmp_path):
    """Gateway with two worker processes."""
    port = free_port()
    command = [
        sys.executable, "-m", "backtalk", "serve", "--upstream", "http://127.0.0.1:9/v1",
        "--port", str(port), "--workers", "2", "--store", str(tmp_path / "s.db"),
    ]  # fmt: skip
    server = Server("gateway", port, psutil.Popen(command, stderr=subprocess.DEVNULL))
    wait_until(lambda: len(server.workers()) == 2)
    yield server
    if server.process.is_running():
        server.kill()


def test_a_killed_worker_is_replaced_and_none_outlives_its_parent(gateway):
    first = gateway.workers()
    first[0].kill()
    wait_until(lambda: len({*gateway.workers()} - {*first}) == 1)
    assert httpx2.get(f"http://127.0.0.1:{gateway.port}/health").status_code == 200
    workers = gateway.workers()
    assert len(workers) == 2
    gateway.process.kill()
    gateway.process.wait()
    wait_until(lambda: not any(worker.is_running() for worker in workers))


def test_workers_that_cannot_start_are_reported():
    program = """
from backtalk.serve.observability.logs import log_config
from backtalk.serve.workers import serve_with_workers
if __name__ == "__main__":
    options = {"app": "backtalk.serve.nowhere:app", "log_config": log_config()}
    serve_with_workers(options, host="127.0.0.1", port=0, workers=2, shutdown_timeout=5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert "cannot start" in done.stderr
    assert "Could not import module" in done.stderr

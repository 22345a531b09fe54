"""Worker processes behind one address: dead ones are replaced, none outlives its parent."""

import subprocess
import sys
import time

import httpx2
import psutil
import pytest
from benchmarks.serving.servers import Server, free_port


def until(met, seconds=60):
    end = time.monotonic() + seconds
    while not met() and time.monotonic() < end:
        time.sleep(0.05)
    assert met()


@pytest.fixture
def pair(tmp_path):
    """Gateway with two worker processes."""
    port = free_port()
    command = [
        sys.executable, "-m", "backtalk", "serve", "--upstream", "http://127.0.0.1:9/v1",
        "--port", str(port), "--workers", "2", "--store", str(tmp_path / "s.db"),
    ]  # fmt: skip
    server = Server("gateway", port, psutil.Popen(command, stderr=subprocess.DEVNULL))
    until(lambda: len(server.workers()) == 2)
    yield server
    if server.process.is_running():
        server.kill()


def test_a_killed_worker_is_replaced_and_none_outlives_its_parent(pair):
    first = pair.workers()
    first[0].kill()
    until(lambda: len({*pair.workers()} - {*first}) == 1)
    assert httpx2.get(f"http://127.0.0.1:{pair.port}/health").status_code == 200
    workers = pair.workers()
    assert len(workers) == 2
    pair.process.kill()
    pair.process.wait()
    until(lambda: not any(worker.is_running() for worker in workers))


def test_workers_that_cannot_start_are_reported():
    program = """
from backtalk.serve.observability.logs import log_config
from backtalk.serve.workers import serve_with_workers
if __name__ == "__main__":
    options = {"app": "backtalk.serve.nowhere:app", "log_config": log_config()}
    serve_with_workers(options, host="127.0.0.1", port=0, workers=2, patience=5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert "cannot start" in done.stderr
    assert "Could not import module" in done.stderr

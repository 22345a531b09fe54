"""``backtalk learn --watch`` and ``backtalk jobs``, called as the shell calls them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from backtalk.cli import main
from backtalk.learn.background import WatchSpec
from tests.learn.background import project

LEARN = ("learn", "best-of-n", "-o", "n=2", "--watch", "--every", "20")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BACKTALK")]:
        monkeypatch.delenv(name)
    with project("backtalk.db") as opened:
        yield opened


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_what_is_due_is_learned_once_and_listed(store, run):
    assert "There are no jobs" in run("jobs")[1]
    code, out, err = run(*LEARN, "--once", "--name", "chooser")
    assert (code, out) == (0, "")
    assert "Round" in err
    assert run(*LEARN, "--once")[0] == 0
    code, out, _ = run("jobs")
    assert out.count("best-of-n") == 1
    (job,) = json.loads(run("jobs", "--json")[1])
    assert (job["state"], job["tries"], job["body"]["watch"]["name"]) == ("done", 1, "chooser")
    assert job["result"]["policy"][:8] in out
    assert "chooser" in run("status")[1]


def test_a_failed_job_is_listed_with_its_error_and_tried_again(store, run):
    watch = WatchSpec(method="best-of-n", options={"n": "2"})
    store.jobs.put(watch.kind, "poison", "{broken")
    term = store.leases.acquire(watch.kind, "ada", 60)
    store.jobs.take(watch.kind, term=term)
    store.jobs.fail("poison", "It makes no sense", term=term)
    assert "It makes no sense" in run("jobs")[1]
    assert run("jobs", "--retry", "poi")[0] == 0
    assert json.loads(run("jobs", "--json")[1])[0]["state"] == "waiting"
    code, _, err = run("jobs", "--retry", "poison")
    assert code == 1
    assert "has not failed" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rounds", "2"), "Give one of them"),
        (("--promote",), "--judge"),
        (("--policy", "nobody"), "no policy 'nobody'"),
        (("--experiment", "smiles"), "experiment"),
    ],
)
def test_a_watch_that_could_only_fail_is_refused(store, run, arguments, said):
    code, _, err = run(*LEARN, "--once", *arguments)
    assert code == 1
    assert said in err


def test_what_only_a_watch_does_is_refused_without_one(store, run):
    code, _, err = run("learn", "best-of-n", "--promote")
    assert code == 1
    assert "--promote does nothing without --watch" in err
    assert store.jobs.list() == []


def test_a_signal_ends_a_watch_cleanly(store):
    command = [sys.executable, "-m", "backtalk", *LEARN]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while [job.state for job in store.jobs.list()] != ["done"] and time.monotonic() < until:
        time.sleep(0.05)
    watching.send_signal(signal.SIGTERM)
    _, said = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert "is done" in said
    (job,) = store.jobs.list()
    assert store.leases.find(job.kind) is None

"""``backtalk watch`` and ``backtalk job``, called as the shell calls them."""

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

WATCH = ("watch", "best-of-n", "-o", "n=2", "--every", "20")


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
    assert "There are no jobs" in run("job", "list")[1]
    code, out, err = run(*WATCH, "--once", "--name", "chooser")
    assert (code, out) == (0, "")
    assert "Round" in err
    assert run(*WATCH, "--once")[0] == 0
    code, out, _ = run("job", "list")
    assert out.count("best-of-n") == 1
    (job,) = json.loads(run("job", "list", "--json")[1])
    assert (job["state"], job["attempts"], job["body"]["watch"]["name"]) == ("done", 1, "chooser")
    assert job["result"]["policy"][:8] in out
    assert "chooser" in run("status")[1]


def test_a_failed_job_is_listed_with_its_error_and_tried_again(store, run):
    watch = WatchSpec(method="best-of-n", options={"n": "2"})
    store.jobs.put(watch.kind, "poison", "{broken")
    term = store.leases.acquire(watch.kind, "ada", 60)
    store.jobs.claim(watch.kind, term=term)
    store.jobs.fail("poison", "It makes no sense", term=term)
    assert "It makes no sense" in run("job", "list")[1]
    assert run("job", "retry", "poi")[0] == 0
    assert json.loads(run("job", "list", "--json")[1])[0]["state"] == "waiting"
    code, _, err = run("job", "retry", "poison")
    assert code == 1
    assert "has not failed" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--promote",), "--judge"),
        (("--policy", "nobody"), "no policy 'nobody'"),
        (("--experiment", "smiles"), "experiment"),
        (("--guard", "true-utility:safe"), "--guard has no effect"),
        (("--limit", "5"), "--limit has no effect"),
        (("--actor", "ada"), "--actor has no effect"),
        (("--max-money", "5"), "--prices"),
    ],
)
def test_a_watch_that_could_only_fail_is_refused(store, run, arguments, words):
    code, _, err = run(*WATCH, "--once", *arguments)
    assert code == 1
    assert words in err


def test_an_option_of_watch_is_no_option_of_learn(store, run):
    code, _, err = run("learn", "best-of-n", "--promote")
    assert code == 2
    assert "No such option" in err
    assert store.jobs.list() == []


def test_a_signal_ends_a_watch_cleanly(store):
    command = [sys.executable, "-m", "backtalk", *WATCH]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while [job.state for job in store.jobs.list()] != ["done"] and time.monotonic() < until:
        time.sleep(0.05)
    watching.send_signal(signal.SIGTERM)
    _, err = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert "is complete" in err
    (job,) = store.jobs.list()
    assert store.leases.find(job.kind) is None

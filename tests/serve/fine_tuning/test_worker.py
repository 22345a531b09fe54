"""Worker of fine-tuning jobs: outages of the store, and leases that are lost."""

import time

import pytest
from sqlalchemy.exc import OperationalError

from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.serve.fine_tuning import worker as worker_module
from backtalk.serve.fine_tuning.holders import machine_lease, new_holder
from backtalk.serve.fine_tuning.job import KIND, JobProgress, JobSpec, to_openai
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.fine_tuning.training import JobRun
from backtalk.serve.fine_tuning.worker import FineTuningWorker
from backtalk.store import Store
from backtalk.store.availability import StoreUnavailable
from backtalk.store.jobs import JobQueue
from backtalk.store.leases import Leases

ID = "ftjob-btOne"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Store with a queued job, for a worker that does not wait long."""
    monkeypatch.setattr(worker_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(worker_module, "_MAX_RECONNECT_SECONDS", 0.01)
    with Store(tmp_path / "feedback.db") as opened:
        base = save_policy(opened, Policy(model=NamedSpec(name="small")))
        spec = JobSpec(
            model="small", base=base, training_file="store:default", seed=1, model_id="bt00000000"
        )
        opened.jobs.put(KIND, ID, spec.to_json())
        yield opened


def make_worker(store, *, last="succeeded"):
    """Return a worker that stops after the report of a job's end."""
    worker = FineTuningWorker(
        store,
        FineTuningSettings(),
        report=lambda message: worker.stop() if last in message else None,
    )
    return worker


def unavailable():
    return OperationalError("select 1", {}, OSError("no connection"))


def fail_first(monkeypatch, owner, name, count=3):
    """Let the first calls of a method fail as they do while the store is unavailable."""
    original = getattr(owner, name)
    calls = []

    def call(*args, **kwargs):
        calls.append(name)
        if len(calls) <= count:
            raise unavailable()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def succeed(*_):
    return JobProgress(status="succeeded")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Store, "projects_with_due_jobs"),
        (Leases, "acquire"),
        (Leases, "release"),
        (JobQueue, "claim"),
        (JobQueue, "checkpoint"),
        (JobQueue, "complete"),
    ],
)
def test_the_worker_survives_an_outage_of_the_store(store, monkeypatch, owner, name):
    monkeypatch.setattr(JobRun, "run", succeed)
    fail_first(monkeypatch, owner, name)
    if name == "checkpoint":
        monkeypatch.setattr(worker_module, "_RETRY_SECONDS", 0.0)
    assert make_worker(store).run()
    assert store.jobs.get(ID).state == "done"


def test_the_worker_survives_an_outage_while_it_fails_a_job(store, monkeypatch):
    fail_first(monkeypatch, JobQueue, "fail")
    assert make_worker(store, last="failed").run()
    job = store.jobs.get(ID)
    assert (job.state, job.attempts) == ("failed", 1)


def test_an_attempt_that_an_outage_ends_does_not_count(store, monkeypatch):
    attempts = []
    get = JobQueue.get

    def interrupted(*args):
        attempts.append(args)
        if len(attempts) <= 9:
            fail_first(monkeypatch, JobQueue, "get", 1)
            raise unavailable()
        return succeed()

    monkeypatch.setattr(JobRun, "run", interrupted)
    assert make_worker(store).run()
    job = get(store.jobs, ID)
    assert (job.state, job.attempts, len(attempts)) == ("done", 1, 10)


def test_an_outage_longer_than_the_idle_time_is_an_error(store, monkeypatch):
    fail_first(monkeypatch, JobQueue, "claim", 9)
    with pytest.raises(StoreUnavailable, match="unavailable"):
        make_worker(store).run(idle_seconds=0)


def test_a_stopped_job_waits_in_the_queue(store, monkeypatch):
    worker = make_worker(store)

    def run(own, progress, task):
        own.save_progress(progress.changed(estimated_finish=time.time() + 600))
        worker.stop()
        task.progress("training", 0, 1)

    monkeypatch.setattr(JobRun, "run", run)
    assert worker.run()
    shown = to_openai(store.jobs.get(ID), "default")
    assert (shown["status"], shown["estimated_finish"]) == ("queued", None)


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_worker_that_lost_the_lease_of_its_machine_leads_again_or_ends(
    store, monkeypatch, is_taken
):
    monkeypatch.setattr(worker_module, "_LEASE_SECONDS", 1.5)
    worker = make_worker(store)
    attempts = []

    def run(_, progress, task):
        attempts.append(progress)
        if len(attempts) == 1:
            lease = store.leases.find(machine_lease())
            store.leases.release(lease.name, lease.holder)
            if is_taken:
                store.leases.acquire(lease.name, new_holder(), 600)
            while True:
                task.progress("training", 0, 1)
                time.sleep(0.01)
        return succeed()

    monkeypatch.setattr(JobRun, "run", run)
    assert worker.run() is not is_taken
    job = store.jobs.get(ID)
    expected = ("waiting", 0) if is_taken else ("done", 1)
    assert (job.state, job.attempts) == expected

"""`backtalk job` lists fine-tuning jobs and runs those that are queued."""

import json

import pytest

from backtalk.cli import main
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.serve.fine_tuning.job import KIND, JobError, JobProgress, JobSpec
from backtalk.store import Store


@pytest.fixture
def location(tmp_path):
    """Store with a queued job whose file has been deleted, and one that succeeded."""
    path = str(tmp_path / "feedback.db")
    with Store(path) as store:
        base = save_policy(store, Policy(model=NamedSpec(name="small")))
        for id_, name in (("ftjob-btQueued", "btqueued00"), ("ftjob-btDone", "btdone0000")):
            spec = JobSpec(
                model="small", base=base, training_file="file-btNone", seed=1, model_id=name
            )
            store.jobs.put(KIND, id_, spec.to_json())
        running = JobProgress(status="running", step=3, steps=9)
        store.jobs.prepare("ftjob-btQueued", running.to_json())
        term = store.leases.acquire(KIND, "ada", 30)
        done = JobProgress(status="succeeded", fine_tuned_model="ft:small:default::btdone0000")
        store.jobs.complete("ftjob-btDone", done.to_json(), term=term)
        store.leases.release(KIND, "ada")
    return path


def test_jobs_are_listed_with_their_steps_and_models(location, capsys):
    assert main(["job", "list", "--store", location]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "fine-tune small sft" in text
    assert "running 3/9" in text
    assert "ft:small:default::btdone0000" in text
    assert main(["job", "list", "--json", "--store", location]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [job["body"]["model"] for job in listed] == ["small", "small"]


def test_queued_jobs_run_and_a_failed_one_can_be_retried(location):
    assert main(["job", "run", "--once", "--store", location]) == 0
    with Store(location) as store:
        job = store.jobs.get("ftjob-btQueued")
        assert job.state == "failed"
        error = JobProgress.model_validate_json(job.result).error
        assert error == JobError(
            code="invalid_training_file", message=job.error, param="training_file"
        )
        assert "file-btNone" in job.error
        events = store.events.entries("fine-tune ftjob-btQueued")
        assert json.loads(events[-1].body)["level"] == "error"
    assert main(["job", "retry", "ftjob-btQueued", "--store", location]) == 0
    with Store(location) as store:
        assert store.projects_with_due_jobs(KIND) == ["default"]


def test_one_process_runs_the_jobs_of_a_machine(location, capsys):
    from backtalk.serve.fine_tuning.holders import acquire, machine_lease, new_holder

    with Store(location) as store:
        other = new_holder()
        assert acquire(store.leases, machine_lease(), other, 30) == 1
        assert main(["job", "run", "--once", "--store", location]) == 1
        assert "Another process" in capsys.readouterr().err
        host = other.partition(":")[0]
        store.leases.release(machine_lease(), other)
        assert acquire(store.leases, machine_lease(), f"{host}:4194305:dead", 30) == 2
        assert acquire(store.leases, machine_lease(), f"elsewhere:{1}:x", 30) == 3
        assert acquire(store.leases, machine_lease(), new_holder(), 30) is None

"""Job queue: each job is done once, by the holder of the lease."""

from datetime import timedelta

import pytest

from backtalk.errors import BacktalkError, NotFound
from backtalk.store.jobs import JobQueue, LeaseLost, projects_with_due_jobs
from backtalk.store.leases import Leases
from tests.store.test_leases import Clock

KIND = "learn"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jobs(store, clock):
    return JobQueue(store.engine, store.project_id, clock=clock)


@pytest.fixture
def leases(store, clock):
    return Leases(store.engine, store.project_id, clock=clock)


@pytest.fixture
def term(leases):
    return leases.acquire(KIND, "ada", 1_000)


def test_a_job_is_put_once(jobs):
    assert jobs.put(KIND, "a", "first")
    assert not jobs.put(KIND, "a", "second")
    assert [job.body for job in jobs.list()] == ["first"]


def test_jobs_are_claimed_in_order_until_they_are_done(jobs, term):
    jobs.put(KIND, "a", "")
    jobs.put(KIND, "b", "")
    assert jobs.claim(KIND, term=term).id == "a"
    jobs.complete("a", "well", term=term)
    assert jobs.claim(KIND, term=term).id == "b"
    jobs.complete("b", "well", term=term)
    assert jobs.claim(KIND, term=term) is None
    assert [(job.state, job.result) for job in jobs.list()] == [("done", "well")] * 2


def test_a_job_is_not_claimed_before_its_time(jobs, term, clock):
    jobs.put(KIND, "a", "", not_before=clock.time + timedelta(seconds=5))
    assert jobs.claim(KIND, term=term) is None
    clock.sleep(5)
    assert jobs.claim(KIND, term=term).id == "a"


def test_only_jobs_of_the_kind_are_claimed(jobs, term):
    jobs.put("other", "a", "")
    assert jobs.claim(KIND, term=term) is None


def test_a_failed_attempt_is_retried_later_and_blocks_no_other_job(jobs, term, clock):
    jobs.put(KIND, "a", "")
    jobs.put(KIND, "b", "")
    jobs.claim(KIND, term=term)
    jobs.fail("a", "out of memory", term=term, retry_at=clock.time + timedelta(seconds=5))
    assert jobs.claim(KIND, term=term).id == "b"
    jobs.complete("b", "", term=term)
    clock.sleep(5)
    job = jobs.claim(KIND, term=term)
    assert (job.id, job.attempts, job.error) == ("a", 2, "out of memory")


def test_a_failed_job_is_claimed_only_after_a_retry(jobs, term):
    jobs.put(KIND, "a", "")
    jobs.claim(KIND, term=term)
    jobs.fail("a", "out of memory", term=term)
    assert jobs.claim(KIND, term=term) is None
    assert jobs.get("a").state == "failed"
    assert jobs.retry("a").attempts == 0
    assert jobs.claim(KIND, term=term).id == "a"


def test_only_a_failed_job_can_be_retried(jobs, term):
    jobs.put(KIND, "a", "")
    with pytest.raises(BacktalkError, match="it is waiting"):
        jobs.retry("a")


def test_writes_without_the_lease_are_refused(jobs, leases, term, clock):
    jobs.put(KIND, "a", "")
    job = jobs.claim(KIND, term=term)
    clock.sleep(1_001)
    later = leases.acquire(KIND, "bo", 1_000)
    for write in (
        lambda: jobs.claim(KIND, term=term),
        lambda: jobs.checkpoint("a", "x", term=term),
        lambda: jobs.complete("a", "x", term=term),
        lambda: jobs.fail("a", "x", term=term),
        lambda: jobs.release(job, term=term),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert jobs.get("a").state == "waiting"
    assert jobs.claim(KIND, term=later).attempts == 2


def test_a_checkpoint_is_read_by_the_next_holder(jobs, leases, term, clock):
    jobs.put(KIND, "a", "")
    jobs.claim(KIND, term=term)
    jobs.checkpoint("a", "half", term=term)
    clock.sleep(1_001)
    assert jobs.claim(KIND, term=leases.acquire(KIND, "bo", 10)).result == "half"


def test_a_released_job_does_not_count_as_an_attempt(jobs, term):
    jobs.put(KIND, "a", "")
    jobs.release(jobs.claim(KIND, term=term), term=term)
    assert jobs.claim(KIND, term=term).attempts == 1


def test_a_job_is_found_by_a_prefix_of_its_id(jobs):
    jobs.put(KIND, "abc", "")
    jobs.put(KIND, "abd", "")
    assert jobs.get("abc").id == "abc"
    with pytest.raises(NotFound, match="several jobs"):
        jobs.get("ab")
    with pytest.raises(NotFound, match="no job 'x'"):
        jobs.get("x")


def test_jobs_belong_to_one_project(store):
    other = store.in_project("other")
    assert store.jobs.put(KIND, "a", "")
    assert other.jobs.put(KIND, "a", "")
    assert len(other.jobs.list()) == 1


def test_a_paused_job_waits_until_it_is_resumed(jobs, term, clock):
    jobs.put(KIND, "a", "")
    jobs.claim(KIND, term=term)
    assert jobs.pause("a").state == "paused"
    assert jobs.claim(KIND, term=term) is None
    jobs.complete("a", "by the process that has not noticed yet", term=term)
    assert (jobs.get("a").state, jobs.get("a").result) == ("paused", None)
    clock.sleep(9)
    resumed = jobs.resume("a")
    assert (resumed.state, resumed.attempts, resumed.not_before) == ("waiting", 0, clock.time)
    assert jobs.claim(KIND, term=term).id == "a"


@pytest.mark.parametrize("pause_first", [True, False])
def test_a_cancelled_job_has_ended(jobs, term, clock, pause_first):
    jobs.put(KIND, "a", "")
    if pause_first:
        jobs.pause("a")
    job = jobs.cancel("a")
    assert (job.state, job.ended) == ("cancelled", clock.time)
    assert jobs.claim(KIND, term=term) is None
    for change in (jobs.cancel, jobs.pause, jobs.resume, jobs.retry):
        with pytest.raises(BacktalkError, match="cancelled"):
            change("a")


def test_only_a_job_without_an_attempt_is_prepared_or_rejected(jobs, term, clock):
    jobs.put(KIND, "a", "", not_before=clock.time + timedelta(hours=1))
    assert jobs.prepare("a", "checked")
    job = jobs.claim(KIND, term=term)
    assert (job.id, job.result) == ("a", "checked")
    assert not jobs.prepare("a", "too late")
    assert not jobs.reject("a", "too late", result="too late")
    jobs.put(KIND, "b", "")
    assert jobs.reject("b", "no data", result="invalid")
    job = jobs.get("b")
    assert (job.state, job.error, job.result, job.ended) == (
        "failed",
        "no data",
        "invalid",
        clock.time,
    )
    assert not jobs.prepare("b", "too late")
    assert jobs.get("a").result == "checked"


def test_projects_with_due_jobs_are_found(store, clock):
    for name, kind, seconds in (("b", KIND, 0), ("a", KIND, 5), ("c", "other", 0)):
        project = store.in_project(name)
        queue = JobQueue(store.engine, project.project_id, clock=clock)
        queue.put(kind, name, "", not_before=clock.time + timedelta(seconds=seconds))
    assert projects_with_due_jobs(store.engine, KIND, clock=clock) == ["b"]
    clock.sleep(5)
    assert projects_with_due_jobs(store.engine, KIND, clock=clock) == ["a", "b"]
    JobQueue(store.engine, store.in_project("b").project_id, clock=clock).pause("b")
    assert projects_with_due_jobs(store.engine, KIND, clock=clock) == ["a"]

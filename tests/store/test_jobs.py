"""The queue of jobs: each once, by who holds the lease."""

from datetime import timedelta

import pytest

from backtalk.errors import BacktalkError, NotFound
from backtalk.store.jobs import JobQueue, LeaseLost
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


def test_jobs_are_taken_in_order_until_they_are_done(jobs, term):
    jobs.put(KIND, "a", "")
    jobs.put(KIND, "b", "")
    assert jobs.claim(KIND, term=term).id == "a"
    jobs.complete("a", "well", term=term)
    assert jobs.claim(KIND, term=term).id == "b"
    jobs.complete("b", "well", term=term)
    assert jobs.claim(KIND, term=term) is None
    assert [(job.state, job.result) for job in jobs.list()] == [("done", "well")] * 2


def test_a_job_waits_for_its_time(jobs, term, clock):
    jobs.put(KIND, "a", "", not_before=clock.time + timedelta(seconds=5))
    assert jobs.claim(KIND, term=term) is None
    clock.sleep(5)
    assert jobs.claim(KIND, term=term).id == "a"


def test_only_jobs_of_the_kind_are_taken(jobs, term):
    jobs.put("other", "a", "")
    assert jobs.claim(KIND, term=term) is None


def test_a_try_that_failed_is_repeated_later_and_the_others_go_on(jobs, term, clock):
    jobs.put(KIND, "a", "")
    jobs.put(KIND, "b", "")
    jobs.claim(KIND, term=term)
    jobs.fail("a", "no luck", term=term, retry_at=clock.time + timedelta(seconds=5))
    assert jobs.claim(KIND, term=term).id == "b"
    jobs.complete("b", "", term=term)
    clock.sleep(5)
    job = jobs.claim(KIND, term=term)
    assert (job.id, job.attempts, job.error) == ("a", 2, "no luck")


def test_a_job_that_failed_for_good_is_not_taken_until_somebody_says_so(jobs, term):
    jobs.put(KIND, "a", "")
    jobs.claim(KIND, term=term)
    jobs.fail("a", "no luck", term=term)
    assert jobs.claim(KIND, term=term) is None
    assert jobs.get("a").state == "failed"
    assert jobs.retry("a").attempts == 0
    assert jobs.claim(KIND, term=term).id == "a"


def test_a_job_that_has_not_failed_is_not_tried_again(jobs, term):
    jobs.put(KIND, "a", "")
    with pytest.raises(BacktalkError, match="it is waiting"):
        jobs.retry("a")


def test_who_holds_the_lease_no_more_can_write_nothing(jobs, leases, term, clock):
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


def test_what_was_noted_is_there_for_the_next(jobs, leases, term, clock):
    jobs.put(KIND, "a", "")
    jobs.claim(KIND, term=term)
    jobs.checkpoint("a", "half", term=term)
    clock.sleep(1_001)
    assert jobs.claim(KIND, term=leases.acquire(KIND, "bo", 10)).result == "half"


def test_a_job_that_was_given_back_was_not_tried(jobs, term):
    jobs.put(KIND, "a", "")
    jobs.release(jobs.claim(KIND, term=term), term=term)
    assert jobs.claim(KIND, term=term).attempts == 1


def test_a_job_is_found_by_the_beginning_of_its_id(jobs):
    jobs.put(KIND, "abc", "")
    jobs.put(KIND, "abd", "")
    assert jobs.get("abc").id == "abc"
    with pytest.raises(NotFound, match="several jobs"):
        jobs.get("ab")
    with pytest.raises(NotFound, match="no job 'x'"):
        jobs.get("x")


def test_projects_have_jobs_of_their_own(store):
    other = store.in_project("other")
    assert store.jobs.put(KIND, "a", "")
    assert other.jobs.put(KIND, "a", "")
    assert len(other.jobs.list()) == 1

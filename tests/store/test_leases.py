"""Leases: one holder at a time, and terms that grow."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from backtalk.store import Store
from backtalk.store.engine import writing
from backtalk.store.leases import Leases


class Clock:
    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.time

    def sleep(self, seconds):
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(store, clock):
    return Leases(store.engine, store.project_id, clock=clock)


def test_only_one_holds_a_lease(leases):
    assert leases.acquire("learn", "ada", 10) == 1
    assert leases.acquire("learn", "bo", 10) is None
    assert leases.acquire("other", "bo", 10) == 1
    assert leases.find("learn").holder == "ada"


def test_a_holder_that_asks_again_keeps_its_term_and_gets_more_time(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(9)
    assert leases.acquire("learn", "ada", 10) == 1
    clock.sleep(9)
    assert leases.acquire("learn", "bo", 10) is None


def test_a_lease_that_ran_out_goes_to_the_next_at_a_higher_term(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(10)
    assert leases.find("learn") is None
    assert leases.acquire("learn", "bo", 10) == 2
    assert not leases.renew("learn", "ada", 10)
    assert not leases.release("learn", "ada")
    assert leases.find("learn").holder == "bo"


def test_a_lease_that_was_renewed_does_not_run_out(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(8)
    assert leases.renew("learn", "ada", 10)
    clock.sleep(8)
    assert leases.acquire("learn", "bo", 10) is None


def test_a_lease_that_ran_out_cannot_be_renewed_even_if_nobody_took_it(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(11)
    assert not leases.renew("learn", "ada", 10)
    assert leases.acquire("learn", "ada", 10) == 2


def test_a_lease_that_was_released_is_free_at_once(leases):
    leases.acquire("learn", "ada", 10)
    assert leases.release("learn", "ada")
    assert leases.find("learn") is None
    assert leases.acquire("learn", "ada", 10) == 2


def test_a_term_that_is_over_is_told_in_the_transaction_that_writes(leases, store, clock):
    old = leases.acquire("learn", "ada", 10)
    clock.sleep(11)
    new = leases.acquire("learn", "bo", 10)
    with writing(store.engine) as connection:
        assert not leases.holds(connection, "learn", old)
        assert leases.holds(connection, "learn", new)
        assert not leases.holds(connection, "unknown", 1)


def test_projects_have_leases_of_their_own(store):
    other = store.in_project("other")
    assert store.leases.acquire("learn", "ada", 10) == 1
    assert other.leases.acquire("learn", "bo", 10) == 1


def test_of_many_at_once_one_gets_the_lease(location):
    with Store(location):
        pass
    start, result = threading.Barrier(6), []

    def take(holder):
        with Store(location) as own:
            start.wait()
            result.append(own.leases.acquire("learn", holder, 60))

    threads = [threading.Thread(target=take, args=(f"h{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result, key=str) == [1, *[None] * 5]

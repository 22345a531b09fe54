"""Leases: one holder at a time, and increasing terms."""

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


def test_a_lease_has_one_holder(leases):
    assert leases.acquire("learn", "ada", 10) == 1
    assert leases.acquire("learn", "bo", 10) is None
    assert leases.acquire("other", "bo", 10) == 1
    assert leases.find("learn").holder == "ada"


def test_acquiring_a_held_lease_again_extends_it_in_the_same_term(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(9)
    assert leases.acquire("learn", "ada", 10) == 1
    clock.sleep(9)
    assert leases.acquire("learn", "bo", 10) is None


def test_an_expired_lease_is_acquired_by_another_holder_in_a_new_term(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(10)
    assert leases.find("learn") is None
    assert leases.acquire("learn", "bo", 10) == 2
    assert not leases.renew("learn", "ada", 10)
    assert not leases.release("learn", "ada")
    assert leases.find("learn").holder == "bo"


def test_a_renewed_lease_does_not_expire(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(8)
    assert leases.renew("learn", "ada", 10)
    clock.sleep(8)
    assert leases.acquire("learn", "bo", 10) is None


def test_an_expired_lease_cannot_be_renewed_even_if_it_is_free(leases, clock):
    leases.acquire("learn", "ada", 10)
    clock.sleep(11)
    assert not leases.renew("learn", "ada", 10)
    assert leases.acquire("learn", "ada", 10) == 2


def test_a_released_lease_is_free_immediately(leases):
    leases.acquire("learn", "ada", 10)
    assert leases.release("learn", "ada")
    assert leases.find("learn") is None
    assert leases.acquire("learn", "ada", 10) == 2


def test_a_write_transaction_detects_an_ended_term(leases, store, clock):
    old = leases.acquire("learn", "ada", 10)
    clock.sleep(11)
    new = leases.acquire("learn", "bo", 10)
    with writing(store.engine) as connection:
        assert not leases.holds(connection, "learn", old)
        assert leases.holds(connection, "learn", new)
        assert not leases.holds(connection, "unknown", 1)


def test_leases_belong_to_one_project(store):
    other = store.in_project("other")
    assert store.leases.acquire("learn", "ada", 10) == 1
    assert other.leases.acquire("learn", "bo", 10) == 1


def test_one_of_many_concurrent_holders_gets_the_lease(location):
    with Store(location):
        pass
    start, terms = threading.Barrier(6), []

    def acquire(holder):
        with Store(location) as opened:
            start.wait()
            terms.append(opened.leases.acquire("learn", holder, 60))

    threads = [threading.Thread(target=acquire, args=(f"h{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(terms, key=str) == [1, *[None] * 5]

"""Who judges what: never more people than asked, nobody twice, in the order that is promised."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from backtalk.annotation.assignments import LEASE, Assignments
from backtalk.annotation.tasks import (
    Task,
    TaskFilter,
    add_task,
    close_task,
    list_tasks,
    open_task,
    read_task,
)
from backtalk.errors import Conflict, NotFound, RecordError
from backtalk.feedback import Annotator, Interaction, Label, Preference
from backtalk.store import Store

COMPARE = Task(name="better", kind="compare")


class Clock:
    def __init__(self):
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.at += timedelta(seconds=1)
        return self.at

    def pass_(self, time):
        self.at += time


def interactions(number, *, answers=2, **fields):
    said = [f"answer {i}" for i in range(answers)]
    made = [Interaction.of(f"prompt {i}", *said) for i in range(number)]
    return [
        interaction.model_copy(update={"id": f"{fields.get('policy', 'i')}{i}", **fields})
        for i, interaction in enumerate(made)
    ]


@pytest.fixture
def clock():
    return Clock()


def judge(assigned, actor):
    result = assigned.next(actor)
    if result is not None:
        assigned.complete(result.interaction, actor, "done")
    return result and result.interaction


def test_the_oldest_comes_first_and_nobody_judges_twice(store, clock):
    store.add(*interactions(3))
    assigned = Assignments(store, COMPARE, clock=clock)
    assert [judge(assigned, "ada") for _ in range(4)] == ["i0", "i1", "i2", None]
    assert assigned.next("bo") is None


def test_what_was_judged_fewest_times_comes_before_what_is_older(store, clock):
    store.add(*interactions(3))
    assigned = Assignments(store, COMPARE.model_copy(update={"people": 2}), clock=clock)
    assert judge(assigned, "ada") == "i0"
    assert [judge(assigned, "bo") for _ in range(4)] == ["i1", "i2", "i0", None]
    assert [judge(assigned, "ada") for _ in range(3)] == ["i1", "i2", None]
    assert assigned.next("cy") is None


def test_an_item_stays_with_who_has_it_until_the_time_is_over(store, clock):
    store.add(*interactions(1))
    assigned = Assignments(store, COMPARE, clock=clock)
    held = assigned.next("ada")
    assert assigned.next("ada") == held
    assert assigned.next("bo") is None
    clock.pass_(LEASE)
    assert assigned.next("bo").interaction == "i0"
    with pytest.raises(Conflict, match="others have judged"):
        assigned.renew("i0", "ada")


def test_who_comes_back_late_has_the_item_still_if_nobody_took_it(store, clock):
    store.add(*interactions(1))
    assigned = Assignments(store, COMPARE, clock=clock)
    assigned.next("ada")
    clock.pass_(2 * LEASE)
    assert assigned.renew("i0", "ada").state == "open"
    assert assigned.next("bo") is None


def test_what_was_not_given_cannot_be_held(store, clock):
    store.add(*interactions(1))
    assigned = Assignments(store, COMPARE, clock=clock)
    with pytest.raises(Conflict, match="not assigned to you"):
        assigned.renew("i0", "ada")


def test_a_skipped_item_goes_to_somebody_else(store, clock):
    store.add(*interactions(1))
    assigned = Assignments(store, COMPARE, clock=clock)
    assigned.next("ada")
    assigned.complete("i0", "ada", "skipped")
    assert assigned.next("ada") is None
    assert assigned.next("bo").interaction == "i0"


def test_undo_gives_back_the_last_one_and_then_the_one_before(store, clock):
    store.add(*interactions(3))
    assigned = Assignments(store, COMPARE, clock=clock)
    judge(assigned, "ada")
    assigned.next("ada")
    assigned.complete("i1", "ada", "skipped")
    for expected in ("i1", "i0"):
        last = assigned.last("ada").interaction
        assert last == expected
        assigned.reopen(last, "ada")
        assert assigned.next("ada").interaction == expected
    assert assigned.last("ada") is None
    with pytest.raises(NotFound, match="nothing to undo"):
        assigned.reopen("i0", "ada")


def test_a_skip_cannot_be_undone_once_others_took_the_place(store, clock):
    store.add(*interactions(1))
    assigned = Assignments(store, COMPARE, clock=clock)
    assigned.next("ada")
    assigned.complete("i0", "ada", "skipped")
    judge(assigned, "bo")
    with pytest.raises(Conflict, match="Others have judged"):
        assigned.reopen("i0", "ada")


def test_only_what_the_task_is_about_is_asked(store, clock):
    store.add(*interactions(2, answers=1), *interactions(2, policy="p"))
    store.add(Interaction.of("hidden", "a", "b").model_copy(update={"id": "gone", "policy": "p"}))
    store.delete("gone")
    store.add(
        Preference(interaction="p0", annotator=Annotator.human("cy"), a="0", b="1", verdict="tie"),
        Label(interaction="p1", annotator=Annotator.human("cy"), response="0", good=True),
    )

    def asked(**which):
        task = Task(name="t", kind="compare", filter=TaskFilter(**which))
        assigned = Assignments(store, task, clock=clock)
        results = []
        while (one := judge(assigned, "ada")) is not None:
            results.append(one)
        return results

    assert asked() == ["p0", "p1"]
    assert asked(policy="q") == []
    assert asked(policy="p", unjudged=True) == ["p1"]
    assert asked(max_items=1) == ["p0"]
    assert asked(since=datetime(2100, 1, 1, tzinfo=UTC)) == []


def test_progress_counts_what_is_done_and_what_is_left(store, clock):
    store.add(*interactions(3))
    task = Task(name="t", kind="compare", people=2, filter=TaskFilter(unjudged=True))
    assigned = Assignments(store, task, clock=clock)
    before = assigned.progress("ada")
    assert (before.done, before.total, before.own, before.left) == (0, 6, 0, 3)
    judge(assigned, "ada")
    for _ in range(3):
        judge(assigned, "bo")
    assigned.next("ada")
    own, others = assigned.progress("ada"), assigned.progress("cy")
    assert (own.done, own.total, own.own, own.left) == (4, 6, 1, 2)
    assert (others.own, others.left) == (0, 1)
    judge(assigned, "ada")
    judge(assigned, "ada")
    assert assigned.progress("cy").left == 0
    assert assigned.next("cy") is None


def test_many_at_once_never_get_more_places_than_there_are(location):
    items, people, crowd = 6, 2, 8
    with Store(location) as store:
        store.add(*interactions(items))
        task = add_task(store, Task(name="t", kind="compare", people=people), actor="tests")
    taken, failed = [], []
    start = threading.Barrier(crowd)

    def work(actor):
        try:
            with Store(location) as mine:
                assigned = Assignments(mine, task)
                start.wait(30)
                while (one := judge(assigned, actor)) is not None:
                    taken.append((one, actor))
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"p{i}",)) for i in range(crowd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(taken) == len(set(taken)) == items * people
    for item in {one for one, _ in taken}:
        assert sum(one == item for one, _ in taken) == people


def test_tasks_open_and_close_and_are_found_by_name(store):
    first = add_task(store, COMPARE, actor="ada")
    with pytest.raises(Conflict, match="better"):
        add_task(store, Task(name="better", kind="rank"), actor="ada")
    close_task(store, "better", actor="bo")
    second = add_task(store, Task(name="better", kind="rank"), actor="ada")
    assert [(result.task.id, result.open) for result in list_tasks(store)] == [
        (first.id, False),
        (second.id, True),
    ]
    assert read_task(store, "better").task == second
    open_task(store, first.id, actor="ada")
    assert all(result.open for result in list_tasks(store))
    with pytest.raises(NotFound, match="worse"):
        close_task(store, "worse", actor="ada")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "rate"}, "aspects"),
        ({"kind": "spans"}, "labels"),
        ({"kind": "compare", "aspects": ("tone",)}, "aspects"),
        ({"kind": "rate", "aspects": ("tone", "tone")}, "twice"),
        ({"kind": "rate", "aspects": tuple("abcdefghij")}, "at most 9"),
        ({"kind": "compare", "people": 0}, "people"),
        ({"kind": "compare", "people": 10**20}, "people"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(fields, said):
    with pytest.raises((RecordError, ValueError), match=said):
        Task(name="t", **fields)


def test_a_purged_users_assignments_go_too(store, clock):
    store.add(
        *[interaction.model_copy(update={"user": "bo"}) for interaction in interactions(1)],
        *interactions(1, policy="p"),
    )
    task = Task(name="t", kind="compare", people=3)
    assigned = Assignments(store, task, clock=clock)
    for actor in ("ada", "bo", "ada"):
        judge(assigned, actor)
    store.purge("bo")
    assert assigned.last("bo") is None
    assert assigned.last("ada").interaction == "p0"
    assert assigned.progress("ada").done == 1

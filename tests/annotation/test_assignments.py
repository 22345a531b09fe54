"""Assignments: their order, the number of annotators of an item, leases, and undo."""

import threading
from collections import Counter
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
from backtalk.feedback import (
    Annotator,
    Interaction,
    Label,
    Message,
    Preference,
    Response,
    as_prompt,
)
from backtalk.formats.text_pairs import make_text_pair
from backtalk.store import Store

COMPARE = Task(name="better", kind="compare")


class Clock:
    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.time += timedelta(seconds=1)
        return self.time

    def advance(self, duration):
        self.time += duration


def make_interactions(number, *, answers=2, **fields):
    texts = [f"answer {i}" for i in range(answers)]
    created = [Interaction.of(f"prompt {i}", *texts) for i in range(number)]
    return [
        interaction.model_copy(update={"id": f"{fields.get('policy', 'i')}{i}", **fields})
        for i, interaction in enumerate(created)
    ]


@pytest.fixture
def clock():
    return Clock()


def judge(assignments, actor):
    result = assignments.next(actor)
    if result is not None:
        assignments.complete(result.interaction, actor, "done")
    return result and result.interaction


def test_items_are_assigned_oldest_first_and_once_to_each_annotator(store, clock):
    store.add(*make_interactions(3))
    assignments = Assignments(store, COMPARE, clock=clock)
    assert [judge(assignments, "ada") for _ in range(4)] == ["i0", "i1", "i2", None]
    assert assignments.next("bo") is None


def test_items_with_fewer_judgements_are_assigned_first(store, clock):
    store.add(*make_interactions(3))
    assignments = Assignments(store, COMPARE.model_copy(update={"people": 2}), clock=clock)
    assert judge(assignments, "ada") == "i0"
    assert [judge(assignments, "bo") for _ in range(4)] == ["i1", "i2", "i0", None]
    assert [judge(assignments, "ada") for _ in range(3)] == ["i1", "i2", None]
    assert assignments.next("cy") is None


def test_an_item_is_held_until_its_lease_expires(store, clock):
    store.add(*make_interactions(1))
    assignments = Assignments(store, COMPARE, clock=clock)
    held = assignments.next("ada")
    assert assignments.next("ada") == held
    assert assignments.next("bo") is None
    clock.advance(LEASE)
    assert assignments.next("bo").interaction == "i0"
    with pytest.raises(Conflict, match="others have judged"):
        assignments.renew("i0", "ada")


def test_an_expired_lease_is_renewed_if_the_item_is_still_free(store, clock):
    store.add(*make_interactions(1))
    assignments = Assignments(store, COMPARE, clock=clock)
    assignments.next("ada")
    clock.advance(2 * LEASE)
    assert assignments.renew("i0", "ada").state == "open"
    assert assignments.next("bo") is None


def test_an_item_that_was_not_assigned_cannot_be_renewed(store, clock):
    store.add(*make_interactions(1))
    assignments = Assignments(store, COMPARE, clock=clock)
    with pytest.raises(Conflict, match="not assigned to you"):
        assignments.renew("i0", "ada")


def test_a_skipped_item_is_assigned_to_another_annotator(store, clock):
    store.add(*make_interactions(1))
    assignments = Assignments(store, COMPARE, clock=clock)
    assignments.next("ada")
    assignments.complete("i0", "ada", "skipped")
    assert assignments.next("ada") is None
    assert assignments.next("bo").interaction == "i0"


def test_undo_reopens_items_in_reverse_order(store, clock):
    store.add(*make_interactions(3))
    assignments = Assignments(store, COMPARE, clock=clock)
    judge(assignments, "ada")
    assignments.next("ada")
    assignments.complete("i1", "ada", "skipped")
    for expected in ("i1", "i0"):
        last = assignments.last("ada").interaction
        assert last == expected
        assignments.reopen(last, "ada")
        assert assignments.next("ada").interaction == expected
    assert assignments.last("ada") is None
    with pytest.raises(NotFound, match="nothing to undo"):
        assignments.reopen("i0", "ada")


def test_a_skip_cannot_be_undone_after_enough_others_judged(store, clock):
    store.add(*make_interactions(1))
    assignments = Assignments(store, COMPARE, clock=clock)
    assignments.next("ada")
    assignments.complete("i0", "ada", "skipped")
    judge(assignments, "bo")
    with pytest.raises(Conflict, match="Others have judged"):
        assignments.reopen("i0", "ada")


def test_only_items_that_match_the_filter_are_assigned(store, clock):
    store.add(*make_interactions(2, answers=1), *make_interactions(2, policy="p"))
    store.add(Interaction.of("hidden", "a", "b").model_copy(update={"id": "gone", "policy": "p"}))
    store.delete("gone")
    store.add(
        Preference(interaction="p0", annotator=Annotator.human("cy"), a="0", b="1", verdict="tie"),
        Label(interaction="p1", annotator=Annotator.human("cy"), response="0", good=True),
    )

    def assigned_ids(**conditions):
        task = Task(name="t", kind="compare", filter=TaskFilter(**conditions))
        assignments = Assignments(store, task, clock=clock)
        results = []
        while (item := judge(assignments, "ada")) is not None:
            results.append(item)
        return results

    assert assigned_ids() == ["p0", "p1"]
    assert assigned_ids(policy="q") == []
    assert assigned_ids(policy="p", unjudged=True) == ["p1"]
    assert assigned_ids(max_items=1) == ["p0"]
    assert assigned_ids(since=datetime(2100, 1, 1, tzinfo=UTC)) == []


def test_progress_counts_judgements_done_and_items_left(store, clock):
    store.add(*make_interactions(3))
    task = Task(name="t", kind="compare", people=2, filter=TaskFilter(unjudged=True))
    assignments = Assignments(store, task, clock=clock)
    before = assignments.progress("ada")
    assert (before.done, before.total, before.own, before.left) == (0, 6, 0, 3)
    judge(assignments, "ada")
    for _ in range(3):
        judge(assignments, "bo")
    assignments.next("ada")
    own, others = assignments.progress("ada"), assignments.progress("cy")
    assert (own.done, own.total, own.own, own.left) == (4, 6, 1, 2)
    assert (others.own, others.left) == (0, 1)
    judge(assignments, "ada")
    judge(assignments, "ada")
    assert assignments.progress("cy").left == 0
    assert assignments.next("cy") is None


def test_concurrent_annotators_never_exceed_the_number_per_item(location):
    items, people, annotator_count = 6, 2, 8
    with Store(location) as store:
        store.add(*make_interactions(items))
        task = add_task(store, Task(name="t", kind="compare", people=people), actor="tests")
    judged, errors = [], []
    start = threading.Barrier(annotator_count)

    def work(actor):
        try:
            with Store(location) as opened:
                assignments = Assignments(opened, task)
                start.wait(30)
                while (item := judge(assignments, actor)) is not None:
                    judged.append((item, actor))
        except Exception as error:  # noqa: BLE001 - asserted by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"p{i}",)) for i in range(annotator_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(judged) == len(set(judged)) == items * people
    counts = Counter(item for item, _ in judged)
    assert set(counts.values()) == {people}


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
    ("fields", "message"),
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
def test_an_invalid_task_is_rejected(fields, message):
    with pytest.raises((RecordError, ValueError), match=message):
        Task(name="t", **fields)


def test_a_purge_removes_the_assignments_of_the_person(store, clock):
    store.add(
        *[interaction.model_copy(update={"user": "bo"}) for interaction in make_interactions(1)],
        *make_interactions(1, policy="p"),
    )
    task = Task(name="t", kind="compare", people=3)
    assignments = Assignments(store, task, clock=clock)
    for actor in ("ada", "bo", "ada"):
        judge(assignments, actor)
    store.purge("bo")
    assert assignments.last("bo") is None
    assert assignments.last("ada").interaction == "p0"
    assert assignments.progress("ada").done == 1


def answers_of(*texts):
    return Interaction.of("Is it open?", *texts).model_copy(update={"id": " ".join(texts)})


@pytest.mark.parametrize(
    ("kind", "asked", "identical"),
    [
        ("compare", ["Yes. No.", "Yes. Yes. No."], 2),
        ("rank", ["Yes. No.", "Yes. Yes. No."], 2),
        ("thumbs", ["Yes. Yes.", "Yes. No.", "No. No. No.", "Yes. Yes. No."], 0),
    ],
)
def test_interactions_whose_answers_are_all_the_same_are_not_compared(
    store, kind, asked, identical
):
    for texts in (("Yes.", "Yes."), ("Yes.", "No."), ("No.",) * 3, ("Yes.", "Yes.", "No.")):
        store.add(answers_of(*texts))
    assignments = Assignments(store, Task(name="t", kind=kind))
    assert assignments.progress("ada").total == len(asked)
    assert [judge(assignments, "ada") for _ in asked] == asked
    assert assignments.next("ada") is None
    assert assignments.count_identical() == identical


def test_answers_that_differ_in_tool_calls_only_are_compared(store):
    call = {"type": "function", "function": {"name": "close", "arguments": "{}"}}
    plain, calling = (
        Response(id=id_, text="", messages=(Message(role="assistant", content="", **fields),))
        for id_, fields in (("0", {}), ("1", {"tool_calls": (call,)}))
    )
    differing = Interaction(id="calls", prompt=as_prompt("Close."), responses=(plain, calling))
    same = Interaction(
        id="same",
        prompt=as_prompt("Close."),
        responses=(calling, calling.model_copy(update={"id": "2"})),
    )
    store.add(differing, same)
    assignments = Assignments(store, COMPARE)
    assert [judge(assignments, "ada") for _ in range(2)] == ["calls", None]


def test_imported_pairs_of_equal_texts_are_not_compared(store):
    store.add_cases(
        [make_text_pair("Open?", "Yes.", "Yes."), make_text_pair("Open?", "Yes.", "No")]
    )
    assert Assignments(store, COMPARE).progress("ada").total == 1


def test_a_task_can_name_its_interactions(store, clock):
    store.add(*make_interactions(4))
    task = Task(name="t", kind="compare", filter=TaskFilter(interactions=("i3", "i1", "gone")))
    assignments = Assignments(store, task, clock=clock)
    assert assignments.progress("ada").total == 2
    assert [judge(assignments, "ada") for _ in range(3)] == ["i1", "i3", None]


def test_a_task_is_found_by_a_unique_beginning_of_its_id(store):
    for id_ in ("0193aa11", "0193aa22"):
        add_task(store, Task(id=id_, name=f"task {id_}", kind="compare"), actor="ada")
    assert read_task(store, "0193aa2").task.id == "0193aa22"
    with pytest.raises(Conflict, match="0193aa11, 0193aa22"):
        close_task(store, "0193aa", actor="ada")
    with pytest.raises(NotFound):
        read_task(store, "")

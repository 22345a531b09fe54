"""Background training: each round runs once, also after crashes."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from backtalk.errors import BacktalkError, NotFound
from backtalk.evaluate.result import Evaluation
from backtalk.evaluate.storage import list_evaluations
from backtalk.experiments import running_experiment, stop
from backtalk.feedback import as_prompt
from backtalk.feedback.record import now
from backtalk.learn import METHODS, TrainingSet
from backtalk.learn.background import Round, WatchSpec, Worker, WorkerConfig
from backtalk.models import Request
from backtalk.models.fakes import FunctionModel
from backtalk.policy import list_policies
from backtalk.promotion import Gate, active_policy, promote, promotion_history, rollback
from backtalk.store import Store
from tests.learn.background import (
    PACE,
    PLAIN,
    add,
    criticise,
    note,
    noted,
    project,
    register,
    watch,
)

SECONDS = 60


@pytest.fixture
def store(tmp_path):
    with project(tmp_path / "s.db") as opened:
        yield opened


@pytest.fixture
def methods():
    """Function that registers a method until the test ends."""
    known = set(METHODS)
    yield register
    for name in set(METHODS) - known:
        METHODS.unregister(name)


async def nothing(feedback, run):
    """Return without training."""


def learn(store, watch=None, *, config=PACE, **options):
    messages = []
    worker = Worker(
        store, watch or WatchSpec(method="quick"), config=config, report=messages.append, **options
    )
    worker.run(once=True)
    return messages


def states(store):
    return [job.state for job in store.jobs.list()]


def learned(store):
    return [policy for policy in list_policies(store) if policy.lineage.method != "written"]


def test_a_round_starts_once_enough_feedback_has_arrived(store, methods):
    methods("quick", nothing)
    learn(store, every=41)
    assert states(store) == []
    learn(store, every=20)
    learn(store, every=20)
    assert states(store) == ["done"]
    add(store, 40, start=100)
    learn(store, every=20)
    assert states(store) == ["done", "done"]
    first, second = (policy.lineage.snapshot.counts["preference"] for policy in learned(store))
    assert first < second


def test_feedback_that_the_method_cannot_use_does_not_count(store, methods):
    methods("quick", nothing)
    learn(store, every=20)
    for number in range(40):
        criticise(store, number)
    learn(store, every=1)
    assert states(store) == ["done"]


def test_feedback_on_prompts_that_are_held_out_does_not_count(store, methods):
    methods("quick", nothing)
    usable = sum(len(case.feedback) for case in TrainingSet(store).cases())
    assert usable < 40
    learn(store, every=usable + 1)
    assert states(store) == []
    learn(store, every=usable)
    assert states(store) == ["done"]


def test_feedback_does_not_wait_longer_than_it_should(store, methods):
    methods("quick", nothing)
    learn(store, every=1_000, interval=3_600)
    assert states(store) == []
    learn(store, every=1_000, interval=0)
    assert states(store) == ["done"]
    learn(store, every=1_000, interval=0)
    assert states(store) == ["done"]


def test_a_round_learns_only_from_what_was_there_when_it_began(store, methods):
    async def while_more_comes(feedback, run):
        add(store, 40, start=100)

    methods("quick", while_more_comes)
    usable = sum(len(case.feedback) for case in TrainingSet(store).cases())
    worker = Worker(store, WatchSpec(method="quick"), every=20, config=PACE)
    original = store.jobs.complete

    def done_once(*arguments, **named):
        original(*arguments, **named)
        worker.stop()

    store.jobs.complete = done_once
    worker.run()
    (policy,) = learned(store)
    assert policy.lineage.snapshot.counts["preference"] == usable
    assert store.counts()["preference"] == 80


def test_a_policy_that_passes_the_gate_is_served(store):
    watch = WatchSpec(
        method="best-of-n", options={"n": 4}, judge="true-utility", gate=Gate(win_rate=0.01)
    )
    learn(store, watch, every=20)
    (evaluation,) = list_evaluations(store)
    assert evaluation.split == "held-out"
    assert evaluation.baseline == PLAIN.id
    assert active_policy(store).id == evaluation.candidate
    assert promotion_history(store)[-1].promotion.evaluation == evaluation.id


def test_a_policy_that_fails_the_gate_is_stored_with_the_reason(store, methods):
    methods("quick", nothing)
    learn(store, WatchSpec(method="quick", judge="true-utility", gate=Gate()), every=20)
    (job,) = store.jobs.list()
    assert job.state == "done"
    assert '"promoted":false' in job.result
    assert "does not pass the gate" in job.result
    assert active_policy(store).id == PLAIN.id
    assert len(learned(store)) == 1


def test_a_policy_that_was_rolled_back_is_not_served_again(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick", policy="plain", judge="true-utility", gate=Gate(win_rate=0.0))
    learn(store, watch, every=20)
    assert active_policy(store).id == learned(store)[0].id
    rollback(store, actor="bo")
    learn(store, watch.model_copy(update={"seed": 1}), every=20)
    assert '"promoted":false' in store.jobs.list()[-1].result
    assert "bo rolled it back" in store.jobs.list()[-1].result
    assert active_policy(store).id == PLAIN.id


def test_users_decide_about_a_policy_before_the_next_round_begins(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick", experiment="thumb")
    learn(store, watch, every=20)
    (policy,) = learned(store)
    running = running_experiment(store)
    assert (running.control, running.candidates) == (PLAIN.id, (policy.id,))
    assert f'"experiment":"{running.name}"' in store.jobs.list()[0].result
    add(store, 40, start=100)
    learn(store, watch, every=20)
    assert states(store) == ["done"]
    stop(store, running.name, actor="ada")
    learn(store, watch, every=20)
    assert states(store) == ["done", "done"]
    assert running_experiment(store).candidates == (learned(store)[1].id,)


def test_a_policy_that_a_judge_finds_worse_is_not_put_to_users(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick", judge="true-utility", experiment="thumb")
    original = store.documents.get

    def worse(kind, id):  # noqa: A002
        body = original(kind, id)
        if kind != "evaluation":
            return body
        result = Evaluation.model_validate_json(body)
        rate = replace(result.win_rate, value=0.1, low=0.0, high=0.2)
        return result.model_copy(update={"win_rate": rate}).to_json()

    store.documents.get = worse
    learn(store, watch, every=20)
    assert running_experiment(store) is None
    assert "No experiment: it wins 0.100" in store.jobs.list()[0].result


def test_a_method_that_fails_twice_is_tried_a_third_time(store, methods):
    attempts = []

    async def third_time_lucky(feedback, run):
        attempts.append(now())
        if len(attempts) < 3:
            raise OSError("no luck")

    methods("quick", third_time_lucky)
    config = WorkerConfig(poll_seconds=0.01, backoff_seconds=0.1, max_attempts=3, settle_seconds=0)
    worker = Worker(store, WatchSpec(method="quick"), every=20, config=config)
    threading.Timer(5, worker.stop).start()
    original = store.jobs.complete

    def done_once(*arguments, **named):
        original(*arguments, **named)
        worker.stop()

    store.jobs.complete = done_once
    worker.run()
    (job,) = store.jobs.list()
    assert (job.state, job.attempts, job.error) == ("done", 3, None)
    first, second = (later - earlier for earlier, later in pairwise(attempts))
    assert timedelta(seconds=0.1) <= first
    assert timedelta(seconds=0.2) <= second


def test_a_job_that_always_fails_is_given_up_and_the_next_is_done(store, methods):
    async def bad(feedback, run):
        if not (tmp := feedback.store.artifacts.root).exists():
            raise ValueError(f"no folder {tmp.name}")

    methods("quick", bad)
    config = WorkerConfig(backoff_seconds=0, max_attempts=2, settle_seconds=0)
    messages = learn(store, every=20, config=config)
    assert states(store) == ["failed"]
    assert store.jobs.list()[0].error == "ValueError: no folder s.artifacts"
    assert any("failed for good" in line for line in messages)
    store.artifacts.put({"a": b"b"})
    add(store, 40, start=100)
    learn(store, every=20, config=config)
    assert states(store) == ["failed", "done"]
    store.jobs.retry(store.jobs.list()[0].id)
    learn(store, every=20, config=config)
    assert states(store) == ["done", "done"]


def test_a_job_that_makes_no_sense_does_not_block_the_others(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick")
    store.jobs.put(watch.kind, "poison", "{broken")
    learn(
        store,
        watch,
        every=20,
        config=WorkerConfig(backoff_seconds=0, max_attempts=2, settle_seconds=0),
    )
    assert states(store) == ["failed", "done"]


def test_a_job_whose_process_always_dies_is_given_up(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick")
    todo = Round(watch=watch, parent=PLAIN.id, interactions=40, feedback=40)
    store.jobs.put(watch.kind, todo.id, todo.to_json())
    for holder in ("a", "b", "c"):
        term = store.leases.acquire(watch.kind, holder, 0.0)
        store.jobs.claim(watch.kind, term=term)
    learn(store, watch, every=1_000)
    (job,) = store.jobs.list()
    assert job.state == "failed"
    assert "died in each of 3 attempts" in job.error


def test_steps_that_were_done_are_not_done_again(store, methods):
    attempts = []

    async def once(feedback, run):
        attempts.append(1)

    methods("quick", once)
    watch = WatchSpec(method="quick", judge="true-utility")
    original = store.documents.put

    def full(kind, *arguments, **named):
        if kind == "evaluation" and len(attempts) == 1:
            attempts.append(2)
            raise OSError("disk full")
        return original(kind, *arguments, **named)

    store.documents.put = full
    learn(
        store,
        watch,
        every=20,
        config=WorkerConfig(backoff_seconds=0, max_attempts=3, settle_seconds=0),
    )
    assert states(store) == ["done"]
    assert attempts == [1, 2]
    assert len(list_evaluations(store)) == 1


def test_answers_that_were_paid_for_are_not_paid_for_again(store, methods):
    requests = []

    def answer(request):
        requests.append(request)
        if len(requests) == 3:
            raise OSError("the line is dead")
        return "Yes."

    async def asking(feedback, run):
        model = run.wrap(FunctionModel(answer, name="expert"))
        for number in range(5):
            await model.generate([Request(messages=as_prompt(f"Is {number} even?"))])

    methods("quick", asking)
    learn(store, every=20, config=WorkerConfig(backoff_seconds=0, max_attempts=2, settle_seconds=0))
    (job,) = store.jobs.list()
    assert (job.state, job.attempts) == ("done", 2)
    assert len(requests) == 6


def test_two_workers_with_other_options_do_not_share_jobs(store, methods):
    assert WatchSpec(method="quick", seed=1).kind != WatchSpec(method="quick").kind
    assert WatchSpec(method="quick", actor="ada", name="x").kind == WatchSpec(method="quick").kind


def test_a_standby_worker_does_nothing(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick")
    store.leases.acquire(watch.kind, "other", 60)
    assert learn(store, watch, every=1) == ["Another worker leads; this one is on standby"]
    assert states(store) == []


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing(store, methods):
    watch = WatchSpec(method="quick")

    async def robbed(feedback, run):
        store.leases.release(watch.kind, store.leases.find(watch.kind).holder)
        store.leases.acquire(watch.kind, "robber", 60)

    methods("quick", robbed)
    messages = learn(store, watch, every=20)
    (job,) = store.jobs.list()
    assert (job.state, job.result) == ("waiting", None)
    assert store.leases.find(watch.kind).holder == "robber"
    assert any("Another process" in line for line in messages)


def test_the_lease_is_held_while_learning_takes_long(store, methods):
    watch = WatchSpec(method="quick")
    holders = []

    async def long(feedback, run):
        for _ in range(10):
            await asyncio.sleep(0.3)
            holders.append(store.leases.find(watch.kind).holder)

    methods("quick", long)
    learn(store, watch, every=20, config=WorkerConfig(lease_seconds=2, settle_seconds=0))
    assert states(store) == ["done"]
    assert len(set(holders)) == 1


def test_the_lease_is_released_at_the_end(store, methods):
    methods("quick", nothing)
    watch = WatchSpec(method="quick")
    learn(store, watch, every=20)
    assert store.leases.find(watch.kind) is None


def test_stop_takes_effect_after_the_step_and_the_attempt_does_not_count(store, methods, tmp_path):
    async def hard(feedback, run):
        with run.task("learning", 50) as step:
            for done in range(50):
                work(0.05)
                step(done)
                note(tmp_path, "began")
        note(tmp_path, "ended")

    methods("quick", hard)
    worker = Worker(store, WatchSpec(method="quick"), every=20, config=PACE)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_for(lambda: noted(tmp_path, "began"))
    worker.stop()
    thread.join(SECONDS)
    (job,) = store.jobs.list()
    assert (job.state, job.attempts) == ("waiting", 0)
    assert not noted(tmp_path, "ended")
    assert len(noted(tmp_path, "began")) < 50
    assert store.leases.find(job.kind) is None


def test_the_worker_waits_for_an_unavailable_store(tmp_path, methods):
    methods("quick", nothing)
    store = project(tmp_path / "s.db")
    messages = []
    worker = Worker(store, WatchSpec(method="quick"), every=20, config=PACE, report=messages.append)
    away = tmp_path / "elsewhere"
    away.mkdir()
    store.close()
    for file in tmp_path.glob("s.db*"):
        file.rename(away / file.name)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_for(lambda: messages)
    for file in away.glob("s.db*"):
        file.rename(tmp_path / file.name)
    wait_for(lambda: (tmp_path / "s.artifacts").exists() or states(store) == ["done"])
    worker.stop()
    thread.join(SECONDS)
    assert messages[0].startswith("The store is unavailable: The store")
    assert states(store) == ["done"]
    store.close()


@pytest.mark.parametrize(
    ("watch", "messages"),
    [
        ({"method": "best-of-m"}, "Did you mean 'best-of-n'"),
        ({"method": "best-of-n", "options": {"m": 3}}, "no option of best-of-n 'm'"),
        ({"method": "best-of-n", "kinds": ("follow_up",)}, "learns nothing from follow_up"),
        ({"method": "best-of-n", "policy": "nobody"}, "no policy 'nobody'"),
        ({"method": "best-of-n", "name": "two words"}, "name"),
        ({"method": "best-of-n", "gate": Gate()}, "needs a judge"),
        ({"method": "best-of-n", "judge": "true-utility", "split": "all"}, "learned from"),
        (
            {"method": "best-of-n", "gate": Gate(), "experiment": "thumb"},
            "either --promote or --experiment",
        ),
    ],
)
def test_contradictory_settings_are_refused(store, watch, messages):
    with pytest.raises(BacktalkError, match=messages):
        Worker(store, WatchSpec(**watch))


def test_without_a_policy_there_is_nothing_to_improve(tmp_path):
    with (
        Store(tmp_path / "empty.db") as store,
        pytest.raises(NotFound, match="has no active policy"),
    ):
        Worker(store, WatchSpec(method="best-of-n"))


def work(seconds):
    """Work without ever giving way, as training does."""
    time.sleep(seconds)


def test_a_worker_waits_while_there_is_nothing_to_improve(store, methods):
    methods("quick", nothing)
    messages = []
    worker = Worker(store, WatchSpec(method="quick"), every=20, config=PACE, report=messages.append)
    rollback(store, actor="ada")
    worker.run(once=True)
    assert messages[-1].startswith("Project 'default' has no active policy")
    assert states(store) == []
    promote(store, PLAIN, actor="ada")
    worker.run(once=True)
    assert states(store) == ["done"]


def wait_for(there):
    until = time.monotonic() + SECONDS
    while not there():
        assert time.monotonic() < until
        time.sleep(0.1)


class Processes:
    """Watchers as processes of their own, forked off one that has imported what they need."""

    def __init__(self, folder):
        self.folder = folder
        self.all = []
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.learn.background"])

    def start(self, pause, *, judged=False):
        process = self.context.Process(
            target=watch,
            args=(str(self.folder / "s.db"), str(self.folder), pause),
            kwargs={"judged": judged},
        )
        process.start()
        self.all.append(process)
        return process

    def end(self):
        for process in self.all:
            process.terminate()
            process.join(SECONDS)
        return [process.exitcode for process in self.all]


@pytest.fixture
def processes(tmp_path):
    running = Processes(tmp_path)
    yield running
    if None in running.end():
        for process in running.all:
            process.kill()


def test_killed_in_the_middle_a_round_is_gone_on_with_by_the_next(store, processes, tmp_path):
    first = processes.start(1.0, judged=True)
    wait_for(lambda: noted(tmp_path, "began"))
    first.kill()
    processes.start(0.0, judged=True)
    wait_for(lambda: states(store) == ["done"])
    assert len(noted(tmp_path, "began")) == 2
    assert len(noted(tmp_path, "ended")) == 1
    assert len(learned(store)) == 1
    assert len(list_evaluations(store)) == 1
    assert store.jobs.list()[0].attempts == 2


def test_of_two_workers_each_does_what_the_other_did_not(store, processes, tmp_path):
    one, other = processes.start(0.0), processes.start(0.0)
    for rounds in range(1, 4):
        wait_for(lambda rounds=rounds: states(store) == ["done"] * rounds)
        if rounds == 1:
            wait_for(lambda: len(noted(tmp_path, "ready")) == 2)
            (began,) = noted(tmp_path, "began")
            leader = one if f"-{one.pid}-" in began else other
        if rounds == 2:
            leader.kill()
        if rounds < 3:
            add(store, 20, start=100 * rounds)
    began = noted(tmp_path, "began")
    assert len(began) == 3
    assert len({name.split("-")[1] for name in began}) == 2
    assert len(learned(store)) == 3


def test_a_leader_that_was_asleep_cannot_finish_what_another_took_over(store, processes, tmp_path):
    asleep = processes.start(0.3)
    wait_for(lambda: noted(tmp_path, "began"))
    os.kill(asleep.pid, signal.SIGSTOP)
    awake = processes.start(0.0)
    wait_for(lambda: states(store) == ["done"])
    os.kill(asleep.pid, signal.SIGCONT)
    add(store, 40, start=100)
    wait_for(lambda: states(store) == ["done", "done"])
    ended = [name.split("-")[1] for name in noted(tmp_path, "ended")]
    assert ended == [str(awake.pid)] * 2
    assert len(learned(store)) == 2


def test_terminated_in_the_middle_a_worker_leaves_the_rest_to_the_next(store, processes, tmp_path):
    processes.start(0.5)
    wait_for(lambda: noted(tmp_path, "began"))
    assert processes.end() == [0]
    (job,) = store.jobs.list()
    assert (job.state, job.attempts) == ("waiting", 0)
    assert store.leases.find(job.kind) is None
    assert not noted(tmp_path, "ended")

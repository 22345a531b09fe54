"""People as judges: tasks over the pairs of an evaluation, waiting, and going on."""

import asyncio
import socket
import threading

import numpy as np
import pytest

from backtalk.annotation.assignments import Assignments
from backtalk.annotation.inbox_address import (
    remove_address,
    running_gateway,
    task_address,
    write_address,
)
from backtalk.annotation.tasks import close_task, list_tasks, open_task
from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError, UnknownName
from backtalk.evaluate.evaluate import choose_best
from backtalk.evaluate.judges import get_judge
from backtalk.evaluate.judges.pending import JudgementsPending
from backtalk.evaluate.judges.people import PeopleJudge
from backtalk.feedback import Annotator, Preference, as_prompt
from backtalk.models.protocol import Completion
from backtalk.models.run_sync import run_sync
from backtalk.run import Run
from backtalk.store import Store
from backtalk.store.engine import state_folder
from tests.store.conftest import location, postgres, postgres_database, store

__all__ = ["location", "postgres", "postgres_database", "store"]


def answers(*texts):
    return [(as_prompt(f"Question {i}?"), text) for i, text in enumerate(texts)]


NEW, OLD = answers("At nine.", "Yes.", "No.", "Zero."), answers("Soon.", "Yes.", "Aye.", "None.")


def judge_all(store, task, annotator, verdict="a", *, longer=True):
    """Judge the items of a task: the longer answer is better, or a given verdict."""
    assignments = Assignments(store, task)
    while (assignment := assignments.next(annotator)) is not None:
        interaction = store.interaction(assignment.interaction)
        one, two = interaction.responses
        given = ("a" if len(one.text) > len(two.text) else "b") if longer else verdict
        store.add(
            Preference(
                interaction=interaction.id,
                annotator=Annotator.human(annotator),
                a=one.id,
                b=two.id,
                verdict=given,
            )
        )
        assignments.complete(interaction.id, annotator, "done")


def pending_task(judge, store, new=NEW, old=OLD):
    judge.wait = False
    with pytest.raises(JudgementsPending):
        run_sync(judge.compare(new, old))
    return list_tasks(store)[-1].task


def test_people_judge_in_the_inbox_while_the_judge_waits(location):
    reports = []
    with Store(location) as store:
        judge = PeopleJudge(store, poll_seconds=0.01)
        judge.in_run(Run(progress=lambda *report: reports.append(report)))

        def annotate():
            with Store(location) as other:
                while not (tasks := list_tasks(other)):
                    pass
                judge_all(other, tasks[0].task, "ada")

        annotator = threading.Thread(target=annotate)
        annotator.start()
        verdicts = asyncio.run(judge.compare(NEW, OLD))
        annotator.join()
        (status,) = list_tasks(store)
        assert not status.open
    # "At nine." is longer; "Yes." is the same; "No." is shorter; "Zero." and "None." tie at "b".
    assert verdicts[0].tolist() == [1, 0, 0]
    assert verdicts[1].tolist() == [0, 0, 1]
    assert verdicts[2].tolist() == [0, 1, 0]
    assert verdicts.sum(axis=1).tolist() == [1, 1, 1, 1]
    assert reports[-1] == ("judging by people", 3, 3)


def test_the_same_evaluation_goes_on_with_the_same_task(store):
    judge = PeopleJudge(store)
    task = pending_task(judge, store)
    assert len(task.filter.interactions) == 3
    assert pending_task(PeopleJudge(store), store, OLD, NEW) == task
    assert len(list_tasks(store)) == 1
    judge_all(store, task, "ada")
    assert run_sync(PeopleJudge(store, wait=False).compare(NEW, OLD))[0].tolist() == [1, 0, 0]
    assert run_sync(PeopleJudge(store, wait=False).compare(OLD, NEW))[0].tolist() == [0, 1, 0]


def test_pairs_that_were_judged_before_are_not_asked_again(store):
    judge_all(store, pending_task(PeopleJudge(store), store), "ada")
    more = pending_task(
        PeopleJudge(store),
        store,
        [*NEW, (as_prompt("New?"), "Longer.")],
        [*OLD, (as_prompt("New?"), "Short")],
    )
    assert len(more.filter.interactions) == 1
    twice = pending_task(PeopleJudge(store, people=2), store)
    assert (twice.people, len(twice.filter.interactions)) == (2, 3)


def test_the_verdicts_of_several_people_are_averaged_with_their_agreement(store):
    judge = PeopleJudge(store, people=2)
    task = pending_task(judge, store)
    judge_all(store, task, "ada")
    judge_all(store, task, "bo", "tie", longer=False)
    verdicts = run_sync(judge.compare(NEW, OLD))
    assert np.allclose(verdicts[0], [0.5, 0, 0.5])
    info = judge.info
    assert (info.kind, info.name, info.people) == ("people", "people:2", 2)
    assert info.people_agreement.value == 0
    assert info.people_agreement.n == 3


@pytest.mark.parametrize("verdict", ["tie", "both_bad"])
def test_equally_good_and_both_bad_are_ties(store, verdict):
    judge = PeopleJudge(store)
    judge_all(store, pending_task(judge, store), "ada", verdict, longer=False)
    assert run_sync(judge.compare(NEW, OLD)).tolist() == [[0, 0, 1]] * 4
    assert judge.info.people_agreement is None


def test_equal_answers_make_no_task(store):
    judge = PeopleJudge(store, wait=False)
    assert run_sync(judge.compare(NEW, NEW)).tolist() == [[0, 0, 1]] * 4
    assert list_tasks(store) == []


def test_people_see_no_policies_and_the_policies_are_recorded(store):
    judge = PeopleJudge(store, wait=False)
    with pytest.raises(JudgementsPending):
        run_sync(judge.compare_policies(NEW[:1], OLD[:1], ("new", "old")))
    (case,) = store.cases()
    policies = {response.text: response.policy for response in case.interaction.responses}
    assert policies == {"At nine.": "new", "Soon.": "old"}
    assert case.interaction.policy is None


def test_a_closed_task_is_named_with_the_command_that_opens_it(store):
    task = pending_task(PeopleJudge(store), store)
    close_task(store, task.id, actor="ada")
    with pytest.raises(BacktalkError, match="3 judgements are missing") as caught:
        run_sync(PeopleJudge(store).compare(NEW, OLD))
    command = caught.value.mend.split("`")[1].split()
    assert command[:3] == ["backtalk", "task", "open"]
    assert open_task(store, command[3], actor="ada").id == task.id


def test_the_message_says_where_to_judge(tmp_path):
    with Store(tmp_path / "feedback.db", project="mail") as store:
        with pytest.raises(JudgementsPending) as caught:
            run_sync(PeopleJudge(store, wait=False).compare(NEW, OLD))
        (status,) = list_tasks(store)
        address = f"/inbox/{status.task.id}?project=mail"
        assert caught.value.what == "3 comparisons are for people to judge"
        assert f"backtalk serve --store {tmp_path / 'feedback.db'}" in caught.value.mend
        assert f"http://127.0.0.1:8080{address}" in caught.value.mend


def test_the_address_of_a_gateway_counts_only_while_it_runs(tmp_path):
    with Store(tmp_path / "feedback.db") as store:
        folder = state_folder(store.url)
        assert running_gateway(store) is None
        write_address(folder, "http://127.0.0.1:9")
        assert running_gateway(store) is None
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            write_address(folder, f"http://127.0.0.1:{port}")
            assert running_gateway(store) == f"http://127.0.0.1:{port}"
        remove_address(folder, "http://127.0.0.1:1")
        assert (folder / "address").exists()
        remove_address(folder, f"http://127.0.0.1:{port}")
        assert running_gateway(store) is None
        assert task_address(store, "a b").endswith("/inbox/a%20b?project=default")


def test_people_are_a_judge_by_name(store):
    assert get_judge("people", store).people == 1
    assert get_judge("people:3", store).name == "people:3"
    with pytest.raises(BacktalkError, match="people:2"):
        get_judge("people:many", store)
    with pytest.raises(BacktalkError, match="1 to 1,000"):
        get_judge("people:0", store)
    with pytest.raises(UnknownName, match="people"):
        get_judge("people:", store)


def test_all_candidates_are_asked_about_at_once(store):
    class Policy:
        def __init__(self, id_, text):
            self.id, self._text = id_, text

        async def decode(self, prompts, *, seed=0):
            return [DecoderOutput((Completion(text=self._text),), 0) for _ in prompts]

    prompts = [as_prompt("Open?"), as_prompt("When?")]
    candidates = [
        Policy("new", "At nine."),
        Policy("other", "Maybe at ten."),
        Policy("same", "Soon."),
    ]
    arguments = (candidates, Policy("old", "Soon."), prompts)
    with pytest.raises(JudgementsPending):
        run_sync(choose_best(*arguments, PeopleJudge(store, wait=False), run=Run()))
    tasks = [status.task for status in list_tasks(store)]
    assert [len(task.filter.interactions) for task in tasks] == [2, 2]
    for task in tasks:
        judge_all(store, task, "ada")
    judge = PeopleJudge(store, wait=False)
    evaluation, selection, _ = run_sync(choose_best(*arguments, judge, run=Run()))
    assert evaluation.candidate in {"new", "other"}
    assert selection.means[2] == 0.5
    assert evaluation.judge_info.people == 1

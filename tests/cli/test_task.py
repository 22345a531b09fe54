"""Tasks by the command line."""

import json

import pytest

from backtalk.annotation.assignments import Assignments
from backtalk.annotation.tasks import read_task
from backtalk.cli import main
from backtalk.feedback import Interaction
from backtalk.store import Store


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT", "BACKTALK_ACTOR", "BACKTALK_WHO"):
        monkeypatch.delenv(name, raising=False)
    with Store("backtalk.db") as store:
        store.add(*[Interaction.of(f"{n}?", "A", "B") for n in range(3)])

    def running(*arguments):
        code = main(["task", *arguments])
        return code, capsys.readouterr()

    return running


def test_a_task_is_added_listed_closed_and_opened_again(run):
    code, captured = run("add", "Better?", "--people", "2", "--max-items", "2", "--actor", "ada")
    assert (code, "is open" in captured.out) == (0, True)
    with Store("backtalk.db") as store:
        listed = read_task(store, "Better?")
        assigned = Assignments(store, listed.task)
        assigned.complete(assigned.next("bo").interaction, "bo", "done")
    assert (listed.actor, listed.task.kind) == ("ada", "compare")
    (row,) = json.loads(run("list", "--json")[1].out)
    assert (row["done"], row["total"], row["open"]) == (1, 4, True)
    assert row["wanted"] == row["total"]
    assert run("close", "Better?")[0] == 0
    assert "closed" in run("list")[1].out
    assert run("open", "Better?")[0] == 0
    assert "closed" not in run("list")[1].out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "x", "--kind", "rate"], "aspects"),
        (["add", "x", "--kind", "weigh"], "kind"),
        (["add", "x", "--policy", "none"], "none"),
        (["close", "x"], "task list"),
        (["add", "x", "--aspect", "tone"], "aspects"),
        (["add", "x", "--kind", "rate", "--aspect", "a", "--label", "b"], "labels"),
    ],
)
def test_an_invalid_task_is_refused(run, arguments, words):
    code, captured = run(*arguments)
    assert code == 1
    assert words in captured.err


def test_tasks_made_in_the_same_minute_have_different_ids_in_the_list(run):
    for name in ("Better?", "Best?", "Good?"):
        run("add", name, "--kind", "thumbs")
    rows = json.loads(run("list", "--json")[1].out)
    shown = [line.split()[1] for line in run("list")[1].out.splitlines()[1:]]
    assert len(set(shown)) == 3
    assert all(row["id"].startswith(short) for row, short in zip(rows, shown, strict=True))
    assert run("close", shown[1])[0] == 0
    assert [row["open"] for row in json.loads(run("list", "--json")[1].out)] == [True, False, True]


def test_the_number_of_interactions_with_identical_answers_is_shown(run):
    with Store("backtalk.db") as store:
        store.add(*[Interaction.of(f"{n}?", "A", "A") for n in range(2)])
    assert "2 interactions are not asked" in run("add", "Better?")[1].err
    (row,) = json.loads(run("list", "--json")[1].out)
    assert (row["total"], row["identical"]) == (3, 2)

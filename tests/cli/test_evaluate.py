"""The commands evaluate and compare: what they print, reuse, warn of and propose."""

import json
import re
import shlex

import pytest

from backtalk.cli import main
from backtalk.cli.exit_codes import ExitCode

STORE = "mail.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with simulated feedback, a plain policy that is served, and a chooser."""
    path = tmp_path_factory.mktemp("evaluate")
    store = str(path / STORE)
    for name, system in (("plain", None), ("kind", "Be kind.")):
        text = "model: {kind: named, name: writer}\n"
        (path / f"{name}.yaml").write_text(text + (f"system: {system}\n" if system else ""))
    for command in (
        *(f"policy add {path}/{name}.yaml --name {name}" for name in ("plain", "kind")),
        "promote plain",
        "simulate mail --policy plain --requests 60 --kind preference",
        "learn best-of-n --name chooser -o n=8",
    ):
        assert main([*command.split(), "--store", store]) == 0
    return path


@pytest.fixture
def run(capsys, monkeypatch, folder):
    monkeypatch.chdir(folder)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT", "BACKTALK_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def call(command):
        capsys.readouterr()
        code = main(shlex.split(command))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_second_judge_reuses_the_answers_and_the_cost_is_beside_the_result(run):
    options = f"evaluate chooser --store {STORE} --seed 4"
    first = json.loads(run(f"{options} --judge true-utility --json")[1])
    assert first["reused"] == 0
    code, out, err = run(f"{options} --judge reward:held-out")
    assert code == 0, err
    assert f"Reused {first['calls'] - 7 * first['prompts']} answers" in err
    assert re.search(r"calls\s+8\s+1\s+8\.0", out)
    assert "Judge: " in out
    assert "fitted on" in out
    again = json.loads(run(f"{options} --judge true-utility --json --fresh")[1])
    assert (again["reused"], again["calls"]) == (0, first["calls"])


def test_every_command_that_is_proposed_runs(run):
    code, _, err = run(f"evaluate kind --judge true-utility --store {STORE}")
    assert code == 0
    assert "promote" not in err
    commands = re.findall(r"`backtalk ([^`]+)`", err)
    assert commands
    for command in commands:
        assert run(command)[0] == 0, command


def test_a_judge_that_proves_nothing_is_named_before_it_is_used(run):
    code, _, err = run(f"evaluate chooser --judge reward:chooser --store {STORE}")
    assert code == 0
    warning, _, rest = err.partition("Evaluation ")
    assert "The gate will refuse this evidence" in warning
    assert f"backtalk evaluate chooser --judge people --store {STORE}" in warning
    assert "backtalk promote" not in rest


@pytest.mark.parametrize("seed", [0, 77])
def test_answers_without_feedback_are_refused_with_commands_of_this_store(run, seed):
    run(f"evaluate kind --judge true-utility --store {STORE}")
    code, out, err = run(f"evaluate kind --judge recorded --seed {seed} --store {STORE}")
    assert code == ExitCode.ERROR
    assert ("Nothing was generated" if seed else "have no recorded feedback") in err
    assert f"--judge reward:held-out --store {STORE}" in err
    assert out == ""


def test_tasks_for_people_are_made_without_waiting(run):
    command = f"evaluate kind --judge people --no-wait --limit 3 --store {STORE}"
    code, _, err = run(command)
    assert code == ExitCode.PENDING
    assert "for people to judge" in err
    assert "Error" not in err
    code, _, err = run(f"evaluate kind --judge true-utility --no-wait --store {STORE}")
    assert code == ExitCode.ERROR
    assert "does not wait" in err


def test_prices_show_the_cost_of_an_answer(run, folder):
    (folder / "prices.yaml").write_text("mail-writer: {prompt: 1, completion: 2}\n")
    command = f"evaluate chooser --judge true-utility --prices prices.yaml --store {STORE}"
    code, out, err = run(command)
    assert code == 0, err
    assert re.search(r"money\s+\S+\s+\S+\s+\d", out)
    (folder / "prices.yaml").write_text("other: {prompt: 1, completion: 2}\n")
    assert "no price of one of the models" in run(command)[2]


def test_compare_reuses_the_answers_of_evaluate(run):
    for policy in ("chooser", "kind"):
        run(f"evaluate {policy} --judge true-utility --seed 9 --store {STORE}")
    command = f"compare chooser kind --judge true-utility --seed 9 --store {STORE} --json"
    code, out, err = run(command)
    assert code == 0, err
    assert json.loads(out)["evaluation"]["calls"] == 0


def test_a_judge_that_fits_is_used_if_none_is_named(run):
    code, out, err = run(f"evaluate kind --limit 3 --store {STORE}")
    assert code == 0
    assert "No judge is named: --judge true-utility" in err
    assert "by true utility" in out


def test_a_recipe_keeps_its_first_name(run):
    code, out, err = run(f"policy add kind.yaml --name nice --store {STORE}")
    assert code == 0
    assert "Added kind" in out
    assert "as kind: the name nice is not used" in err

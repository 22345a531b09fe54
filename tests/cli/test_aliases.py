"""Spellings of the previous version: accepted, with a note."""

import json

import pytest

from backtalk.cli import main
from backtalk.cli.aliases import current_spelling
from backtalk.feedback import Interaction
from backtalk.store import Store


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("respond Hello --policy plain --keep", "ask Hello --policy plain --keep"),
        ("report 3f2a --output r.html", "evaluation report 3f2a --output r.html"),
        ("estimate brief --clip 20", "policy estimate brief --clip 20"),
        ("keys add shop --who ada", "key add shop --actor ada"),
        ("inbox add Better? --ask rate --most 5", "task add Better? --kind rate --max-items 5"),
        ("jobs", "job list"),
        ("jobs --json", "job list --json"),
        ("jobs --retry 15ff", "job retry 15ff"),
        ("jobs --retry=15ff --json", "job retry 15ff --json"),
        (
            "learn dpo --rounds 2 --ask 9 --samples 3 --pairs all --sampling first --mixing=0.1",
            (
                "learn-online dpo --rounds 2 --prompts-per-round 9 --num-samples 3 "
                "--pair-selection all --sampler first --mixture-weight=0.1"
            ),
        ),
        ("promote plain --who=ada", "promote plain --actor=ada"),
    ],
)
def test_an_old_spelling_becomes_the_current_one(old, new):
    current, note = current_spelling(old.split())
    assert current == new.split()
    assert note is not None
    assert "backtalk" in note


@pytest.mark.parametrize(
    "line",
    [
        "import a.jsonl",
        "export pairs.jsonl -f trl-preference",
        "policy add p.yaml --name plain",
        "promote plain --actor ada",
        "serve --port 8000",
        "leaderboard --json",
        "crossval --folds 5",
        "methods --json",
        "learn dpo -o beta=0.1",
        "ask Hello",
        "--help",
        "",
    ],
)
def test_a_current_spelling_stays_as_it_is(line):
    assert current_spelling(line.split()) == (line.split(), None)


def test_learn_with_watch_is_the_command_watch():
    current, note = current_spelling(["learn", "dpo", "--watch", "--every", "20", "--once"])
    assert current == ["watch", "dpo", "--every", "20", "--once"]
    assert note is None
    assert current_spelling(["learn", "dpo", "--watch", "--who", "ada"])[1] is not None


def test_the_old_command_runs_and_names_the_new_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with Store("backtalk.db") as store:
        store.add(Interaction.of("2 + 2?", "4", "5"))
    assert main(["inbox", "add", "Better?", "--ask", "compare", "--who", "ada"]) == 0
    assert "backtalk task" in capsys.readouterr().err
    assert main(["inbox", "list", "--json"]) == 0
    (task,) = json.loads(capsys.readouterr().out)
    assert (task["name"], task["kind"], task["actor"]) == ("Better?", "compare", "ada")

"""Feedback in short forms by the command line."""

import json

import pytest

from backtalk.cli import main
from backtalk.feedback import Interaction, Preference, Rating
from backtalk.store import Store


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    with Store("backtalk.db") as store:
        for id_, answers in (("aa11", ("Soon.",)), ("aa22", ("At nine.", "Soon."))):
            item = Interaction.of("When do you open?", *answers)
            store.add(item.model_copy(update={"id": id_}))

    def running(*arguments):
        code = main(["feedback", *arguments])
        return code, capsys.readouterr()

    return running


def stored():
    with Store("backtalk.db") as store:
        return list(store.feedback())


def test_ratings_thumbs_and_one_of_two_have_a_short_form(run):
    code, captured = run("last", "--prefer", "1", "--rating", "4/5", "--user", "ada")
    assert code == 0
    assert captured.out.splitlines()[0].startswith("ada rates answer 0: 4 on 1 to 5")
    assert "ada prefers answer 1 to answer 0" in captured.out
    assert run("aa1", "--thumb", "-", "--comment", "When?", "--user", "bo")[0] == 0
    rating, preference, label, critique = stored()
    assert (type(rating), rating.value) == (Rating, 4)
    assert (type(preference), preference.chosen, preference.interaction) == (
        Preference,
        "1",
        "aa22",
    )
    assert (label.good, label.interaction, critique.text) == (False, "aa11", "When?")


def test_without_feedback_the_interaction_is_shown(run):
    run("last", "--thumb", "+", "--response", "1", "--user", "ada")
    code, captured = run("last")
    assert code == 0
    assert captured.out.splitlines()[:3] == [
        "user      When do you open?", "answer 0  At nine.", "answer 1  Soon.",
    ]  # fmt: skip
    assert "ada calls answer 1 good" in captured.out
    shown = json.loads(run("last", "--json")[1].out)
    assert (shown["interaction"]["id"], len(shown["feedback"])) == ("aa22", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["aa", "--thumb", "+"], "aa11, aa22"),
        (["bb", "--thumb", "+"], "no interaction 'bb'"),
        (["", "--thumb", "+"], "no interaction ''"),
        (["last", "--thumb", "good"], "'up' or 'down'"),
        (["last", "--rating", "9/5"], "not on the scale"),
        (["aa11", "--prefer", "1"], "no response '1'"),
        (["last", "--edit", "Soon.", "--response", "1"], "the same"),
        (["last", "--response", "1"], "--thumb, --rating, --edit, --comment"),
        (["last", "--rating", "4", "--over", "1"], "--prefer"),
    ],
)
def test_feedback_that_does_not_fit_is_refused_and_nothing_is_stored(run, arguments, message):
    code, captured = run(*arguments)
    assert code == 1
    assert message in " ".join(captured.err.split())
    assert stored() == []

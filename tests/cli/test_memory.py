"""The entries of a memory by the command line."""

import json

import pytest

from backtalk.cli import main
from backtalk.feedback import (
    Annotator,
    Critique,
    Interaction,
    Label,
    MemoryUse,
    Response,
    as_prompt,
)
from backtalk.memory import Memory, MemoryEntry
from backtalk.store import Store


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("BACKTALK_STORE", "BACKTALK_PROJECT", "BACKTALK_ACTOR", "BACKTALK_WHO"):
        monkeypatch.delenv(name, raising=False)

    def running(*arguments):
        code = main(["memory", *arguments])
        return code, capsys.readouterr()

    return running


def ids(run, *arguments):
    return [row["id"] for row in json.loads(run("list", *arguments, "--json")[1].out)]


def test_people_own_the_entries(run):
    code, captured = run("add", "Use metric units.", "--actor", "boss")
    assert (code, "added: Use metric units." in captured.out) == (0, True)
    _, captured = run("add", "Imperial after all.", "--user", "ada")
    assert "superseded" not in captured.out
    (ada,) = ids(run, "--user", "ada")
    (entry,) = json.loads(run("list", "--user", "ada", "--json")[1].out)
    assert (entry["kind"], entry["people"], entry["revision"]) == ("preference", ["ada"], 0)
    _, captured = run("list")
    assert captured.out.splitlines()[1].split(maxsplit=2)[2].split(maxsplit=1) == [
        "ada",
        "Imperial after all.",
    ]
    assert "holds over" in run("show", ada[:14])[1].out
    _, captured = run("edit", ada, "Imperial, please.", "--everybody", "--actor", "boss")
    assert "edited: Imperial, please." in captured.out
    assert "superseded: Use metric units." in captured.out
    _, captured = run("history", ada)
    assert "Imperial after all." in captured.out
    assert "boss" in captured.out
    _, captured = run("undo", "--entry", ada)
    assert "holds again: Use metric units." in captured.out
    code, captured = run("forget", ada)
    assert (code, "forgotten" in captured.out) == (0, True)
    assert ids(run, "--state", "forgotten") == [ada]
    code, captured = run("undo", "--entry", ada)
    assert (code, "its text is gone" in captured.err) == (1, True)


def test_open_questions_are_listed_and_answered(run):
    run("add", "Use emojis.", "--by", "bo")
    _, captured = run("add", "No emojis.", "--by", "eve")
    assert "`backtalk memory settle" in captured.err
    (row,) = json.loads(run("list", "--conflicts", "--json")[1].out)
    assert (row["holds"]["text"], row["other"]["text"]) == ("No emojis.", "Use emojis.")
    _, captured = run("list", "--conflicts")
    assert "Use emojis." in captured.out
    assert "Open questions: 1" in run("list")[1].err
    _, captured = run("settle", row["other"]["id"])
    assert "holds over another: Use emojis." in captured.out
    assert "No question is open" in run("list", "--conflicts")[1].err


def test_why_says_where_an_entry_came_from_what_it_does_and_what_it_costs(run):
    interaction = Interaction.of("How far is it to Leeds?", "Forty miles.", user="ada")
    critique = Critique(interaction=interaction.id, annotator=Annotator.human("ada"), text="In km!")
    entry = MemoryEntry(
        kind="preference",
        text="Use metric units.",
        feedback=(critique.id,),
        interactions=(interaction.id,),
        people=("ada",),
        method="memory",
    )
    with Store("backtalk.db") as store:
        store.add(interaction, critique)
        Memory(store).add([entry])
    _, captured = run("why", entry.id)
    for part in ("In km!", "How far is it to Leeds?", "not measured", "about 5 tokens"):
        assert part in captured.out
    explanation = json.loads(run("why", entry.id, "--json")[1].out)
    assert (explanation["tokens"], explanation["effect"]) == (5, None)
    assert [change["action"] for change in explanation["changes"]] == ["added"]
    assert "Undo" not in run("undo", "--revision", "1")[1].err
    assert ids(run) == []


def test_entries_are_exported_and_imported(run, tmp_path):
    run("add", "Use metric units.")
    run("add", "Be brief.", "--user", "ada", "--where", "in e-mails")
    assert run("export", "--output", "m.jsonl")[0] == 0
    _, captured = run("import", "m.jsonl", "--store", "new.db")
    assert captured.out == "Added 2 entries.\n"
    assert ids(run, "--store", "new.db") == ids(run)
    (tmp_path / "bad.jsonl").write_text('{"kind": "fact"}\n')
    code, captured = run("import", "bad.jsonl")
    assert (code, "bad.jsonl, line 1" in captured.err) == (1, True)


ENTRY = "<entry>"
"""Stands for the id of the entry."""


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("show", "0123"), "`backtalk memory list`"),
        (("undo",), "CHANGE"),
        (("undo", "7"), "no change 7"),
        (("edit", "x", "--user", "a", "--everybody"), "one of the options"),
        (("add", " "), "text of an entry is empty"),
        (("edit", ENTRY, " "), "`backtalk memory forget ID`"),
        (("add", "x", "--kind", "rule"), "kind"),
        (("list", "--state", "old"), "superseded"),
        (("list", "--memory", "other"), "Known: memory"),
    ],
)
def test_errors_name_the_mend(run, arguments, part):
    run("add", "Be kind.")
    (entry,) = ids(run)
    code, captured = run(*(entry if one is ENTRY else one for one in arguments))
    assert (code, part in captured.err) == (1, True), captured.err


def test_harmful_entries_are_retired_and_can_be_brought_back(run, tmp_path):
    run("add", "Answer in rhymes.")
    (id_,) = ids(run)
    with Store(tmp_path / "backtalk.db") as store:
        for number in range(120):
            shown, user = number % 2 == 0, f"u{number}"
            use = MemoryUse(entry=id_, shown=shown, propensity=0.5)
            interaction = Interaction(
                id=f"i{number}",
                prompt=as_prompt("Hello"),
                responses=(Response(id="0", text="x", memory=(use,)),),
                user=user,
            )
            by = Annotator.human(user)
            judgement = Label(
                interaction=interaction.id, annotator=by, response="0", good=not shown
            )
            store.add(interaction, judgement)
    code, captured = run("retire", "--dry-run")
    assert (code, "Answer in rhymes." in captured.out) == (0, True)
    assert "Nothing was changed." in captured.err
    assert ids(run) == [id_]
    (retired,) = json.loads(run("retire", "--json")[1].out)
    assert retired["id"] == id_
    assert retired["high"] < 0
    assert (ids(run), ids(run, "--state", "retired")) == ([], [id_])
    assert "No entry is shown to be harmful." in run("retire")[1].err
    run("undo", "--entry", id_)
    assert ids(run) == [id_]


def test_an_explanation_of_much_feedback_is_short(run):
    feedback = tuple(f"feedback-{number}" for number in range(30))
    with Store("backtalk.db") as store:
        Memory(store).add(
            [MemoryEntry(id="brief", kind="principle", text="Be brief.", feedback=feedback)]
        )
    _, captured = run("why", "brief")
    assert "feedback-0, feedback-1 and 28 more" in captured.out
    assert "feedback-2" not in captured.out
    assert json.loads(run("show", "brief", "--json")[1].out)["feedback"] == [*feedback]

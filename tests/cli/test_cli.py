"""The commands, called as the shell calls them: what they print, and what they exit with."""

import io
import json
import os
import re
import subprocess
import sys

import pytest

from backtalk.cli import main
from backtalk.cli.exit_codes import ExitCode
from backtalk.feedback import Annotator, Interaction, Label
from backtalk.store import Store
from tests.demos import REQUESTS

REQUEST = "Write to my boss, Ms Klein.\nReport ready: Friday, 12 pages."
GROUPS = {
    "models",
    "evaluation",
    "experiment",
    "job",
    "judge",
    "key",
    "policy",
    "reward",
    "task",
    "memory",
}
PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}


@pytest.fixture(scope="module")
def mail(shared_demo, tmp_path_factory):
    return shared_demo.copy(tmp_path_factory.mktemp("mail") / "demo")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; return its exit code, result and messages."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "BACKTALK_STORE",
        "BACKTALK_PROJECT",
        "BACKTALK_ACTOR",
        "BACKTALK_WHO",
        "BACKTALK_DEBUG",
    ):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps({**PAIR, "prompt": f"{i} + {i}?"}) for i in range(5)]
    path.write_text("\n".join([*lines, "{broken"]))
    return path


def parsed(run, *arguments):
    code, out, err = run(*arguments)
    assert code == 0, err
    return json.loads(out)


def test_import_says_what_went_in_and_what_did_not(run, rows):
    code, out, err = run("import", rows, "--store", "s.db")
    assert code == ExitCode.BAD_ROWS
    assert "6 rows: 5 interactions and 5 feedback items added" in out
    assert "1 rows rejected" in out
    assert "pairs.jsonl.rejected.jsonl" in err
    assert "line 6: not JSON" in err
    assert rows.with_name("pairs.jsonl.rejected.jsonl").exists()
    assert run("import", rows, "-s", "s.db", "--allow-bad", 1)[0] == ExitCode.DONE


def test_import_twice_adds_nothing(run, rows):
    run("import", rows, "-s", "s.db")
    result = parsed(run, "import", rows, "-s", "s.db", "--allow-bad", 1, "--json")
    added = result[str(rows)]["added"]
    assert (added["interactions"], added["feedback"], added["known"]) == (0, 0, 10)


def test_import_by_a_mapping_from_standard_input(run, tmp_path, monkeypatch):
    (tmp_path / "map.yaml").write_text(
        "prompt: q\nresponses: [a]\nfeedback: [{kind: label, column: thumb}]"
    )
    text = io.TextIOWrapper(io.BytesIO(b"q,a,thumb\n2 + 2?,4,up\n"))
    monkeypatch.setattr(sys, "stdin", text)
    code, _, err = run("import", "-", "--mapping", "map.yaml", "-s", "s.db")
    assert (code, err.count("Next: ")) == (0, 1), err
    assert parsed(run, "status", "-s", "s.db", "--json")["counts"] == {"interaction": 1, "label": 1}


def test_projects_are_apart(run, rows):
    run("import", rows, "-s", "s.db", "-p", "one")
    assert parsed(run, "status", "-s", "s.db", "-p", "two", "--json")["counts"] == {
        "interaction": 0
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["status", "-s", "none.db"], ExitCode.ERROR, ["no store none.db", "backtalk import"]),
        (["import", "none.jsonl"], ExitCode.ERROR, ["There is no file none.jsonl"]),
        (["learn", "best-of-m", "-s", "MAIL"], ExitCode.ERROR, ["Did you mean 'best-of-n'?"]),
        (
            ["learn", "best-of-n", "-s", "MAIL", "-o", "m=3"],
            ExitCode.ERROR,
            ["no option of best-of-n 'm'"],
        ),
        (["learn", "best-of-n", "-s", "MAIL", "-o", "n"], ExitCode.ERROR, ["NAME=VALUE"]),
        (["evaluate", "nobody", "-s", "MAIL"], ExitCode.ERROR, ["no policy 'nobody'"]),
        (
            ["evaluate", "chooser", "--against", "plain", "--judge", "x", "-s", "MAIL"],
            ExitCode.ERROR,
            ["no judge 'x'", "true-utility"],
        ),
        (["promote", "from-edit", "-s", "MAIL"], ExitCode.REFUSED, ["does not pass the gate"]),
        (["schema", "thumb"], ExitCode.ERROR, ["preference"]),
        (["export", "x.txt", "-s", "MAIL"], ExitCode.ERROR, ["no known ending"]),
        (["policy", "add", "none.yaml"], ExitCode.ERROR, ["no file none.yaml"]),
        (["learn"], ExitCode.USAGE, ["Missing argument"]),
        (["nonsense"], ExitCode.USAGE, ["No such command"]),
    ],
)
def test_errors_are_one_line_and_the_mend(run, mail, arguments, code, words):
    result, out, err = run(*[mail if item == "MAIL" else item for item in arguments])
    assert result == code
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err
    if code in {ExitCode.ERROR, ExitCode.REFUSED}:
        assert err.startswith("Error: ")
        assert len(err.splitlines()) == 2


def test_a_traceback_is_shown_on_request_only(run):
    assert "Traceback" in run("status", "-s", "none.db", "--debug")[2]


def test_a_bug_is_called_a_bug(run, monkeypatch, mail):
    def broken(self):
        raise RuntimeError("boom")

    monkeypatch.setattr(Store, "counts", broken)
    code, _, err = run("status", "-s", mail)
    assert code == ExitCode.BUG
    assert "RuntimeError: boom" in err
    assert "bug" in err


def test_status_shows_everything(run, mail):
    code, out, _ = run("status", "-s", mail)
    assert code == 0
    for word in ("interaction", "ranking", "chooser", "active", "true utility", "promote", "demo"):
        assert word in out
    result = parsed(run, "status", "-s", mail, "--json")
    assert result["counts"]["interaction"] == REQUESTS
    assert result["served"] in {policy["id"] for policy in result["policies"]}
    assert result["history"][0]["actor"] == "demo"
    assert result["evaluations"][0]["win_rate"]["n"] > 20


def test_methods_and_learn_name_a_prompt_that_is_held_out_and_a_policy_that_is_missing(
    run, tmp_path
):
    pairs = tmp_path / "one.jsonl"
    # The hash of this prompt is in the fifth that is held out.
    pairs.write_text(json.dumps({**PAIR, "prompt": "Is it open?"}))
    assert run("import", pairs)[0] == 0
    out = run("methods")[1]
    assert "The one prompt with feedback is held out for evaluation" in out
    assert "no policy yet" in out
    policy = tmp_path / "plain.yaml"
    policy.write_text('model: {kind: endpoint, model: m, base_url: "http://127.0.0.1:9/v1"}')
    assert run("policy", "add", policy, "--name", "plain")[0] == 0
    assert "no policy yet" not in run("methods")[1]
    code, _, err = run("learn", "best-of-n", "--policy", "plain")
    assert code == ExitCode.ERROR
    assert "The one prompt with feedback is held out" in err
    assert "--split all" in err
    assert run("learn", "best-of-n", "--policy", "plain", "--split", "all")[0] == 0


def test_methods_tells_what_can_run(run, mail, rows):
    results = {item["name"]: item for item in parsed(run, "methods", "-s", mail, "--json")}
    assert results["best-of-n"]["ready"]
    assert "ranking" in results["best-of-n"]["drivers"]
    pairs, single = ({*results[name]["drivers"]} for name in ("dpo", "best-of-n"))
    assert single - pairs == {"steps"}, "right and wrong steps make single judgements, and no pairs"
    assert "yes" in run("methods", "-s", mail)[1]
    assert "best-of-n" in run("methods")[1]
    out = run("methods", "best-of-n")[1]
    assert "Stiennon" in out
    assert "pessimism" in out
    assert parsed(run, "methods", "best-of-n", "--json")["options"]["n"] == 8


def test_the_loop_from_a_file_of_policies_to_a_report(run, mail, tmp_path):
    store = tmp_path / "mine.db"
    run("export", "all.jsonl.gz", "-s", mail)
    assert run("import", "all.jsonl.gz", "-s", store)[0] == 0
    (tmp_path / "plain.yaml").write_text("model: {kind: named, name: writer}\n")
    on = ("-s", str(store))
    assert run("policy", "add", "plain.yaml", "--name", "plain", *on)[0] == 0
    assert run("promote", "plain", "--actor", "ada", *on)[0] == 0
    learned = parsed(
        run, "learn", "best-of-n", "--name", "best", "-o", "n=4", "-k", "ranking", *on, "--json"
    )
    assert learned["lineage"]["options"]["n"] == 4
    assert set(learned["lineage"]["snapshot"]["counts"]) == {"interaction", "ranking"}
    assert any("best of 4" in change for change in learned["changes"])
    code, out, err = run(
        "evaluate",
        "best",
        "--judge",
        "true-utility",
        "--guard",
        "true-utility:safe",
        "--report",
        "r.html",
        *on,
    )
    assert code == 0, err
    assert "true utility" in out
    assert (tmp_path / "r.html").exists()
    result = parsed(run, "evaluation", "report", "--json", *on)
    assert result["evaluation"]["candidate"] == learned["id"]
    assert run("evaluation", "report", "--output", "again.html", *on)[0] == 0
    assert (tmp_path / "again.html").read_text() == (tmp_path / "r.html").read_text()
    assert "Answers come from the best of" in run("policy", "diff", "plain", "best", *on)[1]
    assert "kind: best_of_n" in run("policy", "show", "best", *on)[1]
    response = parsed(run, "ask", REQUEST, "--policy", "best", "--keep", "--json", *on)
    assert response["responses"][0]["text"]
    with Store(store) as opened:
        saved = opened.interaction(response["id"])
    assert saved.policy == learned["id"]


def test_rollback_names_the_policy_that_is_active_again(run, tmp_path):
    (tmp_path / "p.yaml").write_text("model: {kind: named, name: writer}\n")
    run("policy", "add", "p.yaml", "--name", "plain")
    run("promote", "plain")
    assert "no active policy" in run("rollback", "--actor", "ada")[1]
    result = parsed(run, "status", "--json")
    assert [entry["action"] for entry in result["history"]] == ["promote", "rollback"]
    assert result["history"][1]["actor"] == "ada"
    assert run("rollback")[0] == ExitCode.ERROR


def test_a_spent_budget_has_an_exit_code_of_its_own_and_can_go_on(run, mail):
    call = ("evaluate", "from-edit", "--against", "plain", "--judge", "true-utility", "-s", mail)
    code, _, err = run(*call, "--max-calls", 5)
    assert code == ExitCode.BUDGET
    assert "calls" in err
    assert parsed(run, *call, "--json")["complete"]


def test_compare_chooses_on_some_prompts_and_judges_on_others(run, mail):
    on = ("--against", "plain", "--judge", "true-utility", "-s", mail)
    result = parsed(run, "compare", "from-choice", "from-edit", "from-label", *on, "--json")
    assert result["evaluation"]["chosen_of"] == 3
    assert sum(result["selection"]["held_out"]) == result["evaluation"]["prompts"]
    out = run("compare", "from-choice", "from-edit", "from-label", *on)[1]
    assert "Selection bias" in out


def test_prompts_of_ones_own(run, mail, tmp_path):
    from backtalk.worlds import get_world

    tasks = get_world("mail").tasks("held-out", 40, seed=5)
    prompts = [json.dumps({"prompt": task.text}) for task in tasks]
    (tmp_path / "p.jsonl").write_text("\n".join(prompts))
    on = ("--against", "plain", "--judge", "true-utility", "-s", mail)
    result = parsed(
        run, "evaluate", "chooser", "--prompts", "p.jsonl", *on, "--split", "all", "--json"
    )
    assert (result["prompts"], result["split"]) == (40, "all")
    (tmp_path / "p.jsonl").write_text('{"question": 1}')
    code, _, err = run("evaluate", "chooser", "--prompts", "p.jsonl", *on)
    assert code == ExitCode.ERROR
    assert "line 1 holds no prompt" in err


def test_crossval_and_leaderboard_on_recorded_answers(run, tmp_path):
    words = ["fine answer", "good answer here", "bad", "wrong one"]
    lines = []
    for i in range(40):
        for j, (model, text) in enumerate(zip("mnop", words, strict=True)):
            lines.append(
                json.dumps(
                    {
                        "instruction": f"question {i}",
                        "output_1": f"{text} {i}" + " so" * (i % 7 * j),
                        "output_2": f"reference {i}",
                        "generator_1": model,
                        "generator_2": "ref",
                        "preference": 1.1 + 0.2 * j + 0.05 * ((i + j) % 3),
                    }
                )
            )
    (tmp_path / "ae.jsonl").write_text("\n".join(lines))
    assert run("import", "ae.jsonl")[0] == 0
    result = parsed(run, "leaderboard", "--json")
    assert result["reference"] == "ref"
    assert [place["model"] for place in result["places"]] == ["m", "n", "o", "p"]
    assert "length-controlled" in run("leaderboard")[1]
    controlled = [place["length_controlled"] for place in result["places"]]
    assert [rate is None for rate in controlled] == [True, False, False, False]  # m: equal lengths
    guarded = parsed(run, "leaderboard", "--variant", "p", "--json")
    assert guarded["places"][1]["length_controlled"]["value"] != controlled[1]["value"]
    code, _, err = run("leaderboard", "--variant", "z")
    assert code == ExitCode.ERROR
    assert "'z'" in err
    result = parsed(run, "crossval", "--folds", 4, "--choose", "--json")
    assert result["choices"] == 40
    assert result["candidates"] == 4
    assert (
        result["choice"]["chooser"]["value"]
        > result["choice"]["baselines"]["random"]["score"]["value"]
    )
    out = run("reward", "crossval", "--folds", 4, "--choose")[1]
    assert "longer wins" in out
    assert "Best of 4.0 recorded answers" in out

    assert run("policy", "replay", "anyone")[0] == 0
    assert run("promote", "anyone")[0] == 0
    code, _, err = run("learn", "best-of-n", "--name", "best", "-o", "n=4")
    assert code == 0, err
    result = parsed(run, "evaluate", "best", "--json")
    assert result["judge"] == "recorded feedback"
    assert result["value"]["candidate"]["value"] >= result["value"]["baseline"]["value"]


def test_a_person_may_ask_for_their_data_to_go(run, tmp_path):
    with Store(tmp_path / "backtalk.db") as store:
        interaction = Interaction.of("2 + 2?", "4", user="bo")
        ada = Annotator.human("ada")
        store.add(
            interaction, Label(interaction=interaction.id, annotator=ada, response="0", good=True)
        )
    assert "Deleted" in run("delete", interaction.id)[1]
    assert parsed(run, "status", "--json")["counts"] == {"interaction": 0}
    assert run("restore", interaction.id)[0] == 0
    result = parsed(run, "purge", "bo", "--yes", "--json")
    assert (result["interactions"], result["feedback"]) == (1, 1)
    assert parsed(run, "status", "--json")["counts"] == {"interaction": 0}


def test_everything_travels_as_a_folder(run, mail):
    result = parsed(run, "export", "everything", "-f", "archive", "-s", mail, "--json")
    assert result["documents"] > 10
    assert run("import", "everything", "-f", "archive", "-s", "new.db")[0] == 0
    ours, theirs = (parsed(run, "status", "-s", s, "--json") for s in (mail, "new.db"))
    for key in ("counts", "served", "policies", "evaluations", "history"):
        assert ours[key] == theirs[key]


def test_export_to_standard_output_is_rows_and_nothing_else(run, rows):
    run("import", rows)
    out = subprocess.run(
        [sys.executable, "-m", "backtalk", "export", "-", "-f", "trl-preference"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ""},
    ).stdout
    assert len([json.loads(line) for line in out.splitlines()]) == 5


def test_schema_is_json_schema(run):
    whole = parsed(run, "schema")
    assert whole["$schema"].startswith("https://json-schema.org/")
    assert "Preference" in whole["$defs"]
    assert "verdict" in parsed(run, "schema", "preference")["properties"]


def test_every_command_helps_with_an_example(run):
    out = run("--help")[1]
    names = set(_listed(out))
    assert len(names) > 25
    inner = {f"{group} {name}" for group in GROUPS for name in _listed(run(group, "--help")[1])}
    for name in (names - GROUPS) | inner:
        text = run(*name.split(), "--help")[1]
        assert f"backtalk {name}" in text.replace("Usage: backtalk", "")
        assert "Examples" in text


def _listed(text):
    """The commands that a help lists."""
    return re.findall(r"^│ (\w[\w-]*) ", text, re.MULTILINE)


def test_version(run):
    assert run("--version")[1].startswith("backtalk ")


def test_simulated_people_fill_a_store(run, tmp_path):
    call = ("simulate", "mail", "--requests", 20, "--drafts", 2, "-k", "preference", "-k", "edit")
    result = parsed(run, *call, "-o", "noise=0.25", "--each", 2, "--json")
    assert result["feedback"]["preference"] == 40
    assert result["seconds"] > 40 * 15
    status = parsed(run, "status", "--json")
    assert status["counts"]["interaction"] == 20
    assert run("promote", "plain")[0] == 0
    again = parsed(run, "simulate", "mail", "--requests", 5, "-k", "label", "--json")
    assert again["policy"] == result["policy"], "what is served drafts"


def test_one_answer_to_each_request_has_feedback_of_the_kinds_that_compare_none(run):
    result = parsed(run, "simulate", "mail", "--requests", 5, "--drafts", 1, "--json")
    assert result["feedback"]["label"] == 5
    assert not {"preference", "ranking"} & set(result["feedback"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "mail", "--drafts", 1, "-k", "ranking"], "compares answers"),
        (["simulate", "post"], "lists, mail, programs, sums"),
        (["simulate", "mail", "-o", "nose=1"], "Did you mean 'noise'"),
        (["simulate", "mail", "-o", "noise=much"], "valid number"),
        (["simulate", "mail", "-o", "noise=0.7"], "[0, 0.5]"),
        (["simulate", "mail", "--requests", 5, "--each", 9], "different people"),
        (["simulate", "mail", "--requests", 5, "-k", "smile"], "kind of feedback 'smile'"),
    ],
)
def test_what_cannot_be_simulated_is_named(run, arguments, words):
    code, _, err = run(*arguments)
    assert code == ExitCode.ERROR
    assert words in " ".join(err.split())

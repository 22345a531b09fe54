"""``backtalk import --preview`` and ``--suggest``, and the end of its summary."""

import io
import json
import sys

import pytest

from backtalk.cli import main
from backtalk.formats import RowMapping
from tests.formats.samples import CHAT, answer, write_rows

PAIR = {
    "system": "Be brief.",
    "prompt": "Is it open?",
    "chosen": "Yes.",
    "rejected": "No.",
    "split": "test",
    "empty": None,
}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; return its exit code, result and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKTALK_STORE", raising=False)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_preview_shows_rows_as_a_person_reads_them_and_stores_nothing(run, tmp_path):
    write_rows(tmp_path / "x.jsonl", {**PAIR, "rater": "ada"}, {**PAIR, "chosen": None}, PAIR)
    code, out, _ = run("import", "x.jsonl", "--preview", 2)
    assert code == 0
    assert out.splitlines() == [
        (
            "x.jsonl: trl-preference (TRL preference: prompt, chosen, rejected; also Intel's orca "
            "pairs)"
        ),
        "row 1",
        "  system    Be brief.",
        "  user      Is it open?",
        "  answer 0  Yes.",
        "  answer 1  No.",
        "  ada prefers answer 0 to answer 1",
        "row 2 is rejected: chosen: missing",
        "7 columns: 5 read, 1 kept as metadata (split), 1 left out (empty)",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_a_preview_of_standard_input(run, monkeypatch, tmp_path):
    text = io.TextIOWrapper(io.BytesIO(json.dumps(PAIR).encode() + b"\n"))
    monkeypatch.setattr(sys, "stdin", text)
    _, out, _ = run("import", "-", "--preview", 1)
    assert "  answer 1  No." in out
    assert not list(tmp_path.iterdir())


def test_a_preview_shows_tool_calls_and_parts(run, tmp_path):
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    prompt = [{"role": "user", "content": [{"type": "text", "text": "Add"}, image]}]
    row = {
        "prompt": prompt,
        "completion": [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "18"},
            answer("It is 18."),
        ],
        "label": False,
    }
    write_rows(tmp_path / "x.jsonl", row)
    _, out, _ = run("import", "x.jsonl", "--preview", 1)
    assert out.splitlines()[1:-1] == [
        "row 1",
        "  user         Add [image_url]",
        '  answer 0     calls add({"a": 1})',
        "    tool       18",
        "    assistant  It is 18.",
        "  unknown human calls answer 0 bad",
    ]


def test_a_suggested_mapping_reads_the_file(run, tmp_path):
    rows = [{"prompt": f"{i}?", "completion": "Go away.", "stars": 1 + i % 5} for i in range(9)]
    write_rows(tmp_path / "x.jsonl", *rows)
    _, suggested, _ = run("import", "x.jsonl", "--suggest")
    RowMapping.from_yaml(suggested)
    (tmp_path / "x.yaml").write_text(suggested)
    _, out, _ = run("import", "x.jsonl", "--mapping", "x.yaml", "--json")
    assert json.loads(out)["x.jsonl"]["added"]["feedback"] == 9


@pytest.mark.parametrize(
    "options",
    [("--suggest", "--preview", "2"), ("--suggest", "--json"), ("--preview", "2", "--json")],
)
def test_options_without_an_effect_are_refused(run, options, tmp_path):
    write_rows(tmp_path / "x.jsonl", PAIR)
    code, _, err = run("import", "x.jsonl", *options)
    assert code != 0
    assert "no effect" in err


def test_the_summary_ends_with_what_was_unusual(run, tmp_path):
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    calls = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{**call, "function": {"name": name, "arguments": "{}"}}],
        }
        for name in ("add", "subtract")
    ]
    rows = [
        {"prompt": "Empty?", "chosen": "Yes.", "rejected": ""},
        {"prompt": CHAT, "chosen": [calls[0]], "rejected": [calls[1]]},
    ]
    write_rows(tmp_path / "x.jsonl", *rows)
    _, out, _ = run("import", "x.jsonl", "--json")
    assert json.loads(out)["x.jsonl"]["unusual"] == [
        "1 answer is empty",
        "1 interaction has answers that differ only in tool calls or other parts of messages",
    ]
    _, _, err = run("import", "x.jsonl")
    assert "1 answer is empty" in err


def test_equal_votes_of_one_person_count_once_with_a_remark(run, tmp_path):
    vote = {"prompt": "Is it open?", "completion": "Go away.", "label": False}
    people = [{**vote, "user": name} for name in ("ada", "bo", "ada", "ada")]
    write_rows(tmp_path / "x.jsonl", *people)
    for repeated in ([2], []):
        _, out, _ = run("import", "x.jsonl", "--json")
        lines = json.loads(out)["x.jsonl"]["unusual"]
        counts = [int(line.split()[0]) for line in lines if "one of an earlier row" in line]
        assert counts == repeated

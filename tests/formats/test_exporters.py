"""Export: files read back as the same records, and losses are counted with their reasons."""

import gzip
import io
import json
import sys
import tracemalloc

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Instruction,
    Interaction,
    Label,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
    Steps,
)
from backtalk.feedback.aspects import on_aspect
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.views import LabelView, Pair, SFTExample, StepLabels
from backtalk.formats import EXPORTS, FORMATS, ParsedRow, export, read
from backtalk.formats.exporters.export import default_split
from tests.formats.samples import CHAT, answer, read_case, write_rows
from tests.strategies import cases

ADA = Annotator.human("ada")


def mixed_case():
    """Return a case with a pair, an example, a label and steps."""
    interaction = Interaction.of("2 + 2?", "4", "5")
    common = {"interaction": interaction.id, "annotator": Annotator.human("ada")}
    return Case(
        interaction,
        (
            Preference(**common, a="0", b="1", verdict="a"),
            Demonstration(**common, text="Four"),
            Label(**common, response="1", good=False),
            Steps(**common, response="0", steps=({"start": 0, "end": 1, "verdict": "neutral"},)),
        ),
    )


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("trl-preference", Pair),
        ("trl-unpaired", LabelView),
        ("trl-prompt-completion", SFTExample),
        ("trl-stepwise", StepLabels),
        ("openai-chat", SFTExample),
        ("openai-preference", Pair),
    ],
)
def test_exported_files_read_back_as_the_same_views(name, view, ending, tmp_path):
    case = mixed_case()
    path = tmp_path / f"out{ending}"
    summary = export([case], path, name)
    restored = [v for row in read(path, format=name) for c in row.cases for v in views(c, view)]
    expected = views(case, view)
    assert summary.rows == len(expected) == len(restored) > 0

    def comparable(item):
        fields = item.model_dump(exclude={"interaction", "annotator", "feedback", "steps"})
        return json.dumps(fields, default=str)

    if view is StepLabels:
        assert [item.texts for item in restored] == [item.texts for item in expected]
    else:
        assert sorted(map(comparable, restored)) == sorted(map(comparable, expected))


@given(generated=st.lists(cases(), max_size=4, unique_by=lambda case: case.interaction.id))
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_the_backtalk_layout_is_lossless(generated, ending, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / f"all{ending}"
    cases_only = [
        Case(c.interaction, tuple(f for f in c.feedback if f.interaction)) for c in generated
    ]
    system_feedback = [f for c in generated for f in c.feedback if f.interaction is None]
    export(cases_only, path, "backtalk", system_feedback=system_feedback)
    rows = list(read(path, format="backtalk"))
    assert [case for row in rows for case in row.cases] == cases_only
    assert [item for row in rows for item in row.feedback] == system_feedback


def test_cases_without_a_row_in_the_layout_are_counted(tmp_path):
    interaction = Interaction.of("2 + 2?", "4")
    critique_case = Case(
        interaction,
        (Critique(interaction=interaction.id, annotator=Annotator.human(), text="Hm."),),
    )
    summary = export([critique_case, mixed_case()], tmp_path / "x.jsonl", "trl-preference")
    assert (summary.rows, summary.cases, summary.left_out) == (1, 1, 1)


def test_a_failed_export_leaves_the_existing_file(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("before")

    def failing():
        yield mixed_case()
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        export(failing(), path, "trl-preference")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_formats_and_endings_are_errors(tmp_path):
    with pytest.raises(UnknownName, match="trl-preference"):
        export([], tmp_path / "x.jsonl", "trl-preferences")
    with pytest.raises(BacktalkError, match="no known ending"):
        export([], tmp_path / "x.txt", "backtalk")
    assert set(EXPORTS) >= {"backtalk", "openai-chat", "trl-preference"}


def read_json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@given(
    generated=st.lists(
        cases().filter(lambda case: case.interaction.prompt[-1].text.strip()), max_size=4
    )
)
@pytest.mark.parametrize(("name", "view"), [("trl-preference", Pair), ("openai-preference", Pair)])
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_pairs_of_every_kind_of_feedback_come_back(generated, name, view, ending, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"pairs{ending}"
    summary = export(generated, path, name)
    expected = [
        (pair.prompt, pair.chosen, pair.rejected)
        for case in generated
        for pair in views(on_aspect(case, OVERALL), view)
        if not pair.tie and not pair.is_equal
    ]
    restored = list(read(path, format=name))
    assert all(isinstance(row, ParsedRow) for row in restored)
    assert [
        (pair.prompt, pair.chosen, pair.rejected)
        for row in restored
        for case in row.cases
        for pair in views(case, view)
    ] == expected
    assert summary.rows == len(expected)
    assert summary.cases + summary.left_out == len(generated)
    assert sum(summary.reasons.values()) == summary.left_out
    assert "" not in summary.reasons


def test_a_ranking_is_exported_as_its_pairs(tmp_path):
    interaction = Interaction.of("Name a prime.", "7", "9", "2")
    item = Ranking(interaction=interaction.id, annotator=ADA, tiers=(("0", "2"), ("1",)))
    path = tmp_path / "x.jsonl"
    summary = export([Case(interaction, (item,))], path, "trl-preference")
    results = [(row["chosen"], row["rejected"]) for row in read_json_lines(path)]
    assert results == [([answer("7")], [answer("9")]), ([answer("2")], [answer("9")])]
    assert summary.dropped == {"a tie, which is no preference": 1}


def test_rows_have_the_documented_layout(tmp_path):
    path = tmp_path / "x.jsonl"
    written_rows = {}
    for name in EXPORTS:
        export([mixed_case()], path, name)
        written_rows[name] = read_json_lines(path)
    del written_rows["backtalk"]
    assert written_rows == {
        "trl-preference": [{"prompt": CHAT, "chosen": [answer("4")], "rejected": [answer("5")]}],
        "trl-unpaired": [
            {"prompt": CHAT, "completion": [answer("5")], "label": False},
            {"prompt": CHAT, "completion": [answer("4")], "label": True},
            {"prompt": CHAT, "completion": [answer("5")], "label": False},
        ],
        "trl-stepwise": [{"prompt": "2 + 2?", "completions": ["4"], "labels": [True]}],
        "trl-prompt-completion": [{"prompt": CHAT, "completion": [answer("Four")]}],
        "openai-chat": [{"messages": [*CHAT, answer("Four")]}],
        "openai-preference": [
            {
                "input": {"messages": CHAT},
                "preferred_output": [answer("4")],
                "non_preferred_output": [answer("5")],
            }
        ],
    }


def test_reasons_why_cases_are_left_out(tmp_path):
    interaction = Interaction.of("2 + 2?", "4", "5")
    common = {"interaction": interaction.id, "annotator": ADA}
    feedback_of_cases = [
        (),
        (Critique(**common, text="Hm."),),
        (Critique(**common, text="Hm."), Demonstration(**common, text="4")),
        (Preference(**common, a="0", b="1", verdict="tie"),),
        (Preference(**common, a="0", b="1", verdict="both_bad"),),
        (Rating(**common, response="0", value=3),),
        (Outcome(**common, response="0", passed=True),),
    ]
    system_feedback = [Instruction(interaction=None, annotator=ADA, text="Be brief.")]
    path = tmp_path / "x.jsonl"
    summary = export(
        [Case(interaction, item) for item in feedback_of_cases],
        path,
        "trl-preference",
        system_feedback=system_feedback,
    )
    assert (summary.rows, summary.cases, summary.left_out) == (0, 0, 7)
    assert path.read_text() == ""
    unmet = "does not meet the condition"
    assert summary.reasons == {
        "no feedback": 1,
        "no conversion from critique to trl-preference": 1,
        "no conversion from critique, demonstration to trl-preference": 1,
        "a tie, which is no preference": 1,
        f"preference {unmet}: a preference or a tie, not both bad": 1,
        f"rating {unmet}: two responses rated by one annotator on one aspect": 1,
        f"outcome {unmet}: two responses with different outcomes by one verifier": 1,
    }
    assert summary.dropped == {
        "a tie, which is no preference": 1,
        "feedback that is not about an interaction": 1,
    }


def case_with_tool_call():
    """Return a preference for a response with a tool call, and the response's messages."""
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    turns = (
        Message(role="assistant", content=None, tool_calls=(call,)),
        Message(role="tool", content="4", tool_call_id="c"),
        Message.assistant("It is 4."),
    )
    interaction = Interaction(
        prompt=(Message.user("2 + 2?"),),
        responses=(
            Response(id="0", text="It is 4.", messages=turns),
            Response(id="1", text="5"),
        ),
        metadata={"tools": [{"type": "function"}]},
    )
    item = Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a")
    return Case(interaction, (item,)), turns


def test_responses_of_several_messages_are_written_if_the_layout_supports_them(tmp_path):
    case, turns = case_with_tool_call()
    path = tmp_path / "x.jsonl"
    assert export([case], path, "trl-preference").rows == 1
    better, worse = read_case(path).interaction.responses
    assert (better.messages, worse.messages) == (turns, ())
    summary = export([case], path, "openai-preference")
    assert (summary.rows, summary.left_out) == (0, 1)
    assert "several messages" in next(iter(summary.reasons))
    summary = export([case], tmp_path / "x.parquet", "trl-preference")
    assert (summary.rows, summary.left_out) == (0, 1)
    assert "only JSON lines" in next(iter(summary.reasons))
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


def test_tools_of_a_conversation_come_back(tmp_path):
    row = {"messages": [*CHAT, answer("4")], "tools": [{"type": "function", "function": {}}]}
    export([read_case(write_rows(tmp_path / "x.jsonl", row))], tmp_path / "y.jsonl", "openai-chat")
    assert read_json_lines(tmp_path / "y.jsonl") == [row]


def test_every_export_format_is_an_import_format():
    assert set(EXPORTS) <= set(FORMATS)
    assert all(item.title and item.source and item.rows.__doc__ for item in EXPORTS.values())


def test_standard_output_gets_json_lines(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    export([mixed_case()], "-", "openai-chat")
    assert json.loads(out.getvalue()) == {"messages": [*CHAT, answer("Four")]}


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("name", ["trl-preference", "backtalk"])
def test_memory_does_not_grow_with_the_number_of_cases(name, ending, tmp_path):
    interaction = Interaction.of("2 + 2?", "4" * 1_000, "5" * 1_000)
    case = Case(
        interaction,
        (Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a"),),
    )
    peaks = []
    for count in (11_000, 33_000):
        tracemalloc.start()
        summary = export((case for _ in range(count)), tmp_path / f"x{ending}", name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert summary.cases == count
    assert peaks[1] < 1.2 * peaks[0] + 1_000_000


def test_an_export_is_compressed_as_its_ending_says(tmp_path):
    export([mixed_case()] * 50, tmp_path / "x.jsonl.gz", "openai-chat")
    assert len(gzip.decompress((tmp_path / "x.jsonl.gz").read_bytes()).splitlines()) == 50
    with pytest.raises(BacktalkError, match="There is no folder"):
        export([], tmp_path / "none" / "x.jsonl", "openai-chat")


def test_a_split_of_the_prompts_is_exported(tmp_path):
    cases = [
        Case(
            (interaction := Interaction.of(f"{i}?", "Yes.", "No.")),
            (Preference(interaction=interaction.id, annotator=Annotator.human("ada"),
                        a="0", b="1", verdict="a"),),
        )
        for i in range(60)
    ]  # fmt: skip
    counts = {}
    for split in ("train", "held-out", "all"):
        done = export(cases, tmp_path / f"{split}.jsonl", "trl-preference", split=split)
        counts[split] = done.rows
        assert (done.rows + done.other_split, done.left_out) == (60, 0)
    assert counts["all"] == counts["train"] + counts["held-out"] == 60
    assert 0 < counts["held-out"] < counts["train"]
    assert default_split("trl-preference") == default_split("openai-chat") == "train"
    assert default_split("backtalk") == "all"

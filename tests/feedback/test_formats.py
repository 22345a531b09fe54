"""Layouts in and out: what each row means, what is refused, what comes back as it was."""

import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backtalk.errors import BacktalkError, NotFound, RecordError, UnknownName
from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Steps,
)
from backtalk.feedback.conversions import views
from backtalk.feedback.formats import (
    EXPORTS,
    FORMATS,
    BadRow,
    Parsed,
    Rejects,
    RowMapping,
    export,
    read,
)
from backtalk.feedback.views import Case, Example, Labelled, Pair, Stepwise
from tests.strategies import cases

CHAT = [{"role": "user", "content": "2 + 2?"}]


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def one(path, **options):
    """The only case of the only row."""
    (row,) = read(path, **options)
    assert isinstance(row, Parsed), row
    (case,) = row.cases
    return case


SAMPLES = {
    "trl-preference": {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
    "trl-unpaired": {"prompt": "2 + 2?", "completion": "4", "label": True},
    "trl-prompt-completion": {"prompt": "2 + 2?", "completion": "4"},
    "trl-stepwise": {"prompt": "2 + 2?", "completions": ["Two", "Four"], "labels": [True, False]},
    "openai-chat": {"messages": [*CHAT, {"role": "assistant", "content": "4"}]},
    "openai-preference": {
        "input": {"messages": CHAT},
        "preferred_output": [{"role": "assistant", "content": "4"}],
        "non_preferred_output": [{"role": "assistant", "content": "5"}],
    },
    "hh-rlhf": {
        "chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4",
        "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5",
    },
    "ultrafeedback": {
        "instruction": "2 + 2?",
        "completions": [
            {
                "response": "4",
                "model": "m",
                "overall_score": 9,
                "critique": "Right.",
                "annotations": {"honesty": {"Rating": "5", "Rationale": "Sure."}},
            }
        ],
    },
    "prm800k": {
        "labeler": "ada",
        "timestamp": "2022-07-17T17:16:36",
        "question": {"problem": "2 + 2?"},
        "label": {
            "steps": [
                {
                    "completions": [
                        {"text": "Two and two.", "rating": 1, "flagged": False},
                        {"text": "A guess.", "rating": -1, "flagged": False},
                    ],
                    "human_completion": None,
                    "chosen_completion": 0,
                },
                {
                    "completions": [{"text": "Five.", "rating": -1, "flagged": False}],
                    "human_completion": None,
                    "chosen_completion": None,
                },
            ],
            "finish_reason": "found_error",
        },
    },
    "openassistant": {
        "message_tree_id": "t",
        "prompt": {
            "message_id": "t",
            "role": "prompter",
            "text": "2 + 2?",
            "replies": [
                {"message_id": "a", "role": "assistant", "text": "5", "rank": 1, "replies": []},
                {"message_id": "b", "role": "assistant", "text": "4", "rank": 0, "replies": []},
            ],
        },
    },
    "argilla": {
        "id": "r",
        "fields": {"prompt": "2 + 2?", "response": "4"},
        "responses": {"quality": [{"value": 5, "user_id": "ada", "status": "submitted"}]},
        "suggestions": {},
        "metadata": {},
    },
    "alpaca-eval": {
        "instruction": "2 + 2?",
        "output_1": "4",
        "output_2": "5",
        "generator_1": "m",
        "generator_2": "n",
        "preference": 1.25,
        "annotator": "judge",
    },
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_layout_is_recognised_by_its_fields(name, tmp_path):
    path = written(tmp_path / "rows.jsonl", SAMPLES[name])
    assert list(read(path)) == list(read(path, format=name))
    assert isinstance(next(read(path)), Parsed)


def test_every_format_says_where_its_layout_is_described():
    assert set(SAMPLES) <= set(FORMATS)
    assert all(each.title and each.source and each.parse.__doc__ for each in FORMATS.values())


def test_preferences(tmp_path):
    for name in ("trl-preference", "openai-preference", "hh-rlhf"):
        case = one(written(tmp_path / "x.jsonl", SAMPLES[name]), format=name)
        (pair,) = views(case, Pair)
        assert (pair.chosen, pair.rejected) == ("4", "5")
        assert [message.text for message in pair.prompt] == ["2 + 2?"]


def test_a_judges_probability_counts_for_the_first_output(tmp_path):
    case = one(written(tmp_path / "x.jsonl", SAMPLES["alpaca-eval"]))
    (said,) = case.of(Preference)
    assert (said.verdict, said.probability, said.annotator.id) == ("a", 0.75, "judge")
    assert [response.model for response in case.interaction.responses] == ["m", "n"]


def test_checked_steps(tmp_path):
    (said,) = one(written(tmp_path / "x.jsonl", SAMPLES["trl-stepwise"])).of(Steps)
    assert [step.verdict for step in said.steps] == ["right", "wrong"]
    case = one(written(tmp_path / "y.jsonl", SAMPLES["prm800k"]))
    steps = {said.response: [step.verdict for step in said.steps] for said in case.of(Steps)}
    assert ["wrong"] in steps.values()
    assert ["right", "wrong"] in steps.values()
    assert case.of(Steps)[0].annotator.id == "ada"


def test_ratings_and_critiques_of_ultrafeedback(tmp_path):
    case = one(written(tmp_path / "x.jsonl", SAMPLES["ultrafeedback"]))
    values = {said.aspect: (said.value, said.scale.high) for said in case.of(Rating)}
    assert values == {"overall": (9, 10), "honesty": (5, 5)}
    assert {said.text for said in case.of(Critique)} == {"Right.", "Sure."}


def test_ranks_of_replies(tmp_path):
    case = one(written(tmp_path / "x.jsonl", SAMPLES["openassistant"]))
    (said,) = case.of(Ranking)
    assert [case.text(id_) for tier in said.tiers for id_ in tier] == ["4", "5"]


def test_answers_of_argilla(tmp_path):
    (said,) = one(written(tmp_path / "x.jsonl", SAMPLES["argilla"])).of(Rating)
    assert (said.value, said.annotator.id, said.aspect) == (5, "ada", "quality")


def test_examples_to_imitate(tmp_path):
    for name in ("openai-chat", "trl-prompt-completion"):
        (said,) = one(written(tmp_path / "x.jsonl", SAMPLES[name])).of(Demonstration)
        assert said.text == "4"
    (said,) = one(written(tmp_path / "x.jsonl", SAMPLES["trl-unpaired"])).of(Label)
    assert said.good


def test_an_option_that_the_format_does_not_have_is_refused(tmp_path):
    path = written(tmp_path / "x.jsonl", SAMPLES["hh-rlhf"])
    with pytest.raises(UnknownName, match="judge"):
        read(path, format="hh-rlhf", options={"judge": "me"})
    with pytest.raises(UnknownName, match="Did you mean 'hh-rlhf'"):
        read(path, format="hh-rhlf")


def test_fields_that_nobody_knows_are_an_error_that_lists_the_formats(tmp_path):
    with pytest.raises(BacktalkError, match=r"'colour'.*trl-preference"):
        list(read(written(tmp_path / "x.jsonl", {"colour": "red"})))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "a", "chosen": "b"', "not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ('{"prompt": "a", "chosen": 3, "rejected": "b"}', "chosen"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "the same as chosen"),
        ('{"prompt": null, "chosen": NaN, "rejected": "b"}', "not JSON"),
        ('{"prompt": "", "chosen": "b"}', "rejected"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line_and_reason(line, reason, tmp_path):
    good = json.dumps(SAMPLES["trl-preference"])
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{good}\n\n{line}\n{good}\n")
    first, bad, last = read(path, format="trl-preference")
    assert isinstance(first, Parsed)
    assert isinstance(last, Parsed)
    assert isinstance(bad, BadRow)
    assert bad.line == 3
    assert reason in bad.reason


def test_bytes_that_are_not_utf8_are_a_bad_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        '{"prompt": "a", "chosen": "é", "rejected": "b"}\n'.encode("latin-1")
        + json.dumps(SAMPLES["trl-preference"]).encode()
    )
    bad, good = read(path, format="trl-preference")
    assert isinstance(bad, BadRow)
    assert isinstance(good, Parsed)


def test_rejected_rows_can_be_imported_once_they_are_mended(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "chosen": 3, "rejected": "b"}\n')
    with Rejects(path) as rejects:
        for row in read(path, format="trl-preference"):
            rejects.add(row)
    assert rejects.path == tmp_path / "rows.jsonl.rejected.jsonl"
    entry = json.loads(rejects.path.read_text())
    assert entry["line"] == 1
    assert "chosen" in entry["reason"]
    entry["row"]["chosen"] = "3"
    rejects.path.write_text(json.dumps(entry))
    assert one(rejects.path, format="trl-preference").of(Preference)


@pytest.mark.parametrize("packing", ["plain", "gz", "zst"])
def test_packed_files_read_like_plain_ones(packing, tmp_path):
    text = (json.dumps(SAMPLES["trl-preference"]) + "\n").encode() * 3
    packed = {
        "plain": lambda: text,
        "gz": lambda: gzip.compress(text),
        "zst": lambda: zstandard.compress(text),
    }[packing]()
    path = tmp_path / f"rows.jsonl.{packing}"
    path.write_bytes(packed)
    assert len(list(read(path))) == 3


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_is_cut_off_gives_its_rows_and_says_so(pack, tmp_path):
    lines = [json.dumps({**SAMPLES["trl-preference"], "id": i}) for i in range(20_000)]
    whole = pack("\n".join(lines).encode())
    path = tmp_path / "rows.jsonl"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    rows = list(read(path, format="trl-preference"))
    assert isinstance(rows[-1], BadRow)
    assert len(rows) > 100


def test_csv_tsv_json_and_parquet_say_the_same(tmp_path):
    rows = [SAMPLES["trl-preference"], {"prompt": "a, b\nc", "chosen": 'x"y', "rejected": "z"}]
    written(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    header = "prompt,chosen,rejected"
    (tmp_path / "d.csv").write_text(f'\ufeff{header}\r\n2 + 2?,4,5\r\n"a, b\nc","x""y",z\r\n')
    found = {path.suffix: [row.cases for row in read(path)] for path in sorted(tmp_path.iterdir())}
    assert len(found) == 4
    assert all(each == found[".jsonl"] for each in found.values())


def test_a_folder_is_read_with_its_subfolders_but_for_hidden_and_rejected(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.jsonl", "deep/b.jsonl", ".hidden.jsonl", "a.jsonl.rejected.jsonl"):
        written(tmp_path / name, SAMPLES["trl-preference"])
    (tmp_path / "notes.txt").write_text("not rows")
    assert [row.source.rsplit("/")[-1] for row in read(tmp_path)] == ["a.jsonl", "b.jsonl"]


def test_standard_input(monkeypatch):
    text = json.dumps(SAMPLES["trl-preference"]).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(text))))
    (row,) = read("-")
    assert row.source == "stdin"


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(BacktalkError, match="There is no file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(BacktalkError, match="no file to read in the folder"):
        read(tmp_path)


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "x.jsonl").write_text("")
    assert list(read(tmp_path / "x.jsonl")) == []


MAPPING = """
prompt: question
system: told
responses: [{text: one, model: writer}, {text: two, written_by: house}]
user: customer
time: at
metadata: [meta.channel]
feedback:
  - {kind: rating, column: stars, scale: 0-10, aspect: tone, annotator: rater}
  - {kind: label, column: thumb, response: 1}
  - {kind: preference, column: winner, annotator_kind: model}
  - {kind: ranking, columns: [rank1, rank2]}
  - {kind: critique, column: remark}
  - {kind: edit, column: mended}
  - {kind: demonstration, column: ideal}
  - {kind: outcome, column: ok, score: share, text: trace}
  - {kind: follow_up, column: after}
  - {kind: choice, column: clicked, base: 1}
  - {kind: instruction, column: rule}
"""
WHOLE = {
    "question": "2 + 2?",
    "told": "Be brief.",
    "one": "4",
    "writer": "m",
    "two": "5",
    "customer": "bo",
    "at": "2026-01-02T03:04:05Z",
    "meta": {"channel": "mail"},
    "stars": "7",
    "rater": "ada",
    "thumb": "Down",
    "winner": "A",
    "rank1": 1,
    "rank2": 2,
    "remark": "Too short.",
    "mended": "It is 4.",
    "ideal": "Four.",
    "ok": "passed",
    "share": 0.5,
    "trace": "fine",
    "after": "Thanks",
    "clicked": 2,
    "rule": "No emojis.",
}


def test_a_mapping_reads_every_kind():
    (case,) = RowMapping.from_yaml(MAPPING).parse(WHOLE)
    talk = case.interaction
    assert [m.role for m in talk.prompt] == ["system", "user"]
    assert [r.model for r in talk.responses] == ["m", "house"]
    assert (talk.user, talk.metadata, talk.time.year) == ("bo", {"meta.channel": "mail"}, 2026)
    for item in case.feedback:
        item.check(talk)
    kinds = {item.kind: item for item in case.feedback}
    assert len(kinds) == 11
    assert kinds["rating"].normalised == 0.7
    assert kinds["rating"].annotator == Annotator.human("ada")
    assert kinds["label"].good is False
    assert kinds["preference"].verdict == "a"
    assert kinds["preference"].annotator.kind == "model"
    assert kinds["ranking"].tiers == (("0",), ("1",))
    assert (kinds["outcome"].passed, kinds["outcome"].score) == (True, 0.5)
    assert kinds["outcome"].annotator.kind == "verifier"
    assert kinds["choice"].chosen == "1"
    types = (Critique, Edit, Demonstration, FollowUp, Choice, Instruction, Outcome)
    assert all(case.of(kind) for kind in types)


def test_an_empty_cell_says_nothing():
    empty = {**WHOLE, **dict.fromkeys(["stars", "winner", "remark", "ok", "share", "clicked"], "")}
    (case,) = RowMapping.from_yaml(MAPPING).parse(empty)
    kinds = {item.kind for item in case.feedback}
    assert not kinds & {"rating", "preference", "critique", "outcome", "choice"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"winner": "perhaps"}, "winner: the mapping does not say what 'perhaps' means"),
        ({"stars": "many"}, "stars: expected a number"),
        ({"question": None}, "question: missing"),
        ({"clicked": "one"}, "clicked: expected a number"),
    ],
)
def test_a_cell_that_makes_no_sense_is_named(change, reason):
    with pytest.raises(RecordError, match=reason):
        RowMapping.from_yaml(MAPPING).parse({**WHOLE, **change})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("prompt: q\nfeedback: []", "feedback"),
        ("prompt: q\nfeedback: [{kind: thumbs, column: x}]", "thumbs"),
        ("prompt: q\nfeedback: [{kind: rating, column: x}]", "there is no response 0"),
        ("prompt: q\nresponses: [a]\nfeedback: [{kind: preference, column: x}]", "no response 1"),
        ("prompt: q\ncolour: red\nfeedback: [{kind: instruction, column: x}]", "colour"),
        ("prompt: [", "not YAML"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(text, reason):
    with pytest.raises(RecordError, match=reason):
        RowMapping.from_yaml(text)


def test_a_mapping_that_is_not_there_says_so(tmp_path):
    with pytest.raises(NotFound, match=r"none\.yaml"):
        RowMapping.from_file(tmp_path / "none.yaml")


def both():
    """A case with a pair, an example, a label and steps in it."""
    talk = Interaction.of("2 + 2?", "4", "5")
    about = {"interaction": talk.id, "annotator": Annotator.human("ada")}
    return Case(
        talk,
        (
            Preference(**about, a="0", b="1", verdict="a"),
            Demonstration(**about, text="Four"),
            Label(**about, response="1", good=False),
            Steps(**about, response="0", steps=({"start": 0, "end": 1, "verdict": "neutral"},)),
        ),
    )


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("trl-preference", Pair),
        ("trl-unpaired", Labelled),
        ("trl-prompt-completion", Example),
        ("trl-stepwise", Stepwise),
        ("openai-chat", Example),
        ("openai-preference", Pair),
    ],
)
def test_what_is_exported_reads_back_as_the_same_views(name, view, ending, tmp_path):
    case = both()
    path = tmp_path / f"out{ending}"
    done = export([case], path, name)
    back = [v for row in read(path, format=name) for c in row.cases for v in views(c, view)]
    expected = views(case, view)
    assert done.rows == len(expected) == len(back) > 0

    def told(item):
        fields = item.model_dump(exclude={"interaction", "annotator", "feedback", "steps"})
        return json.dumps(fields, default=str)

    if view is Stepwise:
        assert [item.texts for item in back] == [item.texts for item in expected]
    else:
        assert sorted(map(told, back)) == sorted(map(told, expected))


@given(found=st.lists(cases(), max_size=4, unique_by=lambda case: case.interaction.id))
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_backtalks_own_layout_loses_nothing(found, ending, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / f"all{ending}"
    about_cases = [
        Case(c.interaction, tuple(f for f in c.feedback if f.interaction)) for c in found
    ]
    loose = [f for c in found for f in c.feedback if f.interaction is None]
    export(about_cases, path, "backtalk", loose=loose)
    rows = list(read(path, format="backtalk"))
    assert [case for row in rows for case in row.cases] == about_cases
    assert [item for row in rows for item in row.feedback] == loose


def test_what_a_layout_cannot_hold_is_counted(tmp_path):
    talk = Interaction.of("2 + 2?", "4")
    alone = Case(talk, (Critique(interaction=talk.id, annotator=Annotator.human(), text="Hm."),))
    done = export([alone, both()], tmp_path / "x.jsonl", "trl-preference")
    assert (done.rows, done.cases, done.left_out) == (1, 1, 1)


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("before")

    def failing():
        yield both()
        raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError):
        export(failing(), path, "trl-preference")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_exports_are_refused_by_name_and_ending(tmp_path):
    with pytest.raises(UnknownName, match="trl-preference"):
        export([], tmp_path / "x.jsonl", "trl-preferences")
    with pytest.raises(BacktalkError, match="no ending"):
        export([], tmp_path / "x.txt", "backtalk")
    assert set(EXPORTS) >= {"backtalk", "openai-chat", "trl-preference"}

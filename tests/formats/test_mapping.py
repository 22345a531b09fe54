"""Mappings: import of any table by a description of its columns."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtalk.errors import NotFound, RecordError, UnknownName
from backtalk.feedback import (
    Annotator,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Outcome,
    Preference,
    Ranking,
)
from backtalk.formats import ParsedRow, RejectedRow, RowMapping, read
from backtalk.formats.ingest import ingest
from backtalk.store import Store
from tests.formats.samples import read_case, write_rows

MAPPING = """
prompt: question
system: instructions
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
FULL_ROW = {
    "question": "2 + 2?",
    "instructions": "Be brief.",
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
    (case,) = RowMapping.from_yaml(MAPPING).parse(FULL_ROW)
    interaction = case.interaction
    assert [m.role for m in interaction.prompt] == ["system", "user"]
    assert [r.model for r in interaction.responses] == ["m", "house"]
    assert (interaction.user, interaction.metadata, interaction.time.year) == (
        "bo",
        {"meta.channel": "mail"},
        2026,
    )
    for item in case.feedback:
        item.check(interaction)
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


def test_an_empty_cell_is_no_feedback():
    empty = {
        **FULL_ROW,
        **dict.fromkeys(["stars", "winner", "remark", "ok", "share", "clicked"], ""),
    }
    (case,) = RowMapping.from_yaml(MAPPING).parse(empty)
    kinds = {item.kind for item in case.feedback}
    assert not kinds & {"rating", "preference", "critique", "outcome", "choice"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"winner": "perhaps"}, "winner: the mapping does not define the value 'perhaps'"),
        ({"stars": "many"}, "stars: expected a number"),
        ({"question": None}, "question: missing"),
        ({"clicked": "one"}, "clicked: expected a number"),
    ],
)
def test_an_invalid_cell_is_named(change, reason):
    with pytest.raises(RecordError, match=reason):
        RowMapping.from_yaml(MAPPING).parse({**FULL_ROW, **change})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("prompt: q\nfeedback: []", "feedback"),
        ("prompt: q\nfeedback: [{kind: thumbs, column: x}]", "thumbs"),
        ("prompt: q\nfeedback: [{kind: rating, column: x}]", "there is no response 0"),
        ("prompt: q\nresponses: [a]\nfeedback: [{kind: preference, column: x}]", "no response 1"),
        ("prompt: q\ncolour: red\nfeedback: [{kind: instruction, column: x}]", "colour"),
        ("prompt: [", "not YAML"),
        (
            "prompt: q\nresponses: [a]\nfeedback: [{kind: rating, colum: x}]",
            "Did you mean 'column'",
        ),
        ("promt: q\nfeedback: [{kind: instruction, column: x}]", "Did you mean 'prompt'"),
        ("prompt: q\nresponses: [{txt: a}]\nfeedback: [{kind: label, column: x}]", "'text'"),
        ("prompt: q\nresponses: [a]\nfeedback: [{kind: rating, column: x, scale: 5}]", "scale"),
        ("prompt: q\nresponses: [a]\nfeedback: [{kind: rating, column: x, scale: 5-1}]", "below"),
        ("prompt: q\nresponses: [a, b]\nfeedback: [{kind: preference}]", "needs one of"),
        (
            "prompt: q\nresponses: [a, b]\nfeedback: [{kind: preference, column: x, second: 0}]",
            "second",
        ),
        ("prompt: q\nfeedback: [{kind: choice, column: x}]", "there is no response 0"),
        ("prompt: q\nresponses: [a]\nfeedback: [{kind: ranking, columns: [x, y]}]", "response 1"),
        ("feedback: [{kind: demonstration, column: x}]", "prompt: missing"),
        (
            "responses: [a]\nfeedback: [{kind: critique, column: x}]",
            "responses: not allowed without a prompt",
        ),
        (
            "prompt: q\nresponses: [a]\nfeedback: [{kind: label, column: x, good: 1, bad: [0, 1]}]",
            "'1' has two meanings",
        ),
        ("just words", "the mapping is not valid"),
    ],
)
def test_an_invalid_mapping_is_an_error(text, reason):
    with pytest.raises(RecordError, match=reason):
        RowMapping.from_yaml(text)


def test_a_missing_mapping_file_is_an_error(tmp_path):
    with pytest.raises(NotFound, match=r"none\.yaml"):
        RowMapping.from_file(tmp_path / "none.yaml")


def parse_case(mapping, row):
    (case,) = RowMapping.from_yaml(mapping).parse(row)
    for item in case.feedback:
        item.check(case.interaction)
    return case


def test_columns_of_the_better_and_the_worse_response():
    mapping = "{prompt: q, responses: [good, bad], feedback: [{kind: preference, always: a}]}"
    (item,) = parse_case(mapping, {"q": "2 + 2?", "good": "4", "bad": "5"}).of(Preference)
    assert item.verdict == "a"


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [("model_a", "a"), ("Model_B ", "b"), ("tie", "tie"), ("tie (bothbad)", "both_bad")],
)
def test_both_bad_is_no_tie(cell, verdict):
    mapping = "{prompt: q, responses: [x, y], feedback: [{kind: preference, column: winner}]}"
    (item,) = parse_case(mapping, {"q": "?", "x": "4", "y": "5", "winner": cell}).of(Preference)
    assert item.verdict == verdict


@pytest.mark.parametrize(("cell", "verdict"), [("0", "a"), (1.0, "b"), (0, "a")])
def test_values_in_the_mapping_take_precedence_over_default_values(cell, verdict):
    mapping = (
        "{prompt: q, responses: [x, y], feedback: [{kind: preference, column: winner, a: 0, b: 1}]}"
    )
    (item,) = parse_case(mapping, {"q": "?", "x": "4", "y": "5", "winner": cell}).of(Preference)
    assert item.verdict == verdict


@pytest.mark.parametrize(("definition", "verdict"), [("b: 1", "b"), ("tie: [1]", "tie")])
def test_a_value_with_a_meaning_in_the_mapping_loses_its_default_meaning(definition, verdict):
    feedback = f"{{kind: preference, column: w, {definition}}}"
    mapping = f"{{prompt: q, responses: [x, y], feedback: [{feedback}]}}"
    (item,) = parse_case(mapping, {"q": "?", "x": "4", "y": "5", "w": 1}).of(Preference)
    assert item.verdict == verdict


def test_a_probability_is_kept_with_its_verdict():
    mapping = (
        "{prompt: q, responses: [x, y],"
        " feedback: [{kind: preference, probability: p, annotator_kind: model}]}"
    )
    row = {"q": "?", "x": "4", "y": "5", "p": "0.25"}
    (item,) = parse_case(mapping, row).of(Preference)
    assert (item.verdict, item.probability) == ("b", 0.25)


def test_a_yes_that_yaml_reads_as_true_is_the_word_too():
    mapping = (
        "{prompt: q, responses: [x], feedback: [{kind: label, column: ok, good: yes, bad: no}]}"
    )
    for cell, good in [("Yes", True), (True, True), ("no", False), (False, False)]:
        (item,) = parse_case(mapping, {"q": "?", "x": "4", "ok": cell}).feedback
        assert item.good is good


def test_an_edit_of_a_later_response_if_an_earlier_one_is_missing():
    mapping = (
        "{prompt: q, responses: [x, y], feedback: [{kind: edit, column: mended, response: 1}]}"
    )
    (item,) = parse_case(mapping, {"q": "?", "x": "", "y": "5", "mended": "4"}).of(Edit)
    assert (item.response, item.text) == ("1", "4")
    assert parse_case(mapping, {"q": "?", "x": "", "y": "5", "mended": "5"}).feedback == ()


def test_responses_that_were_not_ranked_are_left_out_of_the_order():
    mapping = "{prompt: q, responses: [x, y, z], feedback: [{kind: ranking, columns: [a, b, c]}]}"
    row = {"q": "?", "x": "1", "y": "2", "z": "3", "a": None, "b": 2.0, "c": "1"}
    (item,) = parse_case(mapping, row).of(Ranking)
    assert item.tiers == (("2",), ("1",))
    assert parse_case(mapping, {**row, "b": None}).feedback == ()


def test_critiques_of_a_response_of_an_interaction_and_of_the_system(tmp_path):
    row = {"q": "?", "x": "4", "remark": "Too short."}
    definition = "feedback: [{kind: critique, column: remark%s}]"
    (response_critique,) = parse_case(f"prompt: q\nresponses: [x]\n{definition % ''}", row).of(
        Critique
    )
    assert response_critique.response == "0"
    interaction_mapping = f"prompt: q\nresponses: [x]\n{definition % ', response: null'}"
    (interaction_critique,) = parse_case(interaction_mapping, row).of(Critique)
    assert (interaction_critique.response, interaction_critique.interaction is None) == (
        None,
        False,
    )
    assert parse_case(f"prompt: q\n{definition % ''}", row).of(Critique)[0].response is None
    mapping = RowMapping.from_yaml(f"{definition % ''}\nmetadata: [q]")
    (row_read,) = read(write_rows(tmp_path / "x.jsonl", row), format=mapping)
    assert row_read.cases == ()
    (system_critique,) = row_read.feedback
    assert (system_critique.interaction, system_critique.text) == (None, "Too short.")
    assert system_critique.metadata == {"q": "?"}


def test_equal_rows_count_once_unless_an_id_distinguishes_them():
    plain = "{prompt: q, responses: [x], feedback: [{kind: label, column: ok}]%s}"
    rows = [{"q": "?", "x": "4", "ok": 1, "n": n} for n in (1, 2)]
    for extra, count in [("", 1), (", id: n", 2)]:
        cases = [parse_case(plain % extra, row) for row in rows]
        assert len({case.feedback[0].id for case in cases}) == count
    system_mapping = RowMapping.from_yaml("{id: n, feedback: [{kind: instruction, column: x}]}")
    assert len({item.id for row in rows for item in system_mapping.parse(row)}) == 2


def test_a_dotted_name_goes_into_nested_values():
    mapping = "{prompt: q.0.text, responses: [a.b], feedback: [{kind: label, column: c}]}"
    row = {"q": [{"text": "2 + 2?"}], "a": {"b": "4"}, "c": True}
    case = parse_case(mapping, row)
    assert (case.interaction.prompt[0].text, case.text("0")) == ("2 + 2?", "4")
    assert parse_case(mapping, {**row, "q.0.text": "plain"}).interaction.prompt[0].text == "plain"


@pytest.mark.parametrize(
    "time_value", ["2024-05-31T12:00:00Z", "2024-05-31 14:00:00+02:00", 1717156800, "1717156800"]
)
def test_times_as_text_and_as_seconds(time_value):
    mapping = "{prompt: q, time: t, responses: [x], feedback: [{kind: label, column: ok, time: t}]}"
    case = parse_case(mapping, {"q": "?", "x": "4", "ok": 1, "t": time_value})
    assert case.interaction.time == case.feedback[0].time
    assert case.interaction.time.isoformat() == "2024-05-31T12:00:00+00:00"


def test_a_row_with_an_invalid_cell_is_rejected(tmp_path):
    mapping = RowMapping.from_yaml(
        "{prompt: q, responses: [x], feedback: [{kind: rating, column: stars}]}"
    )
    rows = [{"q": "?", "x": "4", "stars": stars} for stars in (5, 6, "nan")]
    good, out_of_range, nan = read(write_rows(tmp_path / "x.jsonl", *rows), format=mapping)
    assert isinstance(good, ParsedRow)
    assert isinstance(out_of_range, RejectedRow)
    assert "stars" in out_of_range.reason
    assert isinstance(nan, RejectedRow)
    assert nan.reason.startswith("stars: expected a number")


def test_a_mapping_file_may_be_json(tmp_path):
    path = write_rows(
        tmp_path / "mapping.json",
        {"prompt": "q", "feedback": [{"kind": "demonstration", "column": "a"}]},
    )
    mapping = RowMapping.from_file(path)
    case = read_case(write_rows(tmp_path / "x.jsonl", {"q": "2 + 2?", "a": "4"}), format=mapping)
    assert case.of(Demonstration)[0].text == "4"


THUMBS = "{prompt: prompt, responses: [answer], feedback: [{kind: label, column: thumb}]}"


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_misspelt_column_is_one_error_and_leaves_rejected_rows_alone(ending, tmp_path):
    path = tmp_path / f"x.{ending}"
    rows = [{"prompt": f"{i}?", "answer": "Yes.", "thumb": "up"} for i in range(3)]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = "," if ending == "csv" else "\t"
        lines = [rows[0].keys(), *(row.values() for row in rows)]
        path.write_text("".join(separator.join(line) + "\n" for line in lines))
    rejected = tmp_path / f"x.{ending}.rejected.jsonl"
    rejected.write_text("mine")
    with Store(tmp_path / "x.db") as store:
        for name, misspelt in (("prompt: prompt", "promt"), ("column: thumb", "thunb")):
            text = THUMBS.replace(name, f"{name.split(':')[0]}: {misspelt}")
            with pytest.raises(UnknownName, match=f"names the column '{misspelt}'") as error:
                ingest(store, path, format=RowMapping.from_yaml(text))
            assert f"Did you mean {name.split(': ')[1]!r}?" in error.value.mend
            assert "prompt, answer, thumb" in error.value.mend
        assert not list(store.cases())
    assert rejected.read_text() == "mine"


def test_a_column_that_few_objects_have_is_no_error(tmp_path):
    path = tmp_path / "x.jsonl"
    rows = [{"prompt": f"{i}?", "answer": "Yes."} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {**rows[0], "thumb": "up"}]))
    with Store(tmp_path / "x.db") as store:
        assert ingest(store, path, format=RowMapping.from_yaml(THUMBS)).added.feedback == 1
        path.write_text(json.dumps(rows[1]))
        result = ingest(store, path, format=RowMapping.from_yaml(THUMBS))
    assert result.rejected == 0
    assert "column 'thumb' of the mapping is in none of the first rows" in str(result.unusual)

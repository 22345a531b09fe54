"""Cells of tables: missing values, NaN, conversations as text, JSON columns of Parquet."""

import csv
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtalk import Store, ingest
from backtalk.feedback import Preference
from backtalk.formats import ParsedRow, RejectedRow, read
from tests.formats.samples import read_case, write_rows

USER = {"role": "user", "content": "Is it open?"}


def answer(text):
    return {"role": "assistant", "content": text}


PAIR = {"prompt": [USER], "chosen": [answer("Yes.")], "rejected": [answer("No, it's not.")]}


def write_text(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def json_column(*values):
    """Return a column as datasets 5.2 writes one whose values differ in type."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts))


# Missing values


@pytest.mark.parametrize("cell", ["", '""', "nan", "NaN", "<NA>"])
@pytest.mark.parametrize("name", ["chosen", "rejected", "prompt"])
def test_a_missing_answer_in_a_table_is_no_answer(cell, name, tmp_path):
    cells = {"prompt": "Is it open?", "chosen": "Yes.", "rejected": "No."} | {name: cell}
    path = write_text(tmp_path / "x.csv", ",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
    (row,) = read(path, format="trl-preference")
    assert isinstance(row, RejectedRow)
    assert row.reason.startswith(f"{name}: missing")


def test_nan_in_nested_metadata_is_null(tmp_path):
    line = '{"prompt": "2 + 2?", "chosen": "NaN?", "rejected": "5", "meta": {"a": [NaN, 1]}}\n'
    case = read_case(write_text(tmp_path / "x.jsonl", line))
    assert case.interaction.metadata == {"meta": {"a": [None, 1]}}
    assert case.interaction.responses[0].text == "NaN?"


@pytest.mark.parametrize("number", ["Infinity", "-Infinity"])
def test_an_infinite_number_rejects_its_row_only(number, tmp_path):
    line = '{"prompt": "%s?", "chosen": "4", "rejected": "5", "meta": [%s, NaN]}\n'
    path = write_text(tmp_path / "x.jsonl", line % (1, "1") + line % (2, number))
    first, second = read(path)
    assert isinstance(first, ParsedRow)
    assert isinstance(second, RejectedRow)


def test_nan_at_any_depth_of_a_parquet_file_is_null(tmp_path):
    meta = [{"scores": [1.0, math.nan], "x": math.nan}, {"scores": [2.0], "x": math.inf}]
    path = write_parquet(
        tmp_path / "x.parquet",
        prompt=["2 + 2?", "2 + 3?"],
        chosen=["4", "5"],
        rejected=["5", "4"],
        meta=meta,
    )
    first, second = read(path)
    assert first.cases[0].interaction.metadata == {"meta": {"scores": [1.0, None], "x": None}}
    assert isinstance(second, RejectedRow)
    assert "infinite" in second.reason


def test_a_rejected_row_with_nan_can_be_imported_again(tmp_path):
    path = write_parquet(
        tmp_path / "x.parquet",
        prompt=["2 + 2?"],
        chosen=["4"],
        rejected=[None],
        meta=[{"x": math.inf, "y": math.nan}],
    )
    with Store(tmp_path / "db") as store:
        done = ingest(store, path, format="trl-preference")
        entry = json.loads(done.rejects.read_text(), parse_constant=pytest.fail)
        assert entry["row"]["meta"] == {"x": "Infinity", "y": None}
        entry["row"]["rejected"] = "5"
        done.rejects.write_text(json.dumps(entry) + "\n")
        assert ingest(store, done.rejects).rejected == 0
        assert len(list(store.cases())) == 1


# Conversations as text


@pytest.mark.parametrize("write", [json.dumps, repr, lambda value: json.dumps(value, indent=1)])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_conversation_in_a_cell_is_read_as_messages(write, kind, tmp_path):
    cells = {name: write(value) for name, value in PAIR.items()}
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        write_parquet(path, **{name: [cell] for name, cell in cells.items()})
    else:
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells.values()]
        write_text(path, ",".join(cells) + "\n" + ",".join(quoted) + "\n")
    assert read_case(path) == read_case(write_rows(tmp_path / "x.jsonl", PAIR))


@pytest.mark.parametrize(
    "cell",
    [
        "[{'role': 'user', 'content': 'Open?'} {'role': 'assistant', 'content': 'Yes'}]",
        '[{"role": "user", "content": "Op',
        "array([{'content': 'Open?', 'role': 'user'}], dtype=object)",
    ],
)
def test_a_conversation_that_cannot_be_parsed_is_refused(cell, tmp_path):
    path = write_parquet(tmp_path / "x.parquet", prompt=[cell], chosen=["4"], rejected=["5"])
    (row,) = read(path)
    assert isinstance(row, RejectedRow)
    assert row.reason.startswith("prompt: ")


def test_a_text_in_brackets_stays_a_text(tmp_path):
    texts = ["[link] here", "[1, 2]", '[{"value": 3}]', '[{"role"}] is a set?', "{'role': 1}"]
    path = write_parquet(tmp_path / "x.parquet", prompt=texts, chosen=["4"] * 5, rejected=["5"] * 5)
    assert [row.cases[0].interaction.prompt[0].text for row in read(path)] == texts
    lines = write_rows(
        tmp_path / "x.jsonl", {"prompt": json.dumps([USER]), "chosen": "4", "rejected": "5"}
    )
    assert read_case(lines).interaction.prompt[0].text == json.dumps([USER])


# Columns of the type arrow.json


def test_json_columns_of_parquet_are_decoded_at_any_depth(tmp_path):
    parts = [{"type": "text", "text": "Open?"}]
    contents = json_column('"Open?"', parts, "12", "null", '{"a":1}', "[1, 2]")
    prompts = pa.array(
        [[{"role": "user"}] for _ in contents], pa.list_(pa.struct([("role", pa.string())]))
    )
    struct = pa.StructArray.from_arrays(
        [prompts.flatten().field("role"), contents], ["role", "content"]
    )
    prompts = pa.ListArray.from_arrays(prompts.offsets, struct)
    count = len(contents)
    path = write_parquet(
        tmp_path / "x.parquet",
        prompt=prompts,
        chosen=json_column('"Yes."', [answer("Yes.")], "Yes", "4", '"4"', "true"),
        rejected=json_column('"No."', [answer("No.")], "No", "5", '"5"', "false"),
        meta=json_column({"a": 1}, {"a": "x"}, "12", "null", '"12"', [1]),
        number=list(range(count)),
    )
    lines = write_rows(
        tmp_path / "x.jsonl",
        *(
            {
                "prompt": [{"role": "user", "content": content}],
                "chosen": chosen,
                "rejected": rejected,
                "number": number,
            }
            for number, (content, chosen, rejected) in enumerate(
                [
                    ("Open?", "Yes.", "No."),
                    (parts, [answer("Yes.")], [answer("No.")]),
                    ("12", "Yes", "No"),
                    ("null", "4", "5"),
                    ('{"a":1}', "4", "5"),
                    ("[1, 2]", "true", "false"),
                ]
            )
        ),
    )
    cases = [row.cases[0] for row in read(path)]
    assert [case.interaction.id for case in cases] == [
        row.cases[0].interaction.id for row in read(lines)
    ]
    assert [case.interaction.metadata.get("meta") for case in cases] == [
        {"a": 1},
        {"a": "x"},
        12,
        None,
        "12",
        [1],
    ]


def test_tool_calls_in_json_columns_are_those_of_the_json_lines(tmp_path):
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    chosen = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    path = write_parquet(
        tmp_path / "x.parquet",
        prompt=json_column([USER]),
        chosen=json_column(chosen),
        rejected=json_column([answer("No.")]),
    )
    lines = write_rows(
        tmp_path / "x.jsonl", {"prompt": [USER], "chosen": chosen, "rejected": [answer("No.")]}
    )
    assert read_case(path) == read_case(lines)
    assert read_case(path).of(Preference)[0].verdict == "a"


# Lists and messages in the cells of CSV


def write_csv(path, row):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    return path


@pytest.mark.parametrize("write", [json.dumps, repr])
@pytest.mark.parametrize("extra", [{}, {"id": 1}])
def test_a_message_in_a_cell_is_read_whatever_its_first_field(write, extra, tmp_path):
    message = {**extra, **answer("Yes.")}
    row = {"prompt": write([{**extra, **USER}]), "chosen": write(message)}
    row |= {"rejected": write({"content": "No.", "role": "assistant"})}
    case = read_case(write_csv(tmp_path / "x.csv", row))
    assert case.interaction.prompt[0].text == "Is it open?"
    assert [item.text for item in case.interaction.responses] == ["Yes.", "No."]


@pytest.mark.parametrize("text", ['{"value": 3}', "[{'a': 1}]", "[2, 3, 5]", '{"role": "admin"}'])
def test_other_objects_and_lists_in_a_cell_are_text(text, tmp_path):
    row = {"prompt": "Give JSON.", "chosen": text, "rejected": "No."}
    case = read_case(write_csv(tmp_path / "x.csv", row))
    assert case.interaction.responses[0].text == text


@pytest.mark.parametrize("write", [json.dumps, repr])
@pytest.mark.parametrize(
    "name",
    ["openai-preference", "trl-stepwise", "alpaca", "scored-preference", "chatbot-arena"],
)
def test_a_table_with_lists_in_its_cells_gives_the_records_of_the_json(name, write, tmp_path):
    row = LISTS_IN_CELLS[name]
    cells = {key: value if isinstance(value, str) else write(value) for key, value in row.items()}
    expected = read_case(write_rows(tmp_path / "x.jsonl", row))
    case = read_case(write_csv(tmp_path / "x.csv", cells))
    assert case.feedback == expected.feedback
    assert case.interaction.prompt == expected.interaction.prompt


LISTS_IN_CELLS = {
    "openai-preference": {
        "input": {"messages": [USER]},
        "preferred_output": [answer("Yes.")],
        "non_preferred_output": [answer("No.")],
    },
    "trl-stepwise": {"prompt": "2 + 2?", "completions": ["Add.", "4"], "labels": [True, False]},
    "alpaca": {"instruction": "When?", "output": "At nine.", "history": [["Hi", "Hello"]]},
    "scored-preference": {
        "input": "Is it open?",
        "chosen": "Yes.",
        "rejected": "No.",
        "generations": ["Yes.", "No."],
        "rating": [9.0, 8.0],
        "order": ["chosen", "rejected"],
        "chosen_score": "9.0",
        "labelling_model": "gpt-4",
    },
    "chatbot-arena": {
        "conversation_a": [USER, answer("Yes.")],
        "conversation_b": [USER, answer("No.")],
        "winner": "model_a",
        "judge": ["gpt-4", "pair-v2"],
    },
}


# Files of other kinds


@pytest.mark.parametrize("name", ["table.xlsx", "table.ods", "Table.XLS"])
def test_a_spreadsheet_is_refused_with_the_mend(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04rest")
    (row,) = read(path)
    assert "Save the sheet as CSV" in row.reason


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.txt"])
def test_a_text_in_utf_16_is_refused_with_the_mend(encoding, name, tmp_path):
    mark = "" if encoding == "utf-16" else "\ufeff"
    path = tmp_path / name
    path.write_text(f"{mark}prompt,chosen,rejected\na,b,c\n", encoding=encoding)
    (row,) = read(path)
    assert "Save it as UTF-8" in row.reason

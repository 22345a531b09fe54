"""Laws of the formats of public data sets, and their files in other file types."""

import csv
import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from backtalk.errors import BacktalkError, RecordError
from backtalk.formats import FORMATS, read
from backtalk.formats.unusual import Unusual
from backtalk.testing.formats import check_format
from tests.formats.feedback_dataset_rows import FEEDBACK_DATASETS, HELPSTEER3_FEEDBACK
from tests.formats.samples import write_rows

ROWS = [(name, row) for name, rows in FEEDBACK_DATASETS.items() for row in rows]


def read_records(path):
    """Return the cases of all rows."""
    return [case for row in read(path) for case in row.cases]


def read_ids(path):
    """Return the ids of the interaction and of all feedback of each case."""
    return [
        (case.interaction.id, [item.id for item in case.feedback]) for case in read_records(path)
    ]


@pytest.mark.parametrize("name", FEEDBACK_DATASETS)
def test_a_format_keeps_the_laws(name):
    check_format(FORMATS.get(name), FEEDBACK_DATASETS[name])


def test_the_feedback_subset_keeps_the_laws():
    check_format(FORMATS.get("helpsteer3"), [HELPSTEER3_FEEDBACK])


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_row_is_recognised_with_all_its_columns(name, row, tmp_path):
    assert FORMATS.get(name).unread_columns(row) == []
    assert read_records(write_rows(tmp_path / "rows.jsonl", row))


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_parquet_gives_the_same_records_as_json_lines(name, row, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    assert read_ids(path) == read_ids(write_rows(tmp_path / "rows.jsonl", row))


@pytest.mark.parametrize(("name", "row"), ROWS)
@pytest.mark.parametrize("write", [json.dumps, repr], ids=["json", "python"])
def test_a_table_with_lists_in_its_cells_gives_the_same_records(name, row, write, tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(
            {
                name: write(item) if isinstance(item, list | dict) else item
                for name, item in row.items()
            }
        )
    assert read_ids(path) == read_ids(write_rows(tmp_path / "rows.jsonl", row))


@pytest.mark.parametrize("name", FEEDBACK_DATASETS)
def test_a_verdict_that_the_layout_does_not_have_makes_recognition_fail(name, tmp_path):
    row = {**FEEDBACK_DATASETS[name][0], "user_rating": 3}
    with pytest.raises(BacktalkError, match="user_rating"):
        list(read(write_rows(tmp_path / "rows.jsonl", row)))


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_an_import_can_be_repeated(name, row, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", row)
    assert read_records(path) == read_records(path)
    assert json.loads(path.read_text()) == row


@pytest.mark.parametrize(("name", "row"), ROWS)
@pytest.mark.parametrize("value", [None, "", 7, -0.5, True, [], {}, ["x"], {"x": 1}])
def test_any_other_value_in_a_column_is_read_or_refused(name, row, value):
    parse = FORMATS.get(name).parser()
    for column in row:
        missing = {other: row[other] for other in row if other != column}
        for spoiled in (missing, {**row, column: value}):
            with suppress(RecordError, ValidationError):
                list(parse(spoiled))


def test_a_summary_lists_the_ten_most_frequent_aspects(tmp_path):
    (row,) = [row for row in FEEDBACK_DATASETS["helpsteer3"] if "principle" in row]
    rows = [{**row, "principle": f"principle {number}"} for number in range(12)]
    unusual = Unusual()
    for case in read_records(write_rows(tmp_path / "rows.jsonl", *rows)):
        unusual.add(case)
    (line,) = unusual.lines()
    assert line.startswith("12 feedback items are about single aspects: principle 0 1, ")
    assert line.endswith(", principle 9 1 and 2 others")

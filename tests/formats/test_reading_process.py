"""Large imports: a second process reads the rows, while the first one inserts them."""

import json
import os
import signal
import sys

import pytest

from backtalk.errors import BacktalkError
from backtalk.formats import RowMapping, reading_process
from backtalk.formats.format import FORMATS, Format, get_format, import_format
from backtalk.formats.ingest import ingest
from backtalk.formats.reading_process import ReadingProcess
from backtalk.store import Store

ROWS = 2_500


def write_rows(path, count=ROWS, **fields):
    with path.open("w") as file:
        for number in range(count):
            row = {"prompt": f"{number}?", "chosen": "4", "rejected": "5", **fields}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def started(monkeypatch):
    """Requests that a process was started for; inputs of any size are large."""
    monkeypatch.setattr(reading_process, "MIN_BYTES", 1)
    monkeypatch.setattr(reading_process, "_processor_count", lambda: 2)
    processes = []
    start = ReadingProcess.start

    def record(request):
        process = start(request)
        processes.append(process)
        return process

    monkeypatch.setattr(ReadingProcess, "start", record)
    return processes


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.db") as opened:
        yield opened


def test_a_second_process_reads_what_this_one_reads(tmp_path, started, store, monkeypatch):
    """Records, rejected rows, counts, progress and remarks are the same."""
    path = write_rows(tmp_path / "rows.jsonl")
    with path.open("a") as file:
        file.write('{"prompt": "2 + 2?", "chosen": "", "rejected": "5", "split": "x"}\n')
        file.write("{broken\n" + json.dumps({"prompt": "0?", "chosen": "4", "rejected": "5"}))
    progress = []
    done = ingest(store, path, progress=lambda read, total: progress.append((read, total)))
    assert [process is not None for process in started] == [True]
    assert progress[-1] == (path.stat().st_size, path.stat().st_size)

    monkeypatch.setattr(reading_process, "MIN_BYTES", 1 << 40)
    with Store(tmp_path / "other.db") as other:
        assert ingest(other, path) == done
        assert list(other.cases()) == list(store.cases())
    assert (done.rows, done.rejected, done.added.known, done.added.repeated) == (ROWS + 3, 1, 2, 1)
    assert "1 answer is empty" in done.unusual


def test_names_mappings_and_options_are_passed_on(tmp_path, started, store):
    path = write_rows(tmp_path / "rows.jsonl", 3, good=True)
    label = {"kind": "label", "column": "good", "response": 0}
    mapping = RowMapping.model_validate(
        {"prompt": "prompt", "responses": ["chosen"], "feedback": [label]}
    )
    ingest(store, path, format="trl-preference")
    ingest(store, path, format=mapping)
    assert None not in started
    assert store.counts() == {"interaction": 6, "label": 3, "preference": 3}


def test_an_error_of_the_second_process_is_raised_here(tmp_path, started, store):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "Ada"}\n')
    with pytest.raises(BacktalkError, match="no known format") as caught:
        ingest(store, path)
    assert caught.value.mend
    assert started[0]._process.returncode is not None


def test_formats_of_this_process_only_are_read_here(tmp_path, started, store):
    path = write_rows(tmp_path / "rows.jsonl", 3)
    pairs = get_format("trl-preference")
    ingest(store, path, format=Format("mine", "", "", pairs.parse, pairs.matches))
    assert started == []
    import_format("mine", title="", source="", matches=lambda row: False)(lambda row: [])
    try:
        ingest(store, path)
    finally:
        FORMATS.unregister("mine")
    assert started == [None]
    assert store.counts() == {"interaction": 3, "preference": 3}


def test_options_that_cannot_be_passed_on_are_used_here(tmp_path, started, store):
    path = write_rows(tmp_path / "rows.jsonl", 3)
    with pytest.raises(BacktalkError, match="option"):
        ingest(store, path, options={"scale": lambda: 0}, format="trl-preference")
    assert started == [None]


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_an_interrupted_import_can_be_repeated(tmp_path, started, store, error):
    """Both Ctrl-C and the end of the second process leave a store that is consistent."""
    path = write_rows(tmp_path / "rows.jsonl", 6_000, more="x" * 500)

    def interrupt(read, total):
        if error is not None:
            raise error
        os.kill(started[0]._process.pid, signal.SIGKILL)

    with pytest.raises(error or BacktalkError) as caught:
        ingest(store, path, progress=interrupt)
    if error is None:
        assert "ended by signal 9" in str(caught.value)
    assert started[0]._process.returncode == -signal.SIGKILL
    stored = store.counts()["interaction"]
    assert stored < 6_000
    done = ingest(store, path)
    assert done.added.interactions == done.added.feedback == 6_000 - stored
    assert store.counts() == {"interaction": 6_000, "preference": 6_000}


def test_plug_ins_are_read_and_what_they_print_is_not(tmp_path, started, store, monkeypatch):
    folder = tmp_path / "packages"
    (folder / "mine-1.dist-info").mkdir(parents=True)
    (folder / "mine-1.dist-info" / "METADATA").write_text("Name: mine\nVersion: 1\n")
    entry = "[backtalk.formats]\nmine = mine:parse\n"
    (folder / "mine-1.dist-info" / "entry_points.txt").write_text(entry)
    (folder / "mine.py").write_text(
        """
from backtalk.formats import import_format
from backtalk.formats.text_pairs import make_text_pair

@import_format("mine", title="", source="", matches=lambda row: set(row) == {"q", "x", "y"})
def parse(row):
    print(row)
    return [make_text_pair(row["q"], row["x"], row["y"])]
"""
    )
    monkeypatch.syspath_prepend(str(folder))
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "2 + 2?", "x": "4", "y": "5"}\n')
    try:
        assert ingest(store, path).added.feedback == 1
    finally:
        FORMATS.unregister("mine")
        sys.modules.pop("mine", None)
    assert None not in started

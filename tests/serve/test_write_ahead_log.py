"""Write-ahead log: what reaches the disk before an acknowledgement, and damaged lines."""

import itertools
import json
import os
import random
import stat

import pytest

from backtalk.feedback import Annotator, Interaction, Label
from backtalk.serve.durability.dead_letters import DeadLetterFile
from backtalk.serve.durability.write_ahead_log import (
    LogPosition,
    WriteAheadLog,
    WriteAheadLogFull,
)
from backtalk.serve.durability.writer import StoreWriter
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.store_connection import StoreConnection
from backtalk.store import Store


@pytest.fixture
def synced(monkeypatch):
    """Return the inodes that were flushed to disk, in order."""
    inodes = []
    real = os.fsync

    def fsync(file):
        inodes.append(os.fstat(file).st_ino)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


def inode(path):
    return path.stat().st_ino


def test_a_sync_flushes_the_folder_and_each_segment_with_new_lines(tmp_path, synced):
    log = WriteAheadLog(tmp_path / "s", segment_bytes=50)
    for number in range(6):
        log.append([b"%030d" % number])
    segments = sorted((tmp_path / "s").glob("*.log"))
    assert len(segments) > 2
    assert synced == []
    log.sync()
    assert set(synced) == {inode(path) for path in (*segments, tmp_path / "s")}
    synced.clear()
    log.append([b"later"])
    log.sync()
    last = max((tmp_path / "s").glob("*.log"))
    assert {inode(last), inode(tmp_path / "s")} <= set(synced)


def test_a_log_with_lines_is_flushed_when_it_is_closed(tmp_path, synced):
    log = WriteAheadLog(tmp_path / "s")
    log.append([b"line"])
    (segment,) = (tmp_path / "s").glob("*.log")
    number = inode(segment)
    log.close()
    assert number in synced


def add_label(location, writer):
    """Append a judgement while the store is away; return its acknowledgement."""
    Store(location).close()
    writer.start()
    writer.append_interaction(
        "default", Interaction.of("Hi", "Yes.").model_copy(update={"id": "one"})
    )
    assert writer.drain(60)
    location.rename(location.with_suffix(".away"))
    label = Label(
        id="l", interaction="one", annotator=Annotator.human("ada"), response="0", good=True
    )
    return writer.append_feedback([("default", label)])[0]


@pytest.fixture
def writer(tmp_path):
    connection = StoreConnection(str(tmp_path / "store.db"), tmp_path / "state")
    created = StoreWriter(connection, tmp_path / "state", max_bytes=10**9, metrics=Metrics())
    yield created
    created.close(0.05)
    connection.close()


def test_a_queued_record_is_on_disk_before_it_is_acknowledged(tmp_path, writer, synced):
    answer = add_label(tmp_path / "store.db", writer)
    at_acknowledgement = []
    answer.add_done_callback(lambda _: at_acknowledgement.extend(synced))
    assert answer.result(60) is None
    *_, segment = sorted(writer.log.folder.glob("*.log"))
    assert inode(segment) in at_acknowledgement
    assert inode(writer.log.folder) in at_acknowledgement


def test_a_record_that_cannot_be_flushed_is_not_acknowledged(tmp_path, writer, monkeypatch):
    def fail(file):
        raise OSError(5, "the disk is broken")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        answer = add_label(tmp_path / "store.db", writer)
        with pytest.raises(OSError, match="broken"):
            answer.result(60)


def test_no_changed_byte_of_a_line_goes_unnoticed(tmp_path):
    lines = [b"first", b"the damaged line", b"last"]
    log = WriteAheadLog(tmp_path / "s")
    log.append(lines)
    (file,) = (tmp_path / "s").glob("*.log")
    whole = file.read_bytes()
    start = whole.index(b"\n") + 1
    end = whole.index(b"\n", start)
    rng = random.Random(0)
    for position in range(start, end):
        changed = bytearray(whole)
        changed[position] ^= 1 << rng.randrange(8)
        if changed[position] == ord("\n"):
            continue
        file.write_bytes(changed)
        assert [line.text for line in log.read()] == [b"first", None, b"last"], position


def test_a_damaged_line_is_a_dead_letter_and_the_others_are_stored(tmp_path, writer):
    location = tmp_path / "store.db"
    Store(location).close()
    for number in range(3):
        interaction = Interaction.of(f"Question {number}", "Yes.")
        writer.append_interaction(
            "default", interaction.model_copy(update={"id": f"number-{number}"})
        )
    (file,) = writer.log.folder.glob("*.log")
    file.write_bytes(file.read_bytes().replace(b"Question 1", b"Question 7"))
    writer.start()
    assert writer.drain(60)
    with Store(location) as store:
        assert [case.interaction.id for case in store.cases()] == ["number-0", "number-2"]
    assert "damaged" in writer.dead_letters.path.read_text()


def test_reading_stops_at_the_limits_of_lines_and_of_bytes(tmp_path):
    log = WriteAheadLog(tmp_path / "s")
    ends = log.append([b"x" * 91] * 5)  # lines of 101 bytes with the checksum
    assert [len(log.read(max_lines=n)) for n in (1, 3, 5, 9)] == [1, 3, 5, 5]
    assert [len(log.read(max_bytes=n)) for n in (1, 101, 102, 202, 203, 10_000)] == [
        1, 1, 2, 2, 3, 5,
    ]  # fmt: skip
    assert [b.offset - a.offset for a, b in itertools.pairwise(ends)] == [101] * 4
    log.advance(LogPosition(ends[3].segment, ends[3].offset))
    assert len(log.read()) == 2
    assert log.backlog == 202


def test_compaction_removes_nothing_that_is_not_stored(tmp_path):
    log = WriteAheadLog(tmp_path / "s")
    log.append([b"a", b"b"])
    log.advance(log.read()[0].end)
    log.compact()
    assert [line.text for line in log.read()] == [b"b"]
    log.advance(log.read()[-1].end)
    log.compact()
    log.append([b"c"])
    assert [line.text for line in log.read()] == [b"c"]


def test_a_part_of_a_line_that_a_full_disk_took_is_removed(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path / "s")
    log.append([b"first"])
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, data: write(file, data[:9]))
        with pytest.raises(WriteAheadLogFull, match="is full"):
            log.append([b"second"])
    log.append([b"third"])
    assert [line.text for line in log.read()] == [b"first", b"third"]


def test_a_log_whose_segment_was_lost_is_read_from_its_beginning(tmp_path):
    log = WriteAheadLog(tmp_path / "s")
    log.append([b"stored", b"also stored"])
    log.advance(log.read()[-1].end)
    (segment,) = (tmp_path / "s").glob("*.log")
    os.close(log._lock)  # as if the machine died before the lines were on disk
    segment.write_bytes(b"")
    again = WriteAheadLog(tmp_path / "s")
    again.append([b"next"])
    assert [line.text for line in again.read()] == [b"next"]
    again.advance(again.read()[-1].end)
    assert again.drained


def test_only_the_owner_reads_the_files_of_a_log(tmp_path):
    log = WriteAheadLog(tmp_path / "s")
    log.append([b"private"])
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700
    for path in log.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_record_that_contradicts_a_stored_one_becomes_a_dead_letter(tmp_path, writer):
    location = tmp_path / "store.db"
    Store(location).close()
    for text in ("Yes.", "No."):
        interaction = Interaction.of("Hi", text).model_copy(update={"id": "same"})
        writer.append_interaction("default", interaction)
    labels = [
        Label(id="l", interaction="same", annotator=Annotator.human("a"), response="0", good=good)
        for good in (True, False)
    ]
    first, second = writer.append_feedback([("default", label) for label in labels])
    writer.start()
    assert (first.result(60).status, second.result(60).status) == ("stored", "conflict")
    with Store(location) as store:
        (case,) = store.cases()
    assert case.interaction.responses[0].text == "Yes."  # the first with an id, also in a batch
    assert [item.good for item in case.feedback] == [True]
    (line,) = writer.dead_letters.path.read_text().splitlines()
    letter = json.loads(line)
    assert (letter["project"], json.loads(letter["record"])["good"]) == ("default", False)


def test_a_purge_of_dead_letters_covers_users_annotators_and_undecodable_lines(tmp_path):
    letters = DeadLetterFile(tmp_path)
    label = Label(interaction="i", annotator=Annotator.human("bo"), response="0", good=True)
    letters.add(label.to_json(), "unknown interaction", "default")
    letters.add("b'00 torn line of bo'", "the line is damaged", "")
    letters.add(
        label.model_copy(update={"annotator": Annotator.human("ada")}).to_json(), "r", "default"
    )
    letters.add("b'00 torn line of another'", "the line is damaged", "")
    assert letters.purge("bo") == 2
    assert len(letters.path.read_text().splitlines()) == 2
    assert "bo" not in letters.path.read_text()

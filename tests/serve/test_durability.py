"""Acknowledged records are stored exactly once: after kill -9, and after an outage of the store."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from backtalk.feedback import Annotator, Interaction, Label
from backtalk.serve.durability.codec import decode_line, encode_line
from backtalk.serve.durability.dead_letters import DeadLetterFile
from backtalk.serve.durability.write_ahead_log import (
    WriteAheadLog,
    WriteAheadLogFull,
    open_own_log,
    orphaned_logs,
)
from backtalk.serve.durability.writer import StoreWriter
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.settings import SETTINGS_VARIABLE
from backtalk.serve.store_connection import StoreConnection
from backtalk.store import Store
from tests.serve.conftest import running_gateway

ADA = Annotator.human("ada")
ORPHANED_LOG = Path(__file__).parent / "data" / "orphaned_log"
"""Log of a process that was killed, written by the version before the folder was renamed."""


def make_interaction(number):
    return Interaction.of(f"Question {number}", "Yes.").model_copy(update={"id": f"talk-{number}"})


def make_label(number):
    return Label(
        id=f"thumb-{number}", interaction=f"talk-{number}", annotator=ADA, response="0", good=True
    )


def texts(log):
    return [line.text for line in log.read()]


def test_lines_come_back_in_order_across_files_and_processes(tmp_path):
    lines = [f"line {i}".encode() for i in range(200)]
    log = WriteAheadLog(tmp_path / "s", segment_bytes=500)
    positions = [log.append([line])[0] for line in lines]
    assert len(set(positions)) == len(lines)
    results = []
    while batch := log.read(max_lines=7):
        results += [line.text for line in batch]
        log.advance(batch[-1].end)
        if len(results) > 100:
            break
    os.close(log._lock)  # as if killed
    reopened = WriteAheadLog(tmp_path / "s", segment_bytes=500)
    while batch := reopened.read(max_lines=7):
        results += [line.text for line in batch]
        reopened.advance(batch[-1].end)
    assert results == lines
    assert reopened.drained
    reopened.append([b"more"])
    assert texts(reopened) == [b"more"]
    reopened.advance(reopened.read()[-1].end)
    reopened.compact()
    assert sum(path.stat().st_size for path in (tmp_path / "s").glob("*.log")) == 0
    reopened.close()
    assert not (tmp_path / "s").exists()


def test_a_torn_line_is_skipped(tmp_path):
    log = WriteAheadLog(tmp_path / "s")
    log.append([b"whole"])
    os.close(log._lock)
    (file,) = (tmp_path / "s").glob("*.log")
    with file.open("ab") as log:
        log.write(b"0000 torn")
    again = WriteAheadLog(tmp_path / "s")
    again.append([b"next"])
    assert texts(again) == [b"whole", None]
    again.advance(again.read()[-1].end)
    assert texts(again) == [b"next"]


def test_a_full_log_rejects_lines_and_stays_intact(tmp_path):
    log = WriteAheadLog(tmp_path / "s", max_bytes=100)
    log.append([b"x" * 50])
    with pytest.raises(WriteAheadLogFull, match="100 bytes"):
        log.append([b"y" * 50])
    assert texts(log) == [b"x" * 50]


def test_a_log_is_adopted_only_if_its_process_is_dead(tmp_path):
    open_log = open_own_log(tmp_path, max_bytes=1000)
    open_log.append([b"a"])
    assert list(orphaned_logs(tmp_path)) == []
    os.close(open_log._lock)
    (result,) = orphaned_logs(tmp_path)
    assert texts(result) == [b"a"]


def test_records_are_lines():
    for record in (make_interaction("\n"), make_label("\t")):
        line = encode_line("a\tb\n", record)
        assert b"\n" not in line
        assert decode_line(line) == ("a\tb\n", record)


@pytest.fixture
def writer(tmp_path):
    connection = StoreConnection(str(tmp_path / "store.db"), tmp_path / "state")
    created = StoreWriter(connection, tmp_path / "state", max_bytes=10**9, metrics=Metrics())
    yield created
    connection.close()


def test_after_an_outage_the_store_gets_all_records_once_and_in_order(tmp_path, writer):
    location, moved = tmp_path / "store.db", tmp_path / "gone"
    Store(location).close()
    writer.start()
    writer.append_interaction("default", make_interaction(0))
    assert writer.append_feedback([("default", make_label(0))])[0].result(60).status == "stored"
    for round_ in range(1, 4):
        location.rename(moved)
        for number in range(10 * round_, 10 * round_ + 10):
            writer.append_interaction("default", make_interaction(number))
        (answer,) = writer.append_feedback([("default", make_label(10 * round_))])
        assert answer.result(60) is None
        assert writer.store_unavailable
        assert not location.exists()
        moved.rename(location)
        assert writer.drain(60)
    writer.close(5)
    with Store(location) as store:
        assert [case.interaction.id for case in store.cases()] == [
            f"talk-{i}" for i in [0, *range(10, 40)]
        ]
        assert store.counts()["label"] == 4
    assert not list((tmp_path / "state" / "write_ahead_log").iterdir())


def test_the_orphaned_log_of_the_previous_version_is_written_to_the_store(tmp_path, writer):
    old_folder = tmp_path / "state" / "spool"
    shutil.copytree(ORPHANED_LOG, old_folder)
    writer.start()
    deadline = time.monotonic() + 60
    while list(old_folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    writer.close(5)
    assert not list(old_folder.iterdir())
    with Store(tmp_path / "store.db") as store:
        (case,) = store.cases()
    assert case.interaction.id == "before-upgrade"
    assert [response.text for response in case.interaction.responses] == ["Yes, until six."]
    assert [item.id for item in case.feedback] == ["thumb-before-upgrade"]


def test_a_purge_covers_the_dead_letters_of_the_previous_version(tmp_path):
    letters = DeadLetterFile(tmp_path)
    purged, remaining = make_interaction(1).model_copy(update={"user": "bo"}), make_interaction(2)
    for record in (purged, remaining):
        letters.add(record.to_json(), "reason", "default")
    old_file = tmp_path / "rejected.jsonl"
    shutil.copy(letters.path, old_file)
    assert letters.purge("bo") == 2
    for file in (letters.path, old_file):
        (line,) = file.read_text().splitlines()
        assert json.loads(line)["record"] == remaining.to_json()


def test_an_unstorable_record_becomes_a_dead_letter_and_blocks_no_others(
    tmp_path, writer, monkeypatch
):
    from backtalk.store import row_codec as rows

    default = rows.microseconds
    bad = make_interaction("bad")
    monkeypatch.setattr(
        "backtalk.store.row_codec.prompt_key",
        lambda prompt: (_ for _ in ()).throw(ValueError("no")) if prompt == bad.prompt else "k",
    )
    writer.start()
    for record in (make_interaction(1), bad, make_interaction(2)):
        writer.append_interaction("default", record)
    assert writer.drain(60)
    writer.close(5)
    assert default is rows.microseconds
    with Store(tmp_path / "store.db") as store:
        assert [case.interaction.id for case in store.cases()] == ["talk-1", "talk-2"]
    assert "talk-bad" in writer.dead_letters.path.read_text()


def test_the_gateway_answers_while_the_store_is_unavailable(settings, tmp_path):
    location, moved = tmp_path / "feedback.db", tmp_path / "gone"
    with running_gateway(settings) as gateway:
        first = gateway.chat("one").json()["id"]
        gateway.store.close()
        location.rename(moved)
        second = gateway.chat("two").json()["id"]
        queued = gateway.feedback({"interaction": first, "thumb": "up"})
        assert (queued.status_code, queued.json()["status"]) == (202, "queued")
        ready = gateway.http.get("/ready").json()
        assert (ready["store"], ready["status"]) == ("unavailable", "ready")
        assert ready["write_ahead_log_bytes"] > 0
    assert not location.exists()
    moved.rename(location)
    with running_gateway(settings) as gateway:
        third = gateway.chat("three").json()["id"]
        with gateway.store as store:
            ids = [case.interaction.id for case in store.cases()]
            assert ids == [first, second, third]
            assert store.counts()["label"] == 1


def start(settings, port):
    code = (
        "import uvicorn; uvicorn.run('backtalk.serve.app:from_environment', factory=True, "
        f"port={port}, log_config=None)"
    )
    environment = {**os.environ, SETTINGS_VARIABLE: settings.to_json()}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def wait_for(http):
    for _ in range(5_000):
        try:
            return http.get("/health")
        except httpx2.TransportError:
            time.sleep(0.02)
    raise AssertionError("the gateway did not start")


def ask_and_judge(http, number):
    body = {"model": "m", "messages": [{"role": "user", "content": f"{number}"}]}
    interaction = http.post("/v1/chat/completions", json=body).json()["id"]
    row = {"interaction": interaction, "thumb": "up"}
    answer = http.post("/v1/feedback", json=row, headers={"idempotency-key": interaction})
    assert answer.status_code in {201, 202}
    return interaction, answer.json()["id"]


def test_acknowledged_records_survive_kills(settings, upstream):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    acknowledged = []
    for _ in range(2):
        process = start(settings, port)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            try:
                wait_for(http)
                acknowledged += [ask_and_judge(http, number) for number in range(10)]
            finally:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(60)
    with running_gateway(settings) as gateway:
        acknowledged.append(ask_and_judge(gateway.http, 0))
        services = gateway.app.state.services
        while len(list((settings.state_folder / "write_ahead_log").iterdir())) > 1:
            time.sleep(0.05)
        assert services.writer.drain(60)
    with Store(settings.store) as store:
        interactions = [case.interaction.id for case in store.cases()]
        feedback = [item.id for item in store.feedback()]
    assert sorted(interactions) == sorted(interaction for interaction, _ in acknowledged)
    assert sorted(feedback) == sorted(thumb for _, thumb in acknowledged)
    assert not list((settings.state_folder / "write_ahead_log").iterdir())

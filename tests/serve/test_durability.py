"""What was acknowledged is in the store once: after kill -9, and after the store was away."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest

from backtalk.feedback import Annotator, Interaction, Label
from backtalk.serve.app import VARIABLE
from backtalk.serve.durability.codec import from_line, to_line
from backtalk.serve.durability.write_ahead_log import (
    WriteAheadLog,
    WriteAheadLogFull,
    open_own_log,
    orphaned_logs,
)
from backtalk.serve.durability.writer import StoreWriter
from backtalk.serve.observability.metrics import Metrics
from backtalk.serve.store_connection import StoreConnection
from backtalk.store import Store
from tests.serve.conftest import gateway_of

ADA = Annotator.human("ada")


def talk_of(number):
    return Interaction.of(f"Question {number}", "Yes.").model_copy(update={"id": f"talk-{number}"})


def thumb_of(number):
    return Label(
        id=f"thumb-{number}", interaction=f"talk-{number}", annotator=ADA, response="0", good=True
    )


def texts(spool):
    return [line.text for line in spool.read()]


def test_lines_come_back_in_order_across_files_and_processes(tmp_path):
    lines = [f"line {i}".encode() for i in range(200)]
    spool = WriteAheadLog(tmp_path / "s", segment_bytes=500)
    places = [spool.append([line])[0] for line in lines]
    assert len(set(places)) == len(lines)
    results = []
    while batch := spool.read(most=7):
        results += [line.text for line in batch]
        spool.advance(batch[-1].end)
        if len(results) > 100:
            break
    os.close(spool._lock)  # as if killed
    with_rest = WriteAheadLog(tmp_path / "s", segment_bytes=500)
    while batch := with_rest.read(most=7):
        results += [line.text for line in batch]
        with_rest.advance(batch[-1].end)
    assert results == lines
    assert with_rest.drained
    with_rest.append([b"more"])
    assert texts(with_rest) == [b"more"]
    with_rest.advance(with_rest.read()[-1].end)
    with_rest.tidy()
    assert sum(path.stat().st_size for path in (tmp_path / "s").glob("*.log")) == 0
    with_rest.close()
    assert not (tmp_path / "s").exists()


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    spool = WriteAheadLog(tmp_path / "s")
    spool.append([b"whole"])
    os.close(spool._lock)
    (file,) = (tmp_path / "s").glob("*.log")
    with file.open("ab") as log:
        log.write(b"0000 torn")
    again = WriteAheadLog(tmp_path / "s")
    again.append([b"next"])
    assert texts(again) == [b"whole", None]
    again.advance(again.read()[-1].end)
    assert texts(again) == [b"next"]


def test_a_full_spool_refuses_and_stays_whole(tmp_path):
    spool = WriteAheadLog(tmp_path / "s", limit=100)
    spool.append([b"x" * 50])
    with pytest.raises(WriteAheadLogFull, match="100 bytes"):
        spool.append([b"y" * 50])
    assert texts(spool) == [b"x" * 50]


def test_a_log_is_adopted_only_when_its_process_is_gone(tmp_path):
    living = open_own_log(tmp_path, limit=1000)
    living.append([b"a"])
    assert list(orphaned_logs(tmp_path)) == []
    os.close(living._lock)
    (result,) = orphaned_logs(tmp_path)
    assert texts(result) == [b"a"]


def test_records_are_lines():
    for record in (talk_of("\n"), thumb_of("\t")):
        line = to_line("a\tb\n", record)
        assert b"\n" not in line
        assert from_line(line) == ("a\tb\n", record)


@pytest.fixture
def writer(tmp_path):
    keeper = StoreConnection(str(tmp_path / "store.db"), tmp_path / "state")
    made = StoreWriter(keeper, tmp_path / "state", limit=10**9, metrics=Metrics())
    yield made
    keeper.let_go()


def test_a_store_that_comes_back_gets_everything_once_and_in_order(tmp_path, writer):
    home, away = tmp_path / "store.db", tmp_path / "gone"
    Store(home).close()
    writer.start()
    writer.keep("default", talk_of(0))
    assert writer.submit([("default", thumb_of(0))])[0].result(60).status == "kept"
    for round_ in range(1, 4):
        home.rename(away)
        for number in range(10 * round_, 10 * round_ + 10):
            writer.keep("default", talk_of(number))
        (answer,) = writer.submit([("default", thumb_of(10 * round_))])
        assert answer.result(60) is None
        assert writer.away
        assert not home.exists()
        away.rename(home)
        assert writer.drain(60)
    writer.close(5)
    with Store(home) as store:
        assert [case.interaction.id for case in store.cases()] == [
            f"talk-{i}" for i in [0, *range(10, 40)]
        ]
        assert store.counts()["label"] == 4
    assert not list((tmp_path / "state" / "spool").iterdir())


def test_what_no_store_takes_is_set_aside_and_holds_up_nobody(tmp_path, writer, monkeypatch):
    from backtalk.store import row_codec as rows

    default = rows.microseconds
    bad = talk_of("bad")
    monkeypatch.setattr(
        "backtalk.store.row_codec.prompt_key",
        lambda prompt: (_ for _ in ()).throw(ValueError("no")) if prompt == bad.prompt else "k",
    )
    writer.start()
    for record in (talk_of(1), bad, talk_of(2)):
        writer.keep("default", record)
    assert writer.drain(60)
    writer.close(5)
    assert default is rows.microseconds
    with Store(tmp_path / "store.db") as store:
        assert [case.interaction.id for case in store.cases()] == ["talk-1", "talk-2"]
    assert "talk-bad" in writer.aside.path.read_text()


def test_the_gateway_answers_while_the_store_is_away(settings, tmp_path):
    home, away = tmp_path / "feedback.db", tmp_path / "gone"
    with gateway_of(settings) as gateway:
        first = gateway.chat("one").json()["id"]
        gateway.store.close()
        home.rename(away)
        second = gateway.chat("two").json()["id"]
        spooled = gateway.feedback({"interaction": first, "thumb": "up"})
        assert (spooled.status_code, spooled.json()["status"]) == (202, "spooled")
        ready = gateway.http.get("/ready").json()
        assert (ready["store"], ready["status"]) == ("away", "ready")
        assert ready["spool_bytes"] > 0
    assert not home.exists()
    away.rename(home)
    with gateway_of(settings) as gateway:
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
    environment = {**os.environ, VARIABLE: settings.to_json()}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def wait_for(http):
    for _ in range(5_000):
        try:
            return http.get("/health")
        except httpx2.TransportError:
            time.sleep(0.02)
    raise AssertionError("the gateway does not start")


def ask_and_judge(http, number):
    body = {"model": "m", "messages": [{"role": "user", "content": f"{number}"}]}
    interaction = http.post("/v1/chat/completions", json=body).json()["id"]
    row = {"interaction": interaction, "thumb": "up"}
    answer = http.post("/v1/feedback", json=row, headers={"idempotency-key": interaction})
    assert answer.status_code in {201, 202}
    return interaction, answer.json()["id"]


def test_what_was_acknowledged_survives_kills(settings, upstream):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
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
    with gateway_of(settings) as gateway:
        acknowledged.append(ask_and_judge(gateway.http, 0))
        services = gateway.app.state.services
        while len(list((settings.state_folder / "spool").iterdir())) > 1:
            time.sleep(0.05)
        assert services.writer.drain(60)
    with Store(settings.store) as store:
        kept = [case.interaction.id for case in store.cases()]
        said = [item.id for item in store.feedback()]
    assert sorted(kept) == sorted(interaction for interaction, _ in acknowledged)
    assert sorted(said) == sorted(thumb for _, thumb in acknowledged)
    assert not list((settings.state_folder / "spool").iterdir())

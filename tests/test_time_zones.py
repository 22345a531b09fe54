"""Times mean the same wherever the process runs: no zone is UTC, and a zone is never lost."""

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtalk.feedback import Annotator, Interaction, Label
from backtalk.feedback.record import now
from backtalk.formats.archive import read_archive, write_archive
from backtalk.formats.fields import parse_time
from backtalk.formats.mapping import RowMapping
from backtalk.formats.read import read
from backtalk.serve.pages.interactions.filters import _parse_time
from backtalk.serve.pages.learned.routes import _period
from backtalk.store import Store
from tests.store.conftest import location, postgres, postgres_database

__all__ = ["location", "postgres", "postgres_database"]

NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)
KATHMANDU = timezone(timedelta(hours=5, minutes=45))
ST_JOHNS = timezone(-timedelta(hours=2, minutes=30))


@pytest.fixture(
    autouse=True,
    params=["UTC", "Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu"],
)
def zone(request, monkeypatch):
    """Run each test with the process in another zone, 14 hours before to 3.5 hours after UTC."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_the_process_is_in_the_zone(zone):
    offset = datetime(2024, 5, 31, 12).astimezone().utcoffset()
    hours = {"UTC": 0, "Pacific/Kiritimati": 14, "America/St_Johns": -2.5, "Asia/Kathmandu": 5.75}
    assert offset == timedelta(hours=hours[zone])


@pytest.mark.parametrize(
    "value",
    [
        "2024-05-31T12:00:00",
        "2024-05-31 12:00:00",
        "2024-05-31T12:00:00Z",
        "2024-05-31T14:00:00+02:00",
        "2024-05-31T17:45:00+05:45",
        "2024-05-31T09:30:00-02:30",
        "20240531T120000",
        1717156800,
        "1717156800",
        1717156800.0,
    ],
)
def test_an_imported_time_without_a_zone_is_in_utc(value):
    assert parse_time(value, "time") == NOON
    assert parse_time(value, "time").utcoffset() is not None


MAPPING = """
prompt: q
responses: [a]
time: t
feedback: [{kind: label, column: ok, time: t}]
"""


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("named", [None, "UTC", "Asia/Kathmandu", "+02:00"])
def test_a_time_of_a_parquet_file_is_that_of_a_json_file(unit, named, tmp_path):
    local = NOON.replace(tzinfo=None) if named is None else NOON
    row = {"q": ["Open?"], "a": ["Yes."], "ok": [True]}
    table = pa.table({**row, "t": pa.array([local], pa.timestamp(unit, named))})
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({name: value[0] for name, value in row.items()} | {"t": str(local)})
    )
    times = [
        {case.interaction.time, *(item.time for item in case.feedback)}
        for name in ("rows.parquet", "rows.jsonl")
        for parsed in read(tmp_path / name, format=RowMapping.from_yaml(MAPPING))
        for case in parsed.cases
    ]
    assert times == [{NOON}, {NOON}]


def test_a_date_is_the_start_of_its_day_in_utc():
    assert parse_time("2024-05-31", "time") == NOON.replace(hour=0)
    assert _parse_time("since", "2024-05-31", later=timedelta()) == NOON.replace(hour=0)
    assert _parse_time("until", "2024-05-31", later=timedelta(days=1)) == NOON.replace(
        month=6, day=1, hour=0
    )
    assert _parse_time("since", "2024-05-31T12:00", later=timedelta()) == NOON
    assert _parse_time("since", "2024-05-31T14:00+02:00", later=timedelta()) == NOON


def test_a_day_of_the_page_of_learned_entries_begins_in_utc():
    request = SimpleNamespace(query={"since": "2024-05-31", "until": "2024-05-31"}.get)
    assert _period(request) == (NOON.replace(hour=0), NOON.replace(month=6, day=1, hour=0))


def test_the_present_is_the_present():
    assert abs(now() - datetime.fromtimestamp(time.time(), UTC)) < timedelta(minutes=1)
    assert now().utcoffset() == timedelta()


def records(number, at):
    interaction = Interaction.of("Are you open?", "Yes.").model_copy(update={"id": f"i{number}"})
    interaction = Interaction.model_validate({**interaction.model_dump(), "time": at})
    label = Label(
        id=f"l{number}", interaction=interaction.id, annotator=Annotator.human("ada"),
        response="0", good=True, time=at,
    )  # fmt: skip
    return interaction, label


TIMES = [
    NOON,
    NOON.astimezone(KATHMANDU),
    NOON.astimezone(ST_JOHNS),
    NOON.astimezone(timezone(timedelta(hours=14))),
]


def test_a_store_returns_the_moment_of_every_time(location, tmp_path):
    with Store(location) as store:
        for number, at in enumerate(TIMES):
            store.add(*records(number, at))
            store.documents.put("report", f"d{number}", "{}", time=at)
            store.events.append("topic", "{}", actor="ada", after=number, time=at)
        cases = list(store.cases())
        assert {case.interaction.time for case in cases} == {NOON}
        assert {item.time for case in cases for item in case.feedback} == {NOON}
        assert [at for _, at, _ in store.documents.all("report")] == [NOON] * len(TIMES)
        assert [entry.time for entry in store.events.entries("topic")] == [NOON] * len(TIMES)
        write_archive(store, tmp_path / "archive")
    with Store(tmp_path / "copy.db") as copy:
        read_archive(copy, tmp_path / "archive")
        assert {case.interaction.time for case in copy.cases()} == {NOON}
        assert [entry.time for entry in copy.events.entries("topic")] == [NOON] * len(TIMES)

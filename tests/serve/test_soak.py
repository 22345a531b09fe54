"""Soak test: no record is lost or duplicated by kills, outages of the store and of the upstream."""

import pytest
from benchmarks.serving.postgres import postgres, programs
from benchmarks.serving.processes import Processes
from benchmarks.serving.soak import Soak, SoakSize
from sqlalchemy.exc import OperationalError

from backtalk.errors import BacktalkError
from backtalk.serve.store_connection import StoreConnection
from backtalk.store import Store


def assert_stored_once(soak, comparison):
    assert len(soak.client_record.interactions) >= soak.size.requests
    assert len(soak.client_record.feedback) >= soak.size.requests // 2
    assert soak.kills == soak.size.kills
    assert (comparison.lost_interactions, comparison.lost_feedback, comparison.duplicates) == (
        0,
        0,
        0,
    )
    assert comparison.surplus_interactions <= soak.client_record.unknown
    assert comparison.surplus_feedback == 0


def test_acknowledged_records_are_stored_once_despite_all_faults(tmp_path):
    soak = Soak(tmp_path, SoakSize(requests=600, kills=1, outages=2))
    assert_stored_once(soak, soak.run())


@pytest.mark.skipif(programs() is None, reason="PostgreSQL's server programs are not installed")
def test_two_processes_on_postgresql_store_all_records(tmp_path):
    with postgres() as server:
        soak = Processes(
            tmp_path, SoakSize(requests=300, kills=1, outages=1), server=server, workers=2
        )
        assert_stored_once(soak, soak.run())


def test_a_missing_store_is_not_replaced_by_an_empty_one(tmp_path):
    location, moved = tmp_path / "feedback.db", tmp_path / "gone.db"
    connection = StoreConnection(str(location), tmp_path / "state")
    engine = connection.store().engine
    engine.dispose()
    location.rename(moved)
    with pytest.raises(OperationalError):
        engine.connect()
    with pytest.raises(BacktalkError):
        Store(f"sqlite:///{location}?mode=rw")
    assert not location.exists()
    moved.rename(location)
    assert connection.store().counts() == {"interaction": 0}
    connection.close()

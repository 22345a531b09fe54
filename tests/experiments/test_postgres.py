"""Incremental reading of an experiment in PostgreSQL."""

from backtalk.experiments import DecisionRule, apply_rules
from backtalk.store import Store
from backtalk.store.engine import writing
from backtalk.store.inserts import InsertBatch, get_project_id
from tests.experiments.conftest import make_trial
from tests.store.conftest import postgres, postgres_database

assert postgres
assert postgres_database


def test_records_committed_late_or_deleted_are_noticed(postgres_database):
    with Store(postgres_database) as store:
        trial = make_trial(store, candidates=2, rule=DecisionRule(min_judgements=20))
        reader = trial.reader()
        batch = InsertBatch(get_project_id(store.engine, "default"))
        late = [trial.interaction(trial.control) for _ in range(5)]
        batch.add(late, [trial.thumb(interaction, good=True) for interaction in late])
        with writing(store.engine) as connection:
            batch.insert(connection)
            trial.traffic(dict(zip(trial.experiment.arms, (0.4, 0.9, 0.0), strict=True)), 300)
            assert reader.refresh().judged == 300
        assert reader.refresh(check=True).judged == 305
        for item in list(store.feedback())[:10]:
            store.delete(item.id)
        assert reader.refresh(check=True).judged == 295
        assert reader.state == trial.reader().refresh()
        assert [event.what.kind for event in apply_rules(store, reader)] == [
            "stopped",
            "promoted",
        ]
